"""One consistent reading of the queue for its scheduler."""

import os
from collections.abc import Mapping

from pwfs.model.queue import AttemptState, EjectReason, ItemState, Member, TestKey
from pwfs.repo.ejecting import Ejecting
from pwfs.submit.history import DECISIONS_KEPT, History
from pwfs.submit.line import Policy
from pwfs.submit.snapshot import Composition, CompositionKey, Snapshot

_BY_TEST = (EjectReason.TEST_FAILED, EjectReason.TIMEOUT)
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
        passed = {}
        for composition in compositions.values():
            if composition.root is None:
                continue
            key = TestKey(composition.root, self.config.test_cmd, environment_hash)
            attempt = self.log.passed_attempt(key)
            if attempt is not None:
                passed[key] = attempt.id
        return Snapshot(
            head_seq=head_seq,
            head_root=head_root,
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
            landings=tuple(
                (landing.seq, Member(landing.change_id, landing.version))
                for landing in self.log.landings(since)
            ),
            landings_since=since,
            history=self._queue_history(),
            compositions=dict(compositions),
            passed=passed,
        )

    def _queue_history(self) -> History:
        """Counts the last decisions that tests made."""
        recent = tuple(
            item.state is ItemState.LANDED
            for item in self.log.decided_items(DECISIONS_KEPT)
            if item.state is ItemState.LANDED or item.reason in _BY_TEST
        )
        return History(passed=sum(recent), failed=len(recent) - sum(recent), recent=recent)
