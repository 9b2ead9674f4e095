"""One consistent reading of the queue for its scheduler."""

from collections.abc import Mapping

from pwfs.model.ids import ChangeId
from pwfs.model.queue import AttemptState, TestKey
from pwfs.repo.ejecting import Ejecting
from pwfs.submit.snapshot import Composition, CompositionKey, Snapshot

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
        items = tuple(self.queued())
        head_seq, head_root = self.main()
        dependencies: dict[ChangeId, tuple[ChangeId, ...]] = {}
        for item in items:
            for member in item.members:
                if needed := self.change(member.change_id).dependencies:
                    dependencies[member.change_id] = needed
        wanted = {other for needed in dependencies.values() for other in needed}
        queued_ids = {item.id for item in items}
        running = self.log.attempts(states=[AttemptState.RUNNING])
        own = [attempt for item in items for attempt in self.log.attempts(item.id)]
        others = [attempt for attempt in running if attempt.item_id not in queued_ids]
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
            command=self.config.test_cmd,
            environment_hash=environment_hash,
            paused=self.queue_paused,
            max_speculative=self.config.max_speculative,
            retries_max=self.config.retries,
            compositions=dict(compositions),
            passed=passed,
        )
