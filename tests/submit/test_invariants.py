"""The checker of plans refuses wrong ones: each test makes a sound plan wrong in one way.

The wrong plans are those that a defect in a policy, or in reading the line, would give.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pwfs.model.ids import AttemptId, ChangeId, ItemId, Seq
from pwfs.model.queue import AttemptState, EjectReason
from pwfs.submit import (
    Action,
    Eject,
    History,
    InvariantBroken,
    Land,
    Policy,
    Reuse,
    Snapshot,
    Start,
    Stop,
    check_actions,
    plan,
)
from tests.submit.trees import Edit
from tests.submit.world import World


def refuses(promise: str, snapshot: Snapshot, *actions: Action) -> None:
    with pytest.raises(InvariantBroken, match=rf"^{promise}:"):
        check_actions(snapshot, actions)


def ended(world: World, name: str, state: AttemptState) -> None:
    """Ends a test without letting the queue act."""
    world.release(name, state, settle=False)


def next_action(world: World, kind: type) -> tuple[Snapshot, Action]:
    """Settles up to the first plan with an action of a kind, which is not carried out."""
    for _ in range(50):
        snapshot = world.snapshot()
        actions = plan(snapshot)
        for action in actions:
            if isinstance(action, kind):
                check_actions(snapshot, actions)
                return snapshot, action
        assert actions
        for action in actions:
            world._act(action)
    raise AssertionError(f"no {kind}")


def two(policy: Policy = Policy.WINDOW, **targets: str) -> World:
    world = World(policy=policy, max_speculative=2)
    world.targets = {ChangeId(name): frozenset(letters) for name, letters in targets.items()}
    world.submit("a")
    world.submit("b")
    world.settle()
    return world


def test_landing_what_did_not_pass() -> None:
    """Green: a landing names an attempt that passed."""
    world = two()
    ended(world, "a", AttemptState.PASSED)
    snapshot, land = next_action(world, Land)
    attempts = tuple(replace(a, state=AttemptState.FAILED) for a in snapshot.attempts)
    refuses("green", replace(snapshot, attempts=attempts), land)


def test_landing_what_another_tested() -> None:
    """Green: the attempt is the item's own."""
    world = two()
    ended(world, "a", AttemptState.PASSED)
    snapshot, land = next_action(world, Land)
    assert isinstance(land, Land)
    refuses("green", snapshot, replace(land, attempt_id=AttemptId(2)))


def test_landing_on_another_main() -> None:
    """Identity: main is what the attempt was made on."""
    world = two()
    ended(world, "a", AttemptState.PASSED)
    snapshot, land = next_action(world, Land)
    refuses("identity", replace(snapshot, head_seq=Seq(7)), land)


def test_landing_before_one_ahead() -> None:
    """Order: among those that may disagree the first comes first."""
    world = two(a="x", b="y")
    ended(world, "b", AttemptState.PASSED)
    snapshot, land = next_action(world, Land)
    refuses("order", replace(snapshot, targets={}), land)
    shared = {ChangeId("a"): frozenset("x"), ChangeId("b"): frozenset("x")}
    refuses("order", replace(snapshot, targets=shared), land)


def test_a_batch_that_leaves_one_out() -> None:
    """Order and identity: a batch lands whole."""
    world = World(policy=Policy.BATCH, history_counts=History(passed=100))
    for name in "abc":
        world.submit(name)
    world.settle()
    ended(world, "c", AttemptState.PASSED)
    snapshot, land = next_action(world, Land)
    assert isinstance(land, Land)
    refuses("order", snapshot, replace(land, with_ids=land.with_ids[:1]))
    refuses("identity", snapshot, replace(land, with_ids=land.with_ids[::-1]))


def test_a_result_of_a_tree_that_differs() -> None:
    """Independence: a result holds elsewhere only if all that differs is independent."""
    world = two(a="x", b="y")
    ended(world, "b", AttemptState.PASSED)
    world.settle()
    ended(world, "a", AttemptState.PASSED)
    snapshot, reuse = next_action(world, Reuse)
    assert isinstance(reuse, Reuse)
    assert reuse.independent_of == ("b",)
    refuses("independence", replace(snapshot, targets={}), reuse)
    refuses("independence", snapshot, replace(reuse, independent_of=(ChangeId("c"),)))
    refuses("green", snapshot, replace(reuse, independent_of=()))
    depends = {ChangeId("a"): (ChangeId("b"),)}
    refuses("independence", replace(snapshot, dependencies=depends), reuse)


def test_ejection_by_an_assumption_that_did_not_come_true() -> None:
    """Evidence: what failed together with one ahead does not eject while that one waits."""
    world = two()
    ended(world, "b", AttemptState.FAILED)
    eject = Eject(ItemId(2), EjectReason.TEST_FAILED, "", AttemptId(2))
    refuses("order", world.snapshot(), eject)


def test_ejection_by_another_tree() -> None:
    """Evidence: the failed test was of the item on main as it is."""
    world = World(max_speculative=2)
    world.change("a", Edit("a", None, "bad"))
    world.submit("a")
    world.submit("b")
    world.settle()
    ended(world, "b", AttemptState.FAILED)
    world.release("a")
    world.settle()
    eject = Eject(ItemId(2), EjectReason.TEST_FAILED, "", AttemptId(2))
    refuses("evidence", world.snapshot(), eject)


def test_ejection_before_the_last_try() -> None:
    """Evidence: retries are used up first."""
    world = World(retries_max=0)
    world.change("a", Edit("a", None, "bad"))
    world.submit("a")
    world.settle()
    ended(world, "a", AttemptState.FAILED)
    snapshot, eject = next_action(world, Eject)
    refuses("evidence", replace(snapshot, retries_max=1), eject)


def test_more_tests_than_allowed() -> None:
    """Bounds: not more at once than the setting says, and none while paused."""
    world = World(max_speculative=2)
    world.submit("a")
    snapshot, start = next_action(world, Start)
    check_actions(snapshot, [start])
    refuses("pause", replace(snapshot, paused=True), start)
    refuses("bounds", replace(snapshot, max_speculative=0), start)
    refuses("bounds", snapshot, start, start)


def test_stopping_what_does_not_run() -> None:
    """Bounds: a stop names a running attempt, once."""
    world = two()
    snapshot = world.snapshot()
    refuses("bounds", snapshot, Stop(AttemptId(9), ""))
    refuses("bounds", snapshot, Stop(AttemptId(1), ""), Stop(AttemptId(1), ""))


@pytest.mark.parametrize(
    "change",
    [
        lambda start: replace(start, stack=start.stack[::-1]),
        lambda start: replace(start, stack=start.stack[:-1]),
        lambda start: replace(start, base_seq=Seq(7)),
    ],
)
def test_a_stack_out_of_order(change: Callable[[Start], Start]) -> None:
    """Order: a stack has whole items, each once, in the queue's order, the tested one last."""
    world = World(max_speculative=2)
    world.submit("a")
    world.settle()
    world.submit("b")
    snapshot, start = next_action(world, Start)
    assert isinstance(start, Start)
    refuses("order", snapshot, change(start))
