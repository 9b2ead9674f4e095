"""`batch`: several items are tested together and land together; a failure is searched for its culprit.

Only prefixes of the line are tested. A prefix that passed lands whole, as the tree that was tested.
Of one that failed, prefixes in between are tested until the one that fails is an item alone on
main: that one leaves. With room for several tests, the next batches are tested on top, or the
search splits into more than two.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from pwfs.model.ids import ItemId
from pwfs.submit.line import Entry, Line, Scenario, Trial, Verdict, Wish

TESTS_MAX = 3
"""More batches on top of each other, or splits at once, are mostly in vain: one culprit ends them."""


def wish_batch(line: Line) -> list[Wish]:
    """Wishes for prefixes: what runs goes on, and what is free is used, up to a few tests."""
    width = min(line.width, TESTS_MAX)
    trials = prefix_trials(line.entries)
    failed = [end for end, trial in trials.items() if trial.verdict is Verdict.FAILED]
    running = [
        end
        for end, trial in trials.items()
        if trial.verdict is Verdict.RUNNING and trial.attempt_id is not None
    ]
    low = _longest_passed(trials)
    count = _mergeable(line.entries)
    if failed and failed[0] > low:
        ends = _search(low, failed[0], [end for end in running if low < end < failed[0]], width)
    else:
        ends = _append(low, count, [end for end in running if end > low], width, line.history.batch)
    return [Wish(line.entries[end - 1].id, _before(line.entries, end)) for end in ends]


def landing_together(entries: Sequence[Entry]) -> tuple[ItemId, ...]:
    """The items of the longest prefix that passed."""
    return tuple(entry.id for entry in entries[: _longest_passed(prefix_trials(entries))])


def prefix_trials(entries: Sequence[Entry]) -> dict[int, Trial]:
    """What is known of prefixes, by their length, as far as they merge."""
    return {
        end: trial
        for end, entry in enumerate(entries[: _mergeable(entries)], 1)
        if entry.trials and (trial := entry.trial(_before(entries, end))) is not None
    }


def _mergeable(entries: Sequence[Entry]) -> int:
    """The length of the longest prefix that is not known to conflict."""
    for end, entry in enumerate(entries, 1):
        trial = entry.trial(_before(entries, end)) if entry.trials else None
        if trial is not None and trial.verdict is Verdict.CONFLICTED:
            return end - 1
    return len(entries)


def _longest_passed(trials: Mapping[int, Trial]) -> int:
    return max((n for n, trial in trials.items() if trial.verdict is Verdict.PASSED), default=0)


def _before(entries: Sequence[Entry], end: int) -> Scenario:
    return frozenset(entry.id for entry in entries[: end - 1])


def _search(low: int, high: int, running: list[int], width: int) -> list[int]:
    """Splits what lies between a prefix that passed and one that failed, the widest gap first."""
    ends = running[:width]
    while len(ends) < width:
        bounds = [low, *sorted(ends), high]
        gap, start = max((after - before, -before) for before, after in pairwise(bounds))
        if gap < 2:
            break
        ends.append(-start + gap // 2)
    return ends


def _append(low: int, count: int, running: list[int], width: int, size: int) -> list[int]:
    """Goes on with what runs, and puts the next batches on top of it."""
    ends = running[:width]
    last = max(ends, default=low)
    while len(ends) < width and last < count:
        last = min(count, last + size)
        ends.append(last)
    return ends
