"""Which policy a queue runs by: a name becomes a function from a line to the tests it wants.

A policy only proposes. What lands or leaves follows from results alone, the same for all
(`pwfs.submit.plan`), so no policy can land what did not pass.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pwfs.model.ids import ItemId
from pwfs.submit.batch import landing_together, wish_batch
from pwfs.submit.history import History
from pwfs.submit.line import ALONE, Line, Policy, Scenario, Trial, Verdict, Wish
from pwfs.submit.tree import wish_tree
from pwfs.submit.window import wish_linear, wish_window

Wisher: TypeAlias = Callable[[Line], list[Wish]]

WISHERS: Mapping[Policy, Wisher] = {
    Policy.LINEAR: wish_linear,
    Policy.WINDOW: wish_window,
    Policy.TREE: wish_tree,
    Policy.BATCH: wish_batch,
}
"""A wisher tells the tests that shall run, most wanted first; those that run already among them.

What runs and is not wished for any more is stopped."""

_BATCH_FAILURES_MAX = 0.1
"""Above, looking for the culprits costs more tests than a batch saves."""


def choose(
    policy: Policy, max_speculative: int, cores: int, history: History
) -> tuple[Policy, int]:
    """Decides on a policy and how many tests run at once.

    ``max_speculative`` 1 means linear, whatever the policy, but for ``auto`` (as many tests as
    there are cores) and ``batch`` (which may test several together one after the other).
    """
    if policy is Policy.AUTO:
        width = max(max_speculative, cores)
        if width > 1:
            return Policy.TREE, width
        is_batched = 1.0 - history.own_pass <= _BATCH_FAILURES_MAX
        return (Policy.BATCH if is_batched else Policy.LINEAR), width
    if max_speculative == 1 and policy is not Policy.BATCH:
        return Policy.LINEAR, 1
    return policy, max_speculative


def wish(policy: Policy, line: Line) -> list[Wish]:
    """Tells which tests shall run; ``policy`` is not ``auto``."""
    return WISHERS[policy](line)


@dataclass(frozen=True, slots=True)
class Decision:
    """The end of some items: they land together, or one of them leaves because of a trial."""

    item_ids: tuple[ItemId, ...]
    trial: Trial | None = None
    """Why it leaves; None if they land."""


def decide(policy: Policy, line: Line) -> list[Decision]:
    """What the verdicts decide, in the line's order.

    Who waits for nobody lands or leaves by the verdict on main as it is. Such items do not wait
    for each other, so each of them may be decided before the others.
    """
    if policy is Policy.BATCH and (together := landing_together(line.entries)):
        return [Decision(together)]
    decisions: list[Decision] = []
    for entry in line.entries:
        trial = None if entry.ahead else entry.trial(ALONE)
        if trial is None or trial.verdict is Verdict.RUNNING:
            continue
        decisions.append(Decision((entry.id,), trial if trial.verdict.is_bad else None))
    return decisions


@dataclass(frozen=True, slots=True)
class Schedule:
    """What becomes of the wishes: tests that go on, and tests to start, most wanted first."""

    kept: frozenset[tuple[ItemId, Scenario]]
    starts: tuple[Wish, ...]


def schedule(line: Line, wishes: Iterable[Wish]) -> Schedule:
    """Gives the places to the wishes in their order.

    What passed needs none, nor what is tested by another item's attempt.
    """
    trials = {entry.id: entry.trials for entry in line.entries}
    kept: list[tuple[ItemId, Scenario]] = []
    starts: list[Wish] = []
    for wanted in wishes:
        if len(kept) + len(starts) >= line.width:
            break
        trial = trials[wanted.item_id].get(wanted.scenario)
        if trial is None:
            starts.append(wanted)
        elif trial.verdict is Verdict.RUNNING and trial.attempt_id is not None:
            kept.append((wanted.item_id, wanted.scenario))
    return Schedule(frozenset(kept), tuple(starts))
