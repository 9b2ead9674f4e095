"""What a repository's own past says about tests to come, as a few counts.

The counts are part of the snapshot, so that a plan stays a function of it. Where little is known
they are mixed with what is usual elsewhere.
"""

import math
from dataclasses import dataclass, replace

WINDOW_START = 20
WINDOW_FLOOR = 3
"""Zuul's defaults: the window of a queue that nothing is known of, and the smallest one."""
WINDOW_MAX = 1_000_000
DECISIONS_KEPT = 200
"""So many decisions are remembered one by one: the window forgets older ones anyway."""

_USUAL_PASSES, _USUAL_FAILURES = 18.0, 2.0
_USUAL_CLASHES, _USUAL_PAIRS = 1.0, 30.0
_BATCH_MAX = 32


@dataclass(frozen=True, slots=True)
class History:
    """Counts of what was decided, newest in ``recent``.

    ``passed`` and ``failed`` count items by their own outcome. ``pairs`` counts how often an
    item that was good by itself was decided on a main that another, which it might disagree
    with, had landed on while it waited; ``clashes`` how often it then failed. ``recent`` tells
    of the last decisions, oldest first, whether each landed.
    """

    passed: float = 0
    failed: float = 0
    pairs: float = 0
    clashes: float = 0
    recent: tuple[bool, ...] = ()

    def after(self, *, is_landed: bool, others: int, has_passed: bool) -> "History":
        """What is known after one more decision.

        ``others`` landed while the item waited that it might disagree with; ``has_passed`` tells
        whether it ever passed, without some of them. Where a failure may be the item's own or
        come from the others, it counts for both, as likely as they are.
        """
        recent = (*self.recent, is_landed)[-DECISIONS_KEPT:]
        if is_landed:
            return replace(self, passed=self.passed + 1, pairs=self.pairs + others, recent=recent)
        by_others: float = 1.0 - self.agreement**others
        share = 1.0 if has_passed else by_others / (by_others + 1.0 - self.own_pass)
        share *= others > 0
        return replace(
            self,
            passed=self.passed + share,
            failed=self.failed + 1.0 - share,
            pairs=self.pairs + others * share,
            clashes=self.clashes + share,
            recent=recent,
        )

    @property
    def own_pass(self) -> float:
        """The probability that a change is good by itself."""
        passes = self.passed + _USUAL_PASSES
        return passes / (passes + self.failed + _USUAL_FAILURES)

    @property
    def agreement(self) -> float:
        """The probability that two good changes that may disagree do not."""
        return 1.0 - (self.clashes + _USUAL_CLASHES) / (self.pairs + _USUAL_PAIRS)

    @property
    def window(self) -> int:
        """Zuul's window: one more a landing, half a failure, never under the floor."""
        width = WINDOW_START
        for is_landed in self.recent:
            width = width + 1 if is_landed else max(WINDOW_FLOOR, width // 2)
        return min(width, WINDOW_MAX)

    @property
    def batch(self) -> int:
        """How many items make a batch that passes every other time."""
        failing = max(1.0 - self.own_pass, 1e-3)
        return max(1, min(_BATCH_MAX, round(math.log(2) / failing)))


NOTHING_DECIDED = History()
