"""After a power failure: finds operations whose content did not reach the disk, and makes it good.

A file that was closed but never fsynced is in the log at once, on disk later. The machine may die
when the kernel has written the log's pages by itself and not yet the content's. The operation then
names bytes that are nowhere. It stays in the log, and an operation marked ``recovered`` puts back
what the file was before, so that every file shown can be read.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from pwfs.model.changes import Change
from pwfs.model.entries import FileEntry
from pwfs.model.errors import BlobDamaged, BlobMissing
from pwfs.model.events import EventType
from pwfs.model.ids import BlobHash, ChangeId, Seq
from pwfs.model.ops import NewOp, Op, OpType
from pwfs.model.paths import RepoPath
from pwfs.repo.core import Core
from pwfs.store.protocols import BlobStore
from pwfs.views.overlay import FileEdit
from pwfs.views.trees import diff_trees

_OPS_PAGE = 1_000
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Loss:
    """An operation whose content is gone.

    ``restored`` is the operation that made it good, None where a later one had replaced the
    content anyway or the change is finished. ``now`` is what it put back (None: the file is gone).
    """

    change_id: ChangeId
    path: RepoPath
    seq: Seq
    blob: BlobHash
    restored: Seq | None = None
    now: FileEntry | None = None


class _Contents:
    """Which contents are whole; each is read once."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._whole: dict[BlobHash, bool] = {}

    def has(self, blob: BlobHash) -> bool:
        known = self._whole.get(blob)
        if known is None:
            try:
                self._blobs.verify(blob)
                known = True
            except (BlobMissing, BlobDamaged):
                known = False
            self._whole[blob] = known
        return known


def make_good(repo: Core, since: Seq) -> list[Loss]:
    """Checks the contents of what was logged after ``since``; restores files that lost theirs."""
    contents = _Contents(repo.blobs)
    lost = [
        op
        for op in _ops_after(repo, since)
        if op.content_hash is not None and not contents.has(op.content_hash)
    ]
    losses: list[Loss] = []
    if lost:
        with repo.transaction():
            restored = {
                loss.seq: loss
                for change_id in dict.fromkeys(op.change_id for op in lost)
                for loss in _restore(repo, repo.change(change_id), contents)
            }
            for op in lost:
                loss = restored.pop(op.id, None) or _loss(op)
                losses.append(loss)
                _publish(repo, loss)
            for loss in restored.values():
                losses.append(loss)
                _publish(repo, loss)
    for loss in losses:
        _say(loss)
    _check_main(repo, since, contents)
    return losses


def _ops_after(repo: Core, since: Seq) -> Iterator[Op]:
    while ops := repo.log.ops(since=since, limit=_OPS_PAGE):
        yield from ops
        since = ops[-1].id


def _loss(op: Op) -> Loss:
    assert op.content_hash is not None
    return Loss(op.change_id, op.path, op.id, op.content_hash)


def _restore(repo: Core, change: Change, contents: _Contents) -> list[Loss]:
    """Puts back what a change's files were, where their newest content is lost."""
    if change.status.is_final:
        # Freezing a version and landing sync contents first: this is not for want of an fsync.
        return []
    lost = [
        edit
        for edit in repo.edits(change).edits.values()
        if edit.result is not None and not contents.has(edit.result.content_hash)
    ]
    return [_restore_one(repo, change, edit, contents) for edit in lost]


def _restore_one(repo: Core, change: Change, edit: FileEdit, contents: _Contents) -> Loss:
    assert edit.result is not None
    before = _before(repo, change.id, edit, contents)
    op = repo.log.op(edit.seq)
    assert op is not None
    (recovered,) = repo.append(
        change,
        op.agent_id,
        [
            NewOp(
                op_type=OpType.DELETE if before is None else OpType.MODIFY,
                path=edit.path,
                entry=before,
                base=edit.base,
                base_seq=edit.base_seq,
                recovered=True,
            )
        ],
    )
    blob = edit.result.content_hash
    return Loss(change.id, edit.path, edit.seq, blob, recovered.id, before)


def _publish(repo: Core, loss: Loss) -> None:
    repo.publish(
        EventType.CONTENT_LOST,
        change_id=loss.change_id,
        path=loss.path,
        seq=loss.seq,
        content_hash=loss.blob,
        restored_seq=loss.restored,
        restored_hash=loss.now.content_hash if loss.now is not None else None,
    )


def _say(loss: Loss) -> None:
    if loss.restored is None:
        fate = "a later operation had replaced it"
    elif loss.now is None:
        fate = "the file was new and is gone"
    else:
        fate = "the file is what it was before"
    _log.warning(
        f"a content that was not fsynced is lost in a power failure; {fate}",
        change=loss.change_id,
        path=loss.path,
        operation=loss.seq,
        blob=loss.blob,
        restored_by=loss.restored,
    )


def _before(
    repo: Core, change_id: ChangeId, edit: FileEdit, contents: _Contents
) -> FileEntry | None:
    """The newest whole content that the file had, None if there was no file."""
    path, until = edit.path, edit.seq
    while True:
        moved_from: tuple[RepoPath, Seq] | None = None
        for op in repo.log.ops(change_id=change_id, path=path, until=until, newest_first=True):
            if op.path != path or op.new.entry is None:
                return None  # moved away, or deleted, before it was written anew
            if contents.has(op.new.entry.content_hash):
                return op.new.entry
            if op.op_type is OpType.RENAME and op.new.old_path is not None:
                moved_from = op.new.old_path, Seq(op.id - 1)
                break
        if moved_from is None:
            break
        path, until = moved_from
    if edit.base is not None and contents.has(edit.base.content_hash):
        return edit.base
    return None


def _check_main(repo: Core, since: Seq, contents: _Contents) -> None:
    """Says what main lost, which nothing here can bring back."""
    for landing in repo.log.landings(since):
        _, before = repo.main_at(landing.previous_seq)
        for difference in diff_trees(repo.trees, before, landing.root):
            entry = difference.new
            if entry is not None and not contents.has(entry.content_hash):
                _log.error(
                    "a content in main is lost",
                    landing=landing.seq,
                    path=difference.path,
                    blob=entry.content_hash,
                )
