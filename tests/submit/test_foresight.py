"""What the queue tells of what it is about to do, and of one more item."""

import pytest

from pwfs.model.ids import ChangeId, ItemId
from pwfs.model.queue import AttemptState, Member
from pwfs.submit import History, Policy
from pwfs.submit.foresight import Prospect, foresee, what_if
from tests.submit.test_policies import with_targets, world_of
from tests.submit.world import World

GOOD = History(passed=900, failed=10, pairs=900)


def asked(world: World, name: str, **needs: tuple[str, ...]) -> Prospect:
    """What would become of one more change."""
    dependencies = {
        ChangeId(change): tuple(map(ChangeId, others)) for change, others in needs.items()
    }
    return what_if(world.snapshot(), [Member(ChangeId(name), 1)], dependencies, priority=0, share=0)


def test_the_plan_shows_what_each_test_assumes() -> None:
    """Tests that run with their attempts, one that is wanted, and who only waits."""
    world = world_of(Policy.WINDOW, 2, "abc", history_counts=GOOD)
    plan = foresee(world.snapshot())
    assert (plan.policy, plan.width) == (Policy.WINDOW, 2)
    a, b, c = plan.outlooks
    assert [(s.assumes, s.state) for s in a.speculations] == [((), "running")]
    assert [(s.assumes, s.state) for s in b.speculations] == [((a.item_id,), "running")]
    assert a.speculations[0].attempt_id != b.speculations[0].attempt_id
    assert c.speculations == ()
    assert c.waits_for == (a.item_id, b.item_id)
    assert 1 > a.odds > b.odds > c.odds > 0.8


def test_verdicts_change_the_odds() -> None:
    """What passed is all but sure to land, what failed all but sure to leave."""
    world = world_of(Policy.WINDOW, 3, "abc", history_counts=GOOD)
    before = foresee(world.snapshot()).outlooks
    passed, failed, _ = world.running()
    world.finish_attempt(failed.id, AttemptState.FAILED, 1, None, "")
    by_id = {outlook.item_id: outlook for outlook in foresee(world.snapshot()).outlooks}
    assert by_id[failed.item_id].odds < 0.1 < before[1].odds
    world.finish_attempt(passed.id, AttemptState.PASSED, 0, None, "")
    by_id = {outlook.item_id: outlook for outlook in foresee(world.snapshot()).outlooks}
    assert by_id[passed.item_id].odds > before[0].odds


@pytest.mark.parametrize(
    ("policy", "width", "rounds"),
    [(Policy.LINEAR, 1, 5), (Policy.WINDOW, 2, 3), (Policy.TREE, 4, 2), (Policy.TREE, 8, 1)],
)
def test_one_more_waits_for_those_ahead(policy: Policy, width: int, rounds: int) -> None:
    """As many tests one after the other as do not run at once; the window repeats for failures."""
    found = asked(world_of(policy, width, "abcd", history_counts=GOOD), "e")
    assert (found.position, len(found.waits_for), found.rounds_min) == (4, 4, rounds)
    if policy is Policy.WINDOW:
        assert rounds < found.rounds_expected < rounds + 1
    else:
        assert found.rounds_expected == rounds
    assert 0.7 < found.odds < 1


def test_one_more_does_not_wait_for_what_a_rule_calls_independent() -> None:
    """It would be tested at once."""
    world = with_targets(world_of(Policy.WINDOW, 4, "ab"), a="x", b="y", c="z")
    assert asked(world, "c").waits_for == ()


def test_nothing_is_changed_by_asking() -> None:
    """The queue is as it was, and so is its plan."""
    world = world_of(Policy.TREE, 2, "ab")
    before = world.snapshot()
    assert asked(world, "c", c=("b",)).waits_for == tuple(item.id for item in before.items)
    assert world.snapshot() == before
    assert ItemId(3) not in {item.id for item in world.snapshot().items}
