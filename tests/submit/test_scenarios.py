"""What the queue does in the situations that Zuul's scheduler is tested with, by name and meaning.

Tests are held until a scenario releases them. ``world.testing()`` tells what each running tree
contains, in order.
"""

import pytest

from pwfs.model.errors import DependencyNotLanded
from pwfs.submit import Compose, Eject, Start
from tests.submit.trees import Edit
from tests.submit.world import World, stopped


def test_linear_tests_one_at_a_time() -> None:
    """With max_speculative 1 the second test starts when the first item has landed, on it."""
    world = World()
    world.submit("a")
    world.submit("b")
    world.settle()
    assert world.testing() == {"a": "a"}
    world.release("a")
    assert world.landed_names() == "a"
    assert world.testing() == {"b": "b"}
    world.release("b")
    assert world.landed_names() == "a b"


def test_all_pass_in_order() -> None:
    """Each is tested on all before it, at once, and none is tested a second time."""
    world = World(max_speculative=3)
    for name in "abc":
        world.submit(name)
    world.settle()
    assert world.testing() == {"a": "a", "b": "a b", "c": "a b c"}
    for name in "abc":
        world.release(name)
    assert world.landed_names() == "a b c"
    assert sum(isinstance(action, Start) for action in world.history) == 3


def test_passing_out_of_order_waits_for_those_ahead() -> None:
    """A pass behind unfinished tests lands only when all before it have, then at once."""
    world = World(max_speculative=3)
    for name in "abc":
        world.submit(name)
    world.settle()
    world.release("c")
    world.release("b")
    assert world.landed_names() == ""
    world.release("a")
    assert world.landed_names() == "a b c"


def test_window_is_the_number_tested_at_once() -> None:
    """Not more than max_speculative entries are ahead of main."""
    world = World(max_speculative=2)
    for name in "abcd":
        world.submit(name)
    world.settle()
    assert list(world.testing()) == ["a", "b"]
    world.release("b")
    assert list(world.testing()) == ["a"], "what passed keeps its place until it lands"
    world.release("a")
    assert world.testing() == {"c": "c", "d": "c d"}


def test_failed_at_head() -> None:
    """The head's failure ejects at once; those behind are stopped and tested without it."""
    world = World(max_speculative=3)
    world.change("a", Edit("a", None, "bad"))
    for name in "abc":
        world.submit(name)
    world.settle()
    done = world.release("a")
    assert next(type(action) for action in done if not isinstance(action, Compose)) is Eject
    assert stopped(world) == ["b", "c"]
    assert world.testing() == {"b": "b", "c": "b c"}
    world.release_all()
    assert world.states() == {"a": "test_failed", "b": "landed", "c": "landed"}


def test_failed_in_the_middle() -> None:
    """A failure behind an unfinished test is not final, yet those behind go on without it."""
    world = World(max_speculative=3)
    world.change("b", Edit("b", None, "bad"))
    for name in "abc":
        world.submit(name)
    world.settle()
    world.release("b")
    assert world.states()["b"] == "queued"
    assert world.testing() == {"a": "a", "c": "a c"}
    world.release("a")
    assert world.states() == {"a": "landed", "b": "test_failed", "c": "queued"}
    assert world.testing() == {"c": "a c"}, "the test on [a, c] is still the right one"
    world.release("c")
    assert world.landed_names() == "a c"
    assert len(world.attempts) == 4 + 1, "and c's result on [a, c] was certified for main"


def test_failure_that_the_one_ahead_caused() -> None:
    """Who failed only because of a failing one ahead is tested again without it, and lands."""
    world = World(max_speculative=2, clashes={frozenset({"a", "b"})})
    world.change("a", Edit("a", None, "a"), Edit("x", None, "bad"))
    world.submit("a")
    world.submit("b")
    world.settle()
    world.release("b")
    assert world.testing() == {"a": "a"}
    world.release("a")
    assert world.testing() == {"b": "b"}
    world.release("b")
    assert world.states() == {"a": "test_failed", "b": "landed"}


def test_interaction_ejects_the_later() -> None:
    """Two that pass alone and fail together: the first lands, the second is ejected."""
    world = World(max_speculative=2, clashes={frozenset({"a", "b"})})
    world.submit("a")
    world.submit("b")
    world.settle()
    world.release("b")
    world.release("a")
    assert world.states() == {"a": "landed", "b": "test_failed"}
    assert len(world.attempts) == 2, "the failure on [a, b] is proven, it is not repeated"


def test_two_failed_at_head() -> None:
    """Two failures in a row leave one after the other; the third is tested on main alone."""
    world = World(max_speculative=3)
    world.change("a", Edit("a", None, "bad"))
    world.change("b", Edit("b", None, "bad"))
    for name in "abc":
        world.submit(name)
    world.settle()
    world.release("a")
    assert world.testing() == {"b": "b", "c": "b c"}
    world.release("b")
    assert world.testing() == {"c": "c"}
    world.release("c")
    assert world.states() == {"a": "test_failed", "b": "test_failed", "c": "landed"}


def test_failing_ones_leave_their_place_in_the_window() -> None:
    """Behind two failures that are not final yet, two more are tested."""
    world = World(max_speculative=3)
    world.change("b", Edit("b", None, "bad"))
    world.change("c", Edit("c", None, "bad"))
    for name in "abcde":
        world.submit(name)
    world.settle()
    world.release("b")
    world.release("c")
    assert world.testing() == {"a": "a", "d": "a d", "e": "a d e"}


def test_dependent_lands_after_its_dependency() -> None:
    """A dependency may be ahead in the queue."""
    world = World(max_speculative=2)
    world.submit("a")
    world.change("b", after=["a"])
    world.submit("b")
    world.settle()
    assert world.testing() == {"a": "a", "b": "a b"}
    world.release_all()
    assert world.landed_names() == "a b"


def test_dependent_behind_an_ejected_one() -> None:
    """Everything that depends on an ejected change is ejected with it, through any chain."""
    world = World(max_speculative=4)
    world.change("a", Edit("a", None, "bad"))
    world.change("b", after=["a"])
    world.change("c", after=["b"])
    for name in "abcd":
        world.submit(name)
    world.settle()
    world.release("a")
    assert world.states() == {
        "a": "test_failed",
        "b": "dependency",
        "c": "dependency",
        "d": "queued",
    }
    assert world.testing() == {"d": "d"}


def test_dependent_of_a_failing_one_waits() -> None:
    """While a dependency's failure is not final, its dependents are neither tested nor ejected."""
    world = World(max_speculative=3, clashes={frozenset({"a", "b"})})
    world.change("a", Edit("a", None, "a"), Edit("x", None, "bad"))
    world.submit("a")
    world.submit("b")
    world.change("c", after=["b"])
    world.submit("c")
    world.settle()
    world.release("b")
    assert world.testing() == {"a": "a"}
    world.release("a")
    assert world.testing() == {"b": "b", "c": "b c"}
    world.release_all()
    assert world.states() == {"a": "test_failed", "b": "landed", "c": "landed"}


def test_dependency_behind_or_absent_is_refused() -> None:
    """Submitting before what a change depends on is refused and changes nothing."""
    world = World()
    world.change("a")
    world.change("b", after=["a"])
    with pytest.raises(DependencyNotLanded):
        world.submit("b")
    assert world.items == {}


def test_priority_goes_first_and_takes_its_dependencies_along() -> None:
    """An urgent item overtakes; what it depends on overtakes with it."""
    world = World()
    world.submit("a")
    world.submit("b")
    world.change("c", after=["b"])
    world.submit("c", priority=10)
    world.release_all()
    assert world.landed_names() == "b c a"


def test_urgent_item_stops_the_test_it_overtakes() -> None:
    """A running test that stands behind another now is on the wrong tree, and is stopped."""
    world = World()
    world.submit("a")
    world.settle()
    world.submit("b", priority=1)
    world.settle()
    assert stopped(world) == ["a"]
    assert world.testing() == {"b": "b"}


def test_a_set_of_changes_lands_whole_or_not_at_all() -> None:
    """An item's changes are tested together and land together."""
    world = World(max_speculative=2)
    world.change("d", Edit("d", None, "bad"))
    world.submit("a", "b")
    world.submit("c", "d")
    world.settle()
    assert world.testing() == {"a b": "a b", "c d": "a b c d"}
    world.release("d")
    world.release("b")
    assert world.landed_names() == "a b"
    assert world.states() == {"a b": "landed", "c d": "test_failed"}


def test_conflict_with_main_ejects() -> None:
    """What does not merge with main leaves untested, and its paths are told."""
    world = World(max_speculative=2)
    world.land_around(Edit("f", None, "1"))
    world.change("a", Edit("f", None, "2"))
    world.submit("a")
    world.submit("b")
    world.settle()
    assert world.states() == {"a": "conflict", "b": "queued"}
    assert "f" in next(iter(world.items.values())).detail
    assert world.testing() == {"b": "b"}


def test_conflict_with_an_unfinished_one_waits() -> None:
    """A conflict with one ahead ejects when that has landed; until then others go on."""
    world = World(max_speculative=3)
    world.change("a", Edit("f", None, "1"))
    world.change("b", Edit("f", None, "2"))
    for name in "abc":
        world.submit(name)
    world.settle()
    assert world.testing() == {"a": "a", "c": "a c"}
    assert world.states()["b"] == "queued"
    world.release("a")
    assert world.states() == {"a": "landed", "b": "conflict", "c": "queued"}
    assert world.testing() == {"c": "a c"}


def test_conflict_that_vanishes() -> None:
    """When the one ahead is ejected, who conflicted with it is tested in its own right."""
    world = World(max_speculative=3)
    world.change("a", Edit("f", None, "bad"))
    world.change("b", Edit("f", None, "2"))
    for name in "abc":
        world.submit(name)
    world.settle()
    world.release("a")
    assert world.testing() == {"b": "b", "c": "b c"}
    world.release_all()
    assert world.states() == {"a": "test_failed", "b": "landed", "c": "landed"}
