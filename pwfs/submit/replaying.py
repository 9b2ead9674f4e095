"""The queue's own history under another policy: the same items, at the same times, decided anew.

What is known of the past is taken as the truth about each item: whoever landed is good; who was
ejected for its own failure is bad; who was ejected for a conflict or an interaction disagrees with
the changes that were named, or is bad if these had landed before it was submitted or none is known. A
test takes as long as the item's did. Items that left for reasons that say nothing about them (flaky,
infrastructure, a time limit, a dependency) are taken as good, those that were cancelled are left out.
Nothing flakes, priorities do not count, and without targets everybody waits for all before it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pwfs.model.ejection import Cause
from pwfs.model.ids import ChangeId, ItemId
from pwfs.submit.history import NOTHING_DECIDED
from pwfs.submit.line import Policy
from pwfs.submit.policies import choose
from pwfs.submit.simulation import Arrival, Change, Simulation

_AT_ODDS = (Cause.CONFLICT, Cause.INTERACTION)
_EVERYTHING = frozenset({0})


@dataclass(frozen=True, slots=True)
class PastItem:
    """An item that landed or was ejected; times in seconds from any one moment.

    ``cause`` and ``with_changes`` say why it was ejected (None: it landed). ``test_s`` are how long
    its tests ran, stopped ones too; the longest tells how long one takes.
    """

    item_id: ItemId
    changes: tuple[ChangeId, ...]
    entered_s: float
    decided_s: float
    cause: Cause | None
    with_changes: tuple[ChangeId, ...]
    test_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the items; waits in seconds from entering to the end (None: nothing ended)."""

    landed: int
    ejected: int
    wait_p50_s: float | None
    wait_p95_s: float | None
    wait_max_s: float | None
    tests: int
    worker_s: float


@dataclass(frozen=True, slots=True)
class Replay:
    """A policy's tally, and the items that it would have decided otherwise than they were."""

    policy: Policy
    width: int
    tally: Tally
    differing: tuple[ItemId, ...]


def tally(past: Sequence[PastItem]) -> Tally:
    """What the records say happened."""
    waits = [item.decided_s - item.entered_s for item in past]
    landed = sum(item.cause is None for item in past)
    test_s = [each for item in past for each in item.test_s]
    return _tally(landed, waits, len(test_s), sum(test_s))


def replay(past: Sequence[PastItem], asked: Policy, max_speculative: int, cores: int) -> Replay:
    """Lets a policy decide the past; it, and how many tests run at once, as `choose` has them."""
    policy, width = choose(asked, max_speculative, cores, NOTHING_DECIDED)
    recorded = Recorded(past, width)
    outcome = Simulation(recorded, policy, has_rule=False).run()
    is_landed = {past[end.key].item_id: end.is_landed for end in outcome.decided}
    differing = tuple(
        item.item_id for item in past if is_landed.get(item.item_id) != (item.cause is None)
    )
    waits = [end.decided_s - end.entered_s for end in outcome.decided]
    landed = sum(is_landed.values())
    return Replay(policy, width, _tally(landed, waits, outcome.tests, outcome.test_s), differing)


def _tally(landed: int, waits: Iterable[float], tests: int, worker_s: float) -> Tally:
    ranked = sorted(waits)
    if not ranked:
        return Tally(0, 0, None, None, None, tests, worker_s)
    middle, late = (ranked[min(len(ranked) - 1, len(ranked) * n // 100)] for n in (50, 95))
    return Tally(landed, len(ranked) - landed, middle, late, ranked[-1], tests, worker_s)


class Recorded:
    """The past as traffic; changes have the place of their item as key."""

    tick_s = 0.0
    from_s = 0.0
    until_s = math.inf
    retries = 0

    def __init__(self, past: Sequence[PastItem], workers: int) -> None:
        self.workers = workers
        self._past = past
        self._quarrels = _quarrels(past)
        known = sorted(max(item.test_s) for item in past if item.test_s)
        self._usual_s = known[len(known) // 2] if known else 0.0

    def opening(self) -> list[Arrival]:
        """All items, when they came."""
        return [Arrival(item.entered_s, 0, number) for number, item in enumerate(self._past)]

    def after_arrival(self, agent: int, number: int, now_s: float) -> Arrival | None:
        """Nobody: all are there from the beginning."""
        return None

    def after_decision(self, agent: int, number: int, now_s: float) -> Arrival | None:
        """Nobody: what was submitted later is there, too."""
        return None

    def change(self, agent: int, number: int) -> Change:
        """An item, as if it were one change."""
        item = self._past[number]
        duration_s = max(item.test_s, default=self._usual_s)
        is_own_fault = item.cause is Cause.OWN_FAILURE
        is_at_odds = item.cause in _AT_ODDS and number not in self._quarrels
        return Change(number, 0, duration_s, not (is_own_fault or is_at_odds), _EVERYTHING)

    def disagree(self, one: Change, other: Change) -> bool:
        """Whether one of them was ejected because of the other."""
        first, second = (self._quarrels.get(each.key, frozenset()) for each in (one, other))
        return other.key in first or one.key in second

    def is_missed(self, one: Change, other: Change) -> bool:
        """Nothing is missed where nothing is called independent."""
        return False

    def is_flaky(self, tree: int, attempt: int) -> bool:
        """What flaked then need not have under another policy."""
        return False


def _quarrels(past: Sequence[PastItem]) -> Mapping[int, frozenset[int]]:
    """With whom, of those queued together with it, an item was ejected for disagreeing."""
    landed = {
        change: number
        for number, item in enumerate(past)
        if item.cause is None
        for change in item.changes
    }
    found: dict[int, frozenset[int]] = {}
    for number, item in enumerate(past):
        if item.cause not in _AT_ODDS:
            continue
        others = frozenset(
            landed[change]
            for change in item.with_changes
            if change in landed and past[landed[change]].decided_s > item.entered_s
        )
        if others:
            found[number] = others
    return found
