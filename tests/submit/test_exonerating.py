"""Who fails is to blame only if main without it passes: what is not known to pass is tested."""

import pytest

from pwfs.model.queue import AttemptState
from pwfs.submit import Policy
from tests.submit.trees import Edit
from tests.submit.world import World, stopped

BAD = ("f", None, "bad")


def failing(world: World, *names: str) -> None:
    """Submits changes that fail by themselves."""
    for name in names:
        world.change(name, Edit(f"{name}-file", None, "bad"))
        world.submit(name)


@pytest.mark.parametrize("policy", Policy)
def test_a_main_that_passes_leaves_the_blame_with_the_item(policy: Policy) -> None:
    """It is tested once, by itself; what fails next is known to be to blame."""
    world = World(policy=policy, max_speculative=1, is_trusted=False)
    failing(world, "a", "b")
    world.settle()
    while "main" not in world.testing().values():
        world.release(next(iter(world.testing())).split()[-1])
    assert set(world.testing().values()) == {"main"}
    assert not [item for item in world.items.values() if item.reason]
    world.release("main")
    world.release_all()
    assert world.states() == {"a": "test_failed", "b": "test_failed"}
    assert [a.is_control for a in world.attempts.values()].count(True) == 1


def test_a_main_that_fails_takes_the_blame() -> None:
    """Who fails on it leaves exonerated; who mends it lands, and from then on items are to blame."""
    world = World(is_trusted=False)
    world.land_around(Edit(*BAD))
    failing(world, "worse")
    world.submit("good")
    world.change("fix", Edit("f", "bad", "mended"))
    world.submit("fix")
    failing(world, "bad")
    world.release_all()
    assert world.states() == {
        "worse": "main_failed",
        "good": "main_failed",
        "fix": "landed",
        "bad": "test_failed",
    }
    # Both were told by one test of main.
    assert [a.is_control for a in world.attempts.values()].count(True) == 1


def test_main_is_tested_as_often_as_an_item() -> None:
    """A failure that is not repeated says as little of main as of an item."""
    world = World(retries_max=1, is_trusted=False)
    failing(world, "a")
    world.settle()
    world.release("a")
    world.release("a")
    world.release("main", AttemptState.FAILED)
    assert world.states() == {"a": "queued"}
    world.release("main")
    assert world.states() == {"a": "test_failed"}


def test_the_test_of_main_ends_with_its_reason() -> None:
    """When main moves, or when the item leaves, nobody needs to know any more."""
    world = World(is_trusted=False)
    failing(world, "a")
    world.settle()
    world.release("a")
    world.land_around(Edit("g", None, "y"))
    world.settle()
    assert stopped(world) == ["main"]
    assert world.testing() == {"a": "a"}
    world.release("a")
    assert world.testing() == {"a": "main"}
    world.cancel(next(iter(world.items)))
    world.settle()
    assert stopped(world) == ["main", "main"]
    assert world.testing() == {}


def test_a_paused_queue_tests_no_main() -> None:
    """It goes on where it was."""
    world = World(is_trusted=False)
    failing(world, "a")
    world.settle()
    world.paused = True
    world.release("a")
    assert world.testing() == {}
    world.paused = False
    world.settle()
    assert world.testing() == {"a": "main"}


def test_a_main_that_cannot_be_tested_exonerates_nobody() -> None:
    """The item's own failure stands then, after as many errors as an item may have."""
    world = World(is_trusted=False)
    failing(world, "a")
    world.settle()
    world.release("a")
    for _ in range(4):
        assert world.states() == {"a": "queued"}
        world.release("main", AttemptState.ERROR)
    assert world.states() == {"a": "test_failed"}


def test_others_go_on_meanwhile() -> None:
    """The test of main has a place; what stands behind the item is tested in the others."""
    world = World(max_speculative=2, is_trusted=False)
    failing(world, "a")
    world.submit("b")
    world.settle()
    world.release("a")
    assert world.testing() == {"a": "main", "b": "b"}
    world.release("b")
    assert world.states() == {"a": "queued", "b": "queued"}
    world.release("main")
    assert world.states() == {"a": "test_failed", "b": "landed"}
