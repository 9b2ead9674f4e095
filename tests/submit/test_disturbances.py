"""What the queue does when the world moves under it: landings around, pauses, cancels, crashes.

As in `tests.submit.test_scenarios`, tests are held until a scenario releases them.
"""

from pwfs.model.ids import AttemptId, Seq
from pwfs.model.queue import AttemptState, EjectReason, ItemState
from pwfs.submit import Eject, Land, Reuse, Start, Stop
from tests.submit.trees import Edit
from tests.submit.world import World, stopped


def test_conflict_appears_while_testing() -> None:
    """A landing around the queue that conflicts with a tested item stops the test and ejects."""
    world = World()
    world.land_around(Edit("f", None, "1"))
    world.change("a", Edit("f", "1", "2"))
    world.submit("a")
    world.settle()
    world.land_around(Edit("f", "1", "3"))
    world.settle()
    assert stopped(world) == ["a"]
    assert world.states() == {"a": "conflict"}


def test_new_landing_around_the_queue_reparents() -> None:
    """Main moved: tests on the old main are stopped and start again on the new one."""
    world = World(max_speculative=2)
    world.submit("a")
    world.submit("b")
    world.settle()
    world.land_around(Edit("x", None, "x"))
    world.settle()
    assert stopped(world) == ["a", "b"]
    assert [attempt.base_seq for attempt in world.running()] == [1, 1]
    world.release_all()
    assert world.landed_names() == "direct-1 a b"


def test_new_landing_after_a_pass_is_tested_again() -> None:
    """A pass that waits for its turn is worth nothing on another main."""
    world = World(max_speculative=2)
    world.submit("a")
    world.submit("b")
    world.settle()
    world.release("b")
    world.land_around(Edit("x", None, "x"))
    world.settle()
    assert world.testing() == {"a": "a", "b": "a b"}


def test_landing_that_changes_nothing_keeps_the_tests() -> None:
    """It is main's tree that counts: a landing without effect stops no test."""
    world = World()
    world.land_around(Edit("x", None, "x"))
    world.submit("a")
    world.settle()
    world.land_around(Edit("x", None, "x"), name="again")
    world.settle()
    assert stopped(world) == []
    world.release("a")
    assert world.landed_names() == "direct-1 again a"
    assert world.attempts[AttemptId(2)].base_seq == 2, "certified for main as it is now"


def test_dependency_landed_around_the_queue() -> None:
    """A dependency counts as landed however it landed."""
    world = World()
    world.submit("a")
    world.change("b", after=["a"])
    item = world.submit("b")
    world.cancel(next(iter(world.items)))
    world.land_around(Edit("a", None, "a"), name="a")
    world.release_all()
    assert world.items[item].state is ItemState.LANDED


def test_pause_and_resume() -> None:
    """Paused, running tests go on, but nothing starts and nothing lands."""
    world = World(max_speculative=2)
    for name in "abc":
        world.submit(name)
    world.settle()
    world.paused = True
    world.settle()
    assert list(world.testing()) == ["a", "b"]
    world.release("a")
    assert world.landed_names() == ""
    assert list(world.testing()) == ["b"]
    world.release("b")
    assert world.testing() == {}
    world.paused = False
    world.settle()
    assert world.landed_names() == "a b"
    assert world.testing() == {"c": "c"}


def test_paused_failures_still_eject() -> None:
    """Pausing holds back what moves main or costs time, not what is known already."""
    world = World()
    world.change("a", Edit("a", None, "bad"))
    world.submit("a")
    world.settle()
    world.paused = True
    world.release("a")
    assert world.states() == {"a": "test_failed"}


def test_cancel_at_the_head() -> None:
    """The cancelled test stops; those behind start again without it."""
    world = World(max_speculative=2)
    first = world.submit("a")
    world.submit("b")
    world.settle()
    world.cancel(first)
    world.settle()
    assert stopped(world) == ["a", "b"]
    assert world.testing() == {"b": "b"}


def test_cancel_in_the_middle() -> None:
    """Those ahead of the cancelled one are not disturbed."""
    world = World(max_speculative=3)
    world.submit("a")
    middle = world.submit("b")
    world.submit("c")
    world.settle()
    world.cancel(middle)
    world.settle()
    assert stopped(world) == ["b", "c"]
    assert world.testing() == {"a": "a", "c": "a c"}
    world.release_all()
    assert world.states() == {"a": "landed", "b": "cancelled", "c": "landed"}


def test_cancel_of_a_dependency() -> None:
    """Who depends on a cancelled change cannot land, and says why."""
    world = World(max_speculative=2)
    first = world.submit("a")
    world.change("b", after=["a"])
    world.submit("b")
    world.settle()
    world.cancel(first)
    world.settle()
    assert world.states() == {"a": "cancelled", "b": "dependency"}
    assert world.testing() == {}


def test_a_tree_that_passed_is_not_tested_again() -> None:
    """Submitted again after a cancel, an item lands by the result that is known."""
    world = World(max_speculative=2)
    world.submit("a")
    second = world.submit("b")
    world.settle()
    world.release("b")
    world.cancel(second)
    world.submit("b")
    done = world.settle()
    assert not any(isinstance(action, Start) for action in done)
    done = world.release("a")
    assert [type(a) for a in done if isinstance(a, Reuse | Land | Start)] == [
        Land,
        Reuse,
        Land,
    ]
    assert world.landed_names() == "a b"


def test_a_result_under_another_command_is_not_used() -> None:
    """A new test command makes running tests meaningless and old results unknown."""
    world = World()
    world.submit("a")
    world.settle()
    world.command = "make more-tests"
    world.settle()
    assert stopped(world) == ["a"]
    assert [attempt.key.command for attempt in world.running()] == ["make more-tests"]


def test_nothing_starts_without_a_command() -> None:
    """Without a test command the queue waits."""
    world = World(command="")
    world.submit("a")
    world.settle()
    assert world.testing() == {}


def test_one_tree_is_tested_once_at_a_time() -> None:
    """Two items that give the same tree share a test."""
    world = World(max_speculative=2)
    world.submit("a")
    world.change("same", Edit("a", None, "a"))
    world.submit("same")
    world.settle()
    assert world.testing() == {"a": "a"}
    world.release("a")
    assert world.landed_names() == "a same"
    assert sum(isinstance(action, Start) for action in world.history) == 1


def test_flaky_test_is_repeated() -> None:
    """A failed test is repeated retries_max times on the same tree before it counts."""
    world = World(retries_max=1, max_speculative=2)
    world.submit("a")
    world.submit("b")
    world.settle()
    world.release("a", AttemptState.FAILED)
    assert world.testing() == {"b": "a b", "a": "a"}
    world.release("a")
    assert world.landed_names() == "a"


def test_flaky_test_fails_for_good() -> None:
    """When all repetitions fail, the change is ejected."""
    world = World(retries_max=1)
    item = world.submit("a")
    world.settle()
    world.release("a", AttemptState.FAILED)
    world.release("a", AttemptState.FAILED)
    assert world.states() == {"a": "test_failed"}
    assert "2 attempts" in world.items[item].detail


def test_infrastructure_is_not_the_changes_fault() -> None:
    """Three repetitions after errors of the infrastructure, without using up a retry."""
    world = World()
    world.submit("a")
    world.settle()
    for _ in range(3):
        world.release("a", AttemptState.ERROR)
    world.release("a")
    assert world.states() == {"a": "landed"}


def test_infrastructure_broken_for_good() -> None:
    """After that the item leaves, and says that nothing was found against it."""
    world = World()
    world.submit("a")
    world.settle()
    for _ in range(4):
        world.release("a", AttemptState.ERROR)
    assert world.states() == {"a": "infrastructure"}


def test_timeout() -> None:
    """A test over its time limit ejects with a reason of its own."""
    world = World()
    world.submit("a")
    world.settle()
    world.release("a", AttemptState.TIMED_OUT)
    assert world.states() == {"a": "timeout"}


def test_crash_and_restart_decides_the_same() -> None:
    """Killed with tests running, the queue starts the same tests and comes to the same end."""
    world = World(max_speculative=3)
    world.change("b", Edit("b", None, "bad"))
    for name in "abc":
        world.submit(name)
    world.settle()
    before = world.testing()
    world.restart()
    assert world.testing() == before
    world.release("b")
    before = world.testing()
    world.restart()
    assert world.testing() == before
    world.release_all()
    assert world.states() == {"a": "landed", "b": "test_failed", "c": "landed"}


def test_crash_keeps_results() -> None:
    """A result that was stored before the crash is used after it."""
    world = World(max_speculative=2)
    world.submit("a")
    world.submit("b")
    world.settle()
    world.release("b", settle=False)
    world.restart()
    assert world.testing() == {"a": "a"}
    world.release("a")
    assert world.landed_names() == "a b"


def test_resume_with_a_smaller_window() -> None:
    """Fewer places: the tests furthest behind are stopped."""
    world = World(max_speculative=3)
    for name in "abc":
        world.submit(name)
    world.settle()
    world.max_speculative = 1
    done = world.settle()
    assert [type(action) for action in done] == [Stop, Stop]
    assert world.testing() == {"a": "a"}


def test_ejection_names_its_evidence() -> None:
    """The action that ejects says why, in words, and which test showed it."""
    world = World()
    world.change("a", Edit("a", None, "bad"))
    item = world.submit("a")
    world.settle()
    (eject,) = (action for action in world.release("a") if isinstance(action, Eject))
    expected = Eject(item, EjectReason.TEST_FAILED, "the test ended with exit code 1", AttemptId(1))
    assert eject == expected


def test_certificates_form_a_chain() -> None:
    """Every landing's attempt was on the landing before it, though they were tested together."""
    world = World(max_speculative=4)
    for name in "abcd":
        world.submit(name)
    world.settle()
    for name in "dcba":
        world.release(name)
    bases = [
        world.attempts[AttemptId(landing.attempt_id or 0)].base_seq for landing in world.landings
    ]
    assert bases == [Seq(0), *(landing.seq for landing in world.landings[:-1])]
    assert sum(isinstance(action, Start) for action in world.history) == 4
