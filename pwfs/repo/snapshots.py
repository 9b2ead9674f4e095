"""One consistent reading of the queue for its scheduler."""

import os
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from pwfs.model.ids import ChangeId, ItemId, Seq
from pwfs.model.queue import (
    Attempt,
    AttemptState,
    EjectReason,
    ItemState,
    Member,
    QueueItem,
    TestKey,
)
from pwfs.repo.ejecting import Ejecting
from pwfs.submit.history import DECISIONS_KEPT, NOTHING_DECIDED, History
from pwfs.submit.independence import Independence
from pwfs.submit.line import Policy
from pwfs.submit.resting import counting
from pwfs.submit.snapshot import Composition, CompositionKey, Snapshot

_BY_TEST = (EjectReason.TEST_FAILED, EjectReason.TIMEOUT)
Landed: TypeAlias = tuple[Seq, Member]
NOTHING_COMPOSED: Mapping[CompositionKey, Composition] = {}


class Snapshots(Ejecting):
    """The part of a repository that the queue's runner reads."""

    def queue_snapshot(
        self,
        *,
        environment_hash: str,
        compositions: Mapping[CompositionKey, Composition] = NOTHING_COMPOSED,
    ) -> Snapshot:
        """Reads the queue; ``compositions`` are what the caller found out by `candidate`."""
        items = tuple(self.log.items(states=[ItemState.QUEUED]))
        head_seq, head_root = self.main()
        dependencies = self.queued_dependencies(items)
        wanted = {other for needed in dependencies.values() for other in needed}
        queued_ids = {item.id for item in items}
        running = self.log.attempts(states=[AttemptState.RUNNING])
        own = [attempt for item in items for attempt in self.log.attempts(item.id)]
        others = [attempt for attempt in running if attempt.item_id not in queued_ids]
        since = min((attempt.base_seq for attempt in own), default=head_seq)
        landings = tuple(
            (landing.seq, Member(landing.change_id, landing.version))
            for landing in self.log.landings(since)
        )
        targets = self._targets(items, own, landings)
        independence = Independence(targets, dependencies)
        own = counting(items, own, landings, head_seq, independence)
        passed = {}
        for composition in compositions.values():
            if composition.root is None:
                continue
            key = TestKey(composition.root, self.config.test_cmd, environment_hash)
            attempt = self.log.passed_attempt(key)
            if attempt is not None:
                passed[key] = attempt.id
        as_main = TestKey(head_root, self.config.test_cmd, environment_hash)
        is_green = self.log.passed_attempt(as_main) is not None
        return Snapshot(
            head_seq=head_seq,
            head_root=head_root,
            is_green=is_green,
            controls=() if is_green else tuple(self.log.controls(as_main)),
            items=items,
            attempts=tuple(sorted([*own, *others], key=lambda attempt: attempt.id)),
            dependencies=dependencies,
            landed=frozenset(other for other in wanted if self.is_landed(other)),
            ages=self.queued_ages(items),
            command=self.config.test_cmd,
            environment_hash=environment_hash,
            paused=self.queue_paused,
            closed=self.closing is not None,
            policy=Policy(self.config.queue_policy),
            max_speculative=self.config.max_speculative,
            cores=len(os.sched_getaffinity(0)),
            retries_max=self.config.retries,
            landings=landings,
            landings_since=since,
            history=self._queue_history(),
            targets=targets,
            compositions=dict(compositions),
            passed=passed,
        )

    def _targets(
        self, items: Sequence[QueueItem], own: Sequence[Attempt], landings: Sequence[Landed]
    ) -> dict[ChangeId, frozenset[str]]:
        """What the rule tells of all that is queued, was tested with it, or landed since."""
        if self.config.rule is None:
            return {}
        members = [member for item in items for member in item.members]
        members += [member for attempt in own for member in attempt.stack]
        return self.known_targets([*members, *(member for _, member in landings)])

    def _queue_history(self) -> History:
        """Counts the last decisions that tests made."""
        decided = [
            item
            for item in self.log.decided_items(DECISIONS_KEPT)
            if item.state is ItemState.LANDED or item.reason in _BY_TEST
        ]
        # By when they were decided: whose test was quicker comes before who was submitted earlier.
        decided.sort(key=lambda item: (item.finished_at, item.id))
        known, history = self._history_until
        ids = tuple(item.id for item in decided)
        if ids != known:
            history = self._history_of(decided)
            self._history_until = ids, history
        return history

    _history_until: tuple[tuple[ItemId, ...], History] = ((), NOTHING_DECIDED)

    def _history_of(self, decided: Sequence[QueueItem]) -> History:
        landed = [item for item in decided if item.state is ItemState.LANDED]
        members = [member for item in decided for member in item.members]
        targets = self.known_targets(members) if self.config.rule is not None else {}
        independence = Independence(targets, {})
        history = NOTHING_DECIDED
        for item in decided:
            others = sum(
                not all(independence.of_change(item, member.change_id) for member in other.members)
                for other in landed
                if other.id != item.id and _landed_while_waiting(other, item)
            )
            is_landed = item.state is ItemState.LANDED
            has_passed = is_landed or any(
                attempt.state is AttemptState.PASSED for attempt in self.own_attempts(item.id)
            )
            history = history.after(is_landed=is_landed, others=others, has_passed=has_passed)
        return history


def _landed_while_waiting(other: QueueItem, item: QueueItem) -> bool:
    assert item.finished_at is not None and other.finished_at is not None
    return item.entered_at < other.finished_at <= item.finished_at
