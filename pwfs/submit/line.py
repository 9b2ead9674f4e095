"""The queue as a policy sees it: who waits for whom, and what is known of which assumption.

A *scenario* of an item is the set of those ahead of it that are assumed to land; whoever of them is
left out is assumed to leave. Trees, attempts and landings are not in it, so that the daemon, which
reads a line from its records (`pwfs.submit.reading`), and a simulator, which keeps one up to date,
run the same policies.
"""

import enum
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TypeAlias

from pwfs.model.ids import AttemptId, ItemId
from pwfs.model.queue import EjectReason
from pwfs.submit.history import NOTHING_DECIDED, History

Scenario: TypeAlias = frozenset[ItemId]
ALONE: Scenario = frozenset()
"""The scenario of an item that waits for nobody: main as it is."""


class Policy(enum.StrEnum):
    """How tests are chosen; see docs/queue.md."""

    LINEAR = "linear"
    WINDOW = "window"
    TREE = "tree"
    BATCH = "batch"
    AUTO = "auto"


class Verdict(enum.StrEnum):
    """What is known of an item in a scenario."""

    PASSED = "passed"
    RUNNING = "running"
    FAILED = "failed"
    CONFLICTED = "conflicted"

    @property
    def is_bad(self) -> bool:
        """Whether the item cannot land in that scenario."""
        return self in (Verdict.FAILED, Verdict.CONFLICTED)


@dataclass(frozen=True, slots=True)
class Trial:
    """A verdict, the attempt that it rests on (None: a merge, or another item's test), and why."""

    verdict: Verdict
    attempt_id: AttemptId | None = None
    reason: EjectReason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """An item that waits.

    ``ahead`` are those before it, in the queue's order, that a rule does not call independent of
    it: it lands after each of them has landed or left. It ``needs`` some of them to land.
    ``trials`` are what is known, by scenario. ``company`` are the queued items that it was
    together with in a tree that passed, itself among them; ``unseen`` counts what landed since
    it was submitted, concerns it, and was in none of these trees. ``failures`` count tests that
    failed, by scenario, whether or not they are enough for a verdict.
    """

    id: ItemId
    ahead: Sequence[ItemId] = ()
    needs: frozenset[ItemId] = frozenset()
    trials: Mapping[Scenario, Trial] = field(default_factory=dict)
    company: Set[ItemId] = frozenset()
    unseen: int = 0
    failures: Mapping[Scenario, int] = field(default_factory=dict)

    def trial(self, scenario: Scenario) -> Trial | None:
        """What is known of a scenario."""
        return self.trials.get(scenario)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """All that waits, in the queue's order; ``width`` tests may run at once."""

    entries: Sequence[Entry]
    width: int
    history: History = NOTHING_DECIDED


@dataclass(frozen=True, slots=True)
class Wish:
    """A test that a policy wants to run, or to go on, and the probability that it is needed."""

    item_id: ItemId
    scenario: Scenario
    probability: float = 1.0
