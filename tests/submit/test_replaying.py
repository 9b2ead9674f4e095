"""The queue's past under another policy."""

import pytest

from pwfs.model.ejection import Cause
from pwfs.model.ids import ChangeId, ItemId
from pwfs.submit import Policy
from pwfs.submit.replaying import PastItem, Tally, replay, tally

TEST_S = 60.0


def item(
    number: int,
    entered_s: float,
    decided_s: float,
    cause: Cause | None = None,
    *others: str,
    test_s: tuple[float, ...] = (TEST_S,),
) -> PastItem:
    """An item of one change, called after its number."""
    changes = (ChangeId(f"c{number}"),)
    named = tuple(map(ChangeId, others))
    return PastItem(ItemId(number), changes, entered_s, decided_s, cause, named, test_s)


def one_after_the_other(count: int) -> list[PastItem]:
    """Items that came at once and were tested linearly."""
    return [item(n, 0.0, TEST_S * (n + 1)) for n in range(count)]


def test_what_happened_is_told_from_the_records() -> None:
    """Without any simulation."""
    past = [*one_after_the_other(3), item(3, 0.0, 200.0, Cause.OWN_FAILURE)]
    assert tally(past) == Tally(3, 1, 180.0, 200.0, 200.0, 4, 240.0)


def test_the_policy_that_was_there_does_the_same_again() -> None:
    """Linear on what was linear: each item when it was decided then."""
    past = one_after_the_other(5)
    found = replay(past, Policy.LINEAR, 1, 1)
    assert found.tally == tally(past)
    assert found.differing == ()


def test_speculation_saves_the_time_that_it_must() -> None:
    """Five good items at once take one test's time; the same tests are run."""
    found = replay(one_after_the_other(5), Policy.WINDOW, 5, 1)
    assert found.tally == Tally(5, 0, TEST_S, TEST_S, TEST_S, 5, 5 * TEST_S)


def test_a_failure_is_the_items_own_wherever_it_stands() -> None:
    """It leaves under every policy; those behind it land."""
    past = [
        item(0, 0.0, 60.0),
        item(1, 0.0, 120.0, Cause.OWN_FAILURE),
        item(2, 0.0, 180.0),
    ]
    for policy, width in ((Policy.WINDOW, 3), (Policy.TREE, 6), (Policy.BATCH, 1)):
        found = replay(past, policy, width, 1)
        assert (found.tally.landed, found.tally.ejected, found.differing) == (2, 1, ()), policy


def test_whom_an_item_disagreed_with_counts_if_both_were_queued() -> None:
    """The later of the two leaves; if the other had landed before, it is as bad as alone."""
    together = [item(0, 0.0, 60.0), item(1, 0.0, 120.0, Cause.INTERACTION, "c0")]
    assert replay(together, Policy.WINDOW, 2, 1).differing == ()
    apart = [item(0, 0.0, 60.0), item(1, 100.0, 160.0, Cause.CONFLICT, "c0")]
    assert replay(apart, Policy.WINDOW, 2, 1).differing == ()


def test_a_quicker_policy_spares_the_second_a_conflict() -> None:
    """Had the first landed before it came, its author would have seen it: told as a difference."""
    past = [
        item(0, 0.0, 60.0),
        item(1, 0.0, 120.0),
        item(2, 70.0, 180.0, Cause.INTERACTION, "c1"),
    ]
    assert replay(past, Policy.LINEAR, 1, 1).differing == ()
    assert replay(past, Policy.WINDOW, 2, 1).differing == (ItemId(2),)


def test_what_left_through_no_fault_of_its_own_is_taken_as_good() -> None:
    """A flake, a broken machine: it would have landed, and that is said."""
    past = [item(n, 0.0, 60.0, cause) for n, cause in enumerate((Cause.FLAKY, Cause.TIMEOUT))]
    found = replay(past, Policy.WINDOW, 2, 1)
    assert (found.tally.landed, found.differing) == (2, (ItemId(0), ItemId(1)))


def test_what_was_never_tested_takes_the_usual_time() -> None:
    """A conflict is seen without a test; under another policy it might need one."""
    past = [item(0, 0.0, 60.0), item(1, 0.0, 61.0, Cause.CONFLICT, test_s=())]
    assert replay(past, Policy.LINEAR, 1, 1).tally.wait_max_s == 2 * TEST_S


def test_an_empty_past() -> None:
    """Nothing is told of nothing."""
    found = replay([], Policy.TREE, 4, 2).tally
    assert (found.landed, found.ejected, found.tests) == (0, 0, 0)
    assert found.wait_p50_s is None


@pytest.mark.parametrize(("width", "cores", "policy"), [(1, 4, Policy.TREE), (1, 1, Policy.BATCH)])
def test_auto_means_what_it_would_mean(width: int, cores: int, policy: Policy) -> None:
    """Chosen as in the daemon, from what is usual."""
    assert replay(one_after_the_other(2), Policy.AUTO, width, cores).policy in (
        policy,
        Policy.LINEAR,
    )
