"""How an item leaves the queue without landing, and what its submitter is told."""

import bisect
from dataclasses import replace

from pwfs.merge.limits import is_too_large
from pwfs.merge.lines import diff_hunks, is_binary
from pwfs.model.changes import ChangeStatus, Landing
from pwfs.model.ejection import Cause, Dispute, Ejection, Region, Remedy
from pwfs.model.entries import FileEntry
from pwfs.model.errors import BlobDamaged, BlobMissing
from pwfs.model.events import EventType
from pwfs.model.ids import SEQ_ZERO, ChangeId, ItemId
from pwfs.model.paths import RepoPath
from pwfs.model.queue import (
    Attempt,
    AttemptState,
    EjectReason,
    ItemState,
    Member,
    QueueItem,
    TestKey,
)
from pwfs.repo.controlling import Controlling
from pwfs.repo.live import Conflict
from pwfs.views.compose import Layer

_CAUSES = {
    EjectReason.CONFLICT: Cause.CONFLICT,
    EjectReason.TIMEOUT: Cause.TIMEOUT,
    EjectReason.INFRASTRUCTURE: Cause.INFRASTRUCTURE,
    EjectReason.DEPENDENCY: Cause.DEPENDENCY,
    EjectReason.MAIN_FAILED: Cause.MAIN,
}
_REMEDIES = {
    Cause.CONFLICT: Remedy.EDIT,
    Cause.OWN_FAILURE: Remedy.EDIT,
    Cause.INTERACTION: Remedy.EDIT,
    Cause.FLAKY: Remedy.RESUBMIT,
    Cause.TIMEOUT: Remedy.RESUBMIT,
    Cause.INFRASTRUCTURE: Remedy.RESUBMIT,
    Cause.DEPENDENCY: Remedy.DEPENDENCY,
    Cause.MAIN: Remedy.MAIN,
}
LANDINGS_SEARCHED_MAX = 1_000
_BAD = (AttemptState.FAILED, AttemptState.TIMED_OUT, AttemptState.ERROR)


class Ejecting(Controlling):
    """The part of a repository that takes items out because they cannot land."""

    def eject(self, item_id: int, reason: EjectReason, detail: str) -> QueueItem:
        """Takes an item out because it cannot land; its changes are drafts again.

        If it may pass as it is, and its submitter allowed for that, it is submitted again instead.

        Raises:
            NotFound: the item is not in the queue any more.
        """
        item = self._in_queue(item_id)
        ejection = self._ejection(item, reason)
        with self.transaction():
            if item.resubmits and ejection.remedy is Remedy.RESUBMIT and ejection.merges:
                ejection = replace(ejection, resubmitted_as=self._resubmitted(item))
            ejected = self._leave(
                item, ItemState.EJECTED, reason=reason, detail=detail, ejection=ejection
            )
            if ejection.resubmitted_as is None:
                for member in item.members:
                    change = self.change(member.change_id)
                    if change.status is ChangeStatus.TESTING:
                        self._move_status(change, ChangeStatus.DRAFT, reason=reason.value)
            self.publish(
                EventType.ITEM_EJECTED,
                item_id=item.id,
                changes=[member.change_id for member in item.members],
                reason=reason.value,
                detail=detail,
                cause=ejection.cause.value,
                remedy=ejection.remedy.value,
                with_changes=list(ejection.with_changes),
                resubmitted_as=ejection.resubmitted_as,
            )
        return ejected

    def _resubmitted(self, item: QueueItem) -> ItemId:
        again = self.log.insert_item(
            item.members,
            priority=item.priority,
            agent_id=item.agent_id,
            entered_at=self.now(),
            resubmits=item.resubmits - 1,
        )
        return again.id

    def _ejection(self, item: QueueItem, reason: EjectReason) -> Ejection:
        head, root = self.main()
        layers = tuple(self.layer(self.change(m.change_id), m.version) for m in item.members)
        conflicts = self.compose(head, root, layers).conflicts()
        merges = not conflicts
        if reason is EjectReason.CONFLICT:
            disputes = tuple(self._dispute(conflict, layers) for conflict in conflicts)
            others = {dispute.with_change for dispute in disputes} - {None}
            remedy = Remedy.RESUBMIT if merges else Remedy.EDIT
            named = tuple(sorted(ChangeId(str(other)) for other in others))
            return Ejection(Cause.CONFLICT, remedy, merges, named, disputes)
        if reason is EjectReason.DEPENDENCY:
            return Ejection(Cause.DEPENDENCY, Remedy.DEPENDENCY, merges, self._awaited(item))
        failed = [a for a in self.own_attempts(item.id) if a.state in _BAD]
        if not failed:
            cause = _CAUSES.get(reason, Cause.OWN_FAILURE)
            return Ejection(cause, _REMEDIES[cause], merges)
        last = failed[-1]
        cause, named = self._blame(item, last, _CAUSES.get(reason))
        if reason is EjectReason.MAIN_FAILED:
            # What shows it is the test of main.
            as_main = TestKey(root, last.key.command, last.key.environment_hash)
            last = [a for a in self.log.controls(as_main) if a.state in _BAD][-1]
        view_id = f"attempt-{last.id}"
        return Ejection(cause, _REMEDIES[cause], merges, named, (), last.id, view_id)

    def _awaited(self, item: QueueItem) -> tuple[ChangeId, ...]:
        own = {member.change_id for member in item.members}
        needed = {other for m in item.members for other in self.change(m.change_id).dependencies}
        return tuple(sorted(other for other in needed - own if not self.is_landed(other)))

    def _blame(
        self, item: QueueItem, failed: Attempt, cause: Cause | None
    ) -> tuple[Cause, tuple[ChangeId, ...]]:
        """Compares what failed with what passed and had the item in it, the most alike of it."""
        if cause is not None:
            return cause, ()
        alike = [
            self._only_in(failed, attempt)
            for attempt in self.log.attempts(
                states=[AttemptState.PASSED], containing=item.members[0]
            )
            if set(item.members) <= set(attempt.stack) and self._is_comparable(attempt, failed)
        ]
        if not alike:
            return Cause.OWN_FAILURE, ()
        suspects = min(alike, key=len)
        if not suspects:
            return Cause.FLAKY, ()
        return Cause.INTERACTION, tuple(sorted({member.change_id for member in suspects}))

    @staticmethod
    def _is_comparable(passed: Attempt, failed: Attempt) -> bool:
        same = (failed.key.command, failed.key.environment_hash)
        return passed.rests_on is None and (passed.key.command, passed.key.environment_hash) == same

    def _only_in(self, failed: Attempt, passed: Attempt) -> frozenset[Member]:
        """The versions that the tree that failed had, and the one that passed had not."""
        first = min(failed.base_seq, passed.base_seq)
        later = [(each.seq, Member(each.change_id, each.version)) for each in self.landings(first)]

        def had(attempt: Attempt) -> frozenset[Member]:
            below = {member for seq, member in later if seq <= attempt.base_seq}
            return frozenset({*below, *attempt.stack})

        return had(failed) - had(passed)

    def _dispute(self, conflict: Conflict, layers: tuple[Layer, ...]) -> Dispute:
        note = self.conflict_note(conflict)
        other = note.their_change
        if other is None:
            other = self._first_to_conflict(conflict.path, layers)
        regions = self._regions(conflict.base, conflict.theirs, conflict.yours)
        return Dispute(conflict.path, conflict.type, note.your_change, other, regions)

    def _first_to_conflict(self, path: RepoPath, layers: tuple[Layer, ...]) -> ChangeId | None:
        """The change by whose landing main came to conflict at a path; None if none is known.

        Of the landings that touched it since the versions were begun, found by halving.
        """
        edits = [layer.edits.edits.get(path) for layer in layers]
        since = min((edit.base_seq for edit in edits if edit is not None), default=SEQ_ZERO)
        touching = self.log.landings_touching(path, since, LANDINGS_SEARCHED_MAX)

        def conflicts(landing: Landing) -> bool:
            live = self.compose(landing.seq, landing.root, layers)
            return live.conflict_at(path) is not None

        first = bisect.bisect_left(touching, True, key=conflicts)
        return touching[first].change_id if first < len(touching) else None

    def _regions(
        self, base: FileEntry | None, theirs: FileEntry | None, yours: FileEntry | None
    ) -> tuple[Region, ...]:
        if base is None or theirs is None or yours is None:
            return ()
        try:
            old, other, own = (self.blobs.get(e.content_hash) for e in (base, theirs, yours))
        except (BlobMissing, BlobDamaged):
            return ()
        if is_too_large(old, other, own) or any(map(is_binary, (old, other, own))):
            return ()
        others = diff_hunks(old, other)
        return tuple(
            Region(hunk.new_start + 1, hunk.new_count, hunk.old_start + 1, hunk.old_count)
            for hunk in diff_hunks(old, own)
            if any(h.old_start <= hunk.old_end and hunk.old_start <= h.old_end for h in others)
        )
