"""What each policy makes of a line: scenarios of Zuul's and of SubmitQueue's, by name.

Tests are held until a scenario releases them; ``trees`` tells what each running test contains.
"""

import pytest

from pwfs.model.ids import ChangeId
from pwfs.model.queue import AttemptState
from pwfs.submit import History, Land, Policy, Reuse
from pwfs.submit.history import WINDOW_FLOOR, WINDOW_START
from pwfs.submit.policies import choose
from tests.submit.trees import Edit
from tests.submit.world import World


def trees(world: World) -> list[str]:
    """What each running test contains, in order."""
    return sorted(
        " ".join(member.change_id for member in attempt.stack) for attempt in world.running()
    )


def world_of(policy: Policy, width: int, names: str, *, bad: str = "", **settings: object) -> World:
    """A queue of changes with a letter each, those in ``bad`` failing by themselves."""
    world = World(policy=policy, max_speculative=width)
    for name, value in settings.items():
        setattr(world, name, value)
    for name in names:
        world.change(name, Edit(name, None, "bad" if name in bad else name))
        world.submit(name)
    world.settle()
    return world


def with_targets(world: World, **targets: str) -> World:
    """Declares the targets of changes, a letter each."""
    world.targets = {ChangeId(name): frozenset(letters) for name, letters in targets.items()}
    return world


# window


def test_window_grows_by_landings_and_is_halved_by_a_failure() -> None:
    """20 at first, one more for a landing, half for a failure, never under 3."""
    assert History().window == WINDOW_START
    assert History(recent=(True, True)).window == WINDOW_START + 2
    assert History(recent=(True, False)).window == (WINDOW_START + 1) // 2
    assert History(recent=(False,) * 9).window == WINDOW_FLOOR


def test_window_is_not_wider_than_history_allows() -> None:
    """After many failures three are tested at once, though more may run."""
    world = world_of(Policy.WINDOW, 8, "abcde", history_counts=History(recent=(False,) * 9))
    assert trees(world) == ["a", "a b", "a b c"]


# tree


def test_tree_tests_the_likely_scenario_first() -> None:
    """Of a repository where nearly all lands, each is tested on all before it."""
    history = History(passed=900, failed=10, pairs=900)
    world = world_of(Policy.TREE, 3, "abc", history_counts=history)
    assert trees(world) == ["a", "a b", "a b c"]


def test_tree_speculates_on_either_outcome() -> None:
    """Where every other change fails, the next is tested with and without the one ahead."""
    history = History(passed=100, failed=100)
    world = world_of(Policy.TREE, 3, "ab", history_counts=history)
    assert trees(world) == ["a", "a b", "b"]


def test_tree_uses_the_branch_that_came_true() -> None:
    """When the one ahead fails, the test without it counts: nothing is started again."""
    history = History(passed=100, failed=100)
    world = world_of(Policy.TREE, 3, "ab", bad="a", history_counts=history)
    world.release_tree("b")
    assert world.states()["b"] == "queued", "it waits for the one ahead"
    world.release_tree("a")
    assert world.states() == {"a": "test_failed", "b": "landed"}
    tested = [a for a in world.attempts.values() if a.id not in world.sources]
    assert [a.state for a in tested].count(AttemptState.PASSED) == 1


def test_tree_stops_the_branch_that_cannot_come_true() -> None:
    """When the one ahead lands, the test without it is stopped at once."""
    history = History(passed=100, failed=100)
    world = world_of(Policy.TREE, 3, "ab", history_counts=history)
    world.release_tree("a")
    assert trees(world) == ["a b"]


def test_tree_with_one_place_tests_the_head() -> None:
    """What is certainly needed goes first."""
    world = world_of(Policy.TREE, 1, "abc")
    assert trees(world) == ["a"]


# batch


def test_batch_lands_together_what_passed_together() -> None:
    """Several are tested as one tree, which main becomes in one step."""
    world = world_of(Policy.BATCH, 1, "abc", history_counts=History(passed=100))
    assert trees(world) == ["a b c"]
    done = world.release("c")
    assert [action.with_ids for action in done if isinstance(action, Land)] == [(1, 2)]
    assert world.landed_names() == "a b c"
    assert len(world.attempts) == 1


@pytest.mark.parametrize("culprit", "abcd")
def test_batch_searches_the_culprit(culprit: str) -> None:
    """Whoever it is, it alone leaves, after at most one, two more and a last test of the rest."""
    world = world_of(Policy.BATCH, 1, "abcd", bad=culprit, history_counts=History(passed=100))
    world.release_all()
    assert world.states()[culprit] == "test_failed"
    assert world.landed_names() == " ".join(name for name in "abcd" if name != culprit)
    assert len([a for a in world.attempts if a not in world.sources]) <= 5


# independence


def test_without_a_rule_nothing_is_independent() -> None:
    """Changes to different files still wait for each other."""
    world = world_of(Policy.WINDOW, 3, "ab")
    world.release("b")
    assert world.landed_names() == ""


def test_independent_items_overtake() -> None:
    """Who shares no target with those ahead is tested on main, and lands without waiting."""
    world = with_targets(World(max_speculative=3), a="x", b="y", c="x")
    for name in "abc":
        world.submit(name)
    world.settle()
    assert trees(world) == ["a", "a c", "b"]
    world.release("b")
    assert world.landed_names() == "b"
    assert trees(world) == ["a", "a c"], "what is independent of a landing goes on"
    done = world.release("a")
    assert [r.independent_of for r in done if isinstance(r, Reuse)] == [("b",)]
    world.release("c")
    assert world.landed_names() == "b a c"
    assert len([a for a in world.attempts if a not in world.sources]) == 3


def test_unknown_targets_wait_for_all() -> None:
    """A change that the rule says nothing about may disagree with every other."""
    world = with_targets(World(max_speculative=3), a="x", c="y")
    for name in "abc":
        world.submit(name)
    world.settle()
    assert trees(world) == ["a", "a b", "b c"]


def test_dependents_are_not_independent() -> None:
    """What a change depends on lands first, whatever their targets."""
    world = with_targets(World(max_speculative=3), a="x", b="y")
    world.submit("a")
    world.change("b", after=["a"])
    world.submit("b")
    world.settle()
    assert trees(world) == ["a", "a b"]


def test_either_order_gives_the_same_tree() -> None:
    """Main is the same whichever of the independent landed first."""
    mains = set()
    for first, second in ("ab", "ba"):
        world = with_targets(World(max_speculative=2), a="x", b="y")
        world.submit("a")
        world.submit("b")
        world.settle()
        world.release(first)
        world.release(second)
        mains.add(world.main)
    assert len(mains) == 1


# flakes


def test_a_later_pass_vouches_for_a_failed_test() -> None:
    """Who fails though another's test with it passed gets one more try; a flake does not eject it."""
    world = world_of(Policy.WINDOW, 2, "ab")
    world.release("b")
    world.release("a", AttemptState.FAILED)
    assert world.states()["a"] == "queued"
    assert trees(world) == ["a"]
    world.release_all()
    assert world.landed_names() == "a b"


# choice


def test_linear_whatever_the_policy() -> None:
    """One test at a time is linear."""
    for policy in (Policy.LINEAR, Policy.WINDOW, Policy.TREE):
        assert choose(policy, 1, 8, History()) == (Policy.LINEAR, 1)


def test_auto_uses_the_cores() -> None:
    """A test for each core; on one core a batch, if few fail."""
    assert choose(Policy.AUTO, 1, 8, History()) == (Policy.TREE, 8)
    assert choose(Policy.AUTO, 1, 1, History(passed=100)) == (Policy.BATCH, 1)
    assert choose(Policy.AUTO, 1, 1, History(failed=100)) == (Policy.LINEAR, 1)
