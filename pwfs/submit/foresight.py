"""What the queue is about to do, and what would become of one more item: for people, not for plans.

The odds are those by which `pwfs.submit.tree` chooses its tests, whatever the policy: they rest on
what is known of each item and on the repository's history, and so are guesses.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pwfs.model.ids import AgentId, AttemptId, ChangeId, ItemId
from pwfs.model.queue import ItemState, Member, QueueItem
from pwfs.submit.line import Entry, Line, Policy, Scenario
from pwfs.submit.policies import schedule, wish
from pwfs.submit.reading import read
from pwfs.submit.snapshot import Snapshot
from pwfs.submit.tree import odds_to_land

WANTED = "wanted"


@dataclass(frozen=True, slots=True)
class Speculation:
    """A test of an item if exactly ``assumes``, of those ahead of it, land.

    ``state`` is a verdict's, or ``wanted`` for a test that is to run when there is room.
    """

    assumes: tuple[ItemId, ...]
    state: str
    attempt_id: AttemptId | None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What lies before an item: whom it waits for, the odds that it lands, and its tests."""

    item_id: ItemId
    waits_for: tuple[ItemId, ...]
    odds: float
    speculations: tuple[Speculation, ...]


@dataclass(frozen=True, slots=True)
class QueuePlan:
    """The policy in force, how many tests run at once, and each item's outlook, in order."""

    policy: Policy
    width: int
    outlooks: tuple[Outlook, ...]


@dataclass(frozen=True, slots=True)
class Prospect:
    """What would become of an item that is submitted now.

    ``rounds`` counts the tests, one after the other, until it is decided: at least if all ahead
    pass, at most if what is expected to fail fails and is tested again.
    """

    position: int
    waits_for: tuple[ItemId, ...]
    odds: float
    rounds_min: int
    rounds_expected: float


def foresee(snapshot: Snapshot) -> QueuePlan:
    """Tells what the policy wants in a snapshot."""
    reading = read(snapshot)
    line = reading.line
    wishes = wish(reading.policy, line) if snapshot.command else []
    wanted: dict[ItemId, list[Scenario]] = {}
    for each in schedule(line, wishes).starts:
        wanted.setdefault(each.item_id, []).append(each.scenario)
    odds = odds_to_land(line)
    outlooks = tuple(
        Outlook(
            entry.id,
            tuple(entry.ahead),
            odds[entry.id],
            (*_tried(entry), *(_speculation(entry, s, WANTED) for s in wanted.get(entry.id, ()))),
        )
        for entry in line.entries
    )
    return QueuePlan(reading.policy, line.width, outlooks)


def _tried(entry: Entry) -> list[Speculation]:
    return [
        _speculation(entry, scenario, trial.verdict.value, trial.attempt_id)
        for scenario, trial in sorted(entry.trials.items(), key=lambda pair: sorted(pair[0]))
    ]


def _speculation(
    entry: Entry, scenario: Scenario, state: str, attempt_id: AttemptId | None = None
) -> Speculation:
    return Speculation(tuple(i for i in entry.ahead if i in scenario), state, attempt_id)


def what_if(
    snapshot: Snapshot,
    members: Sequence[Member],
    dependencies: Mapping[ChangeId, tuple[ChangeId, ...]],
    *,
    priority: int,
    share: int,
    targets: Mapping[ChangeId, frozenset[str]] | None = None,
) -> Prospect:
    """Tells what would become of an item; who conflicts with it is not known here.

    ``targets`` stand for the snapshot's, where the item's are known, too.
    """
    item = QueueItem(
        id=ItemId(1 + max((item.id for item in snapshot.items), default=0)),
        members=tuple(members),
        state=ItemState.QUEUED,
        priority=priority,
        agent_id=AgentId("what-if"),
        entered_at=datetime.fromtimestamp(0, UTC),
        share=share,
    )
    known = {**snapshot.dependencies, **dependencies}
    asked = replace(snapshot, items=(*snapshot.items, item), dependencies=known)
    if targets is not None:
        asked = replace(asked, targets=targets)
    reading = read(asked)
    line = reading.line
    position = next((n for n, each in enumerate(line.entries) if each.id == item.id), None)
    if position is None:
        return Prospect(len(line.entries), (), 0.0, 0, 0.0)
    entry = line.entries[position]
    odds = odds_to_land(line)
    rounds_min = _rounds(reading.policy, line, len(entry.ahead))
    failing = sum(1.0 - odds[other] for other in entry.ahead)
    # Zuul's window tests those behind a failure again; on either outcome nothing is repeated.
    repeated = failing if reading.policy is Policy.WINDOW else 0.0
    return Prospect(position, tuple(entry.ahead), odds[item.id], rounds_min, rounds_min + repeated)


def _rounds(policy: Policy, line: Line, ahead: int) -> int:
    together = line.width * (line.history.batch if policy is Policy.BATCH else 1)
    return math.ceil((ahead + 1) / together)
