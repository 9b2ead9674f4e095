"""A change's operations folded into one edit per file: what the change does, seen from below.

A rename keeps the file's origin, so that what happens to the origin below the change still
reaches the renamed file.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from pwfs.model.entries import FileEntry
from pwfs.model.ids import SEQ_ZERO, Seq
from pwfs.model.ops import Op, OpType
from pwfs.model.paths import RepoPath


@dataclass(frozen=True, slots=True)
class FileEdit:
    """What a change makes of one path.

    ``base`` is what stood below at ``origin or path`` when the edit was last written, ``base_seq``
    main's position then, ``result`` what it is now (None: deleted). ``origin`` names the path
    below from which the file was moved here; ``moved_to`` says that what stood below at ``path``
    was moved away by the change, so that this is a deletion, or another file, in the place that it
    left. ``replaced`` stood below at a move's target.
    """

    path: RepoPath
    seq: Seq
    timestamp: datetime
    base: FileEntry | None
    base_seq: Seq
    result: FileEntry | None
    origin: RepoPath | None = None
    moved_to: RepoPath | None = None
    replaced: FileEntry | None = None

    @property
    def source(self) -> RepoPath:
        """The path below that this edit starts from."""
        return self.origin or self.path


class OverlayEdits:
    """The edits of one change, kept current by applying its operations in order."""

    def __init__(self, ops: Iterable[Op] = ()) -> None:
        self.edits: dict[RepoPath, FileEdit] = {}
        self.directory_moves: dict[RepoPath, RepoPath] = {}
        self.revision = 0
        for op in ops:
            self.apply(op)

    def apply(self, op: Op) -> frozenset[RepoPath]:
        """Folds one more operation in and returns the paths whose edit is another now."""
        self.revision += 1
        match op.op_type:
            case OpType.CREATE | OpType.MODIFY | OpType.COPY:
                return self._write(op)
            case OpType.DELETE:
                return self._delete(op)
            case OpType.RENAME:
                return self._rename(op)

    def _write(self, op: Op) -> frozenset[RepoPath]:
        before = self.edits.get(op.path)
        origin = before.origin if before and before.result else None
        replaced = before.replaced if before and before.result else None
        moved_to = before.moved_to if before else None
        self.edits[op.path] = replace(
            _edit(op, op.path), origin=origin, replaced=replaced, moved_to=moved_to
        )
        touched = {op.path}
        if op.op_type is OpType.MODIFY and op.new.old_path is not None:
            # A save through a temporary file: its content moved here, the file is gone.
            self.edits.pop(op.new.old_path, None)
            touched.add(op.new.old_path)
        return frozenset(touched)

    def _delete(self, op: Op) -> frozenset[RepoPath]:
        before = self.edits.pop(op.path, None)
        touched = {op.path}
        if before is not None and before.origin is not None:
            self._stays_deleted(before.origin, op)
            touched.add(before.origin)
        if before is not None and before.moved_to is not None:
            self.edits[op.path] = _left_free(before, op)
        elif before is not None and before.origin is not None:
            if before.replaced is not None:
                self.edits[op.path] = replace(_edit(op, op.path), base=before.replaced)
        elif op.new.base is not None:
            self.edits[op.path] = _edit(op, op.path)
        return frozenset(touched)

    def _stays_deleted(self, origin: RepoPath, op: Op) -> None:
        left = self.edits.get(origin)
        if left is not None:
            self.edits[origin] = replace(left, moved_to=None, seq=op.id)

    def _rename(self, op: Op) -> frozenset[RepoPath]:
        old = op.new.old_path
        assert old is not None
        if op.new.directory_rename is not None:
            source, target = op.new.directory_rename
            self.directory_moves = {
                a: b for a, b in self.directory_moves.items() if a != target and b != source
            }
            if source != target:
                self.directory_moves[source] = target
        before = self.edits.pop(old, None)
        touched = {old, op.path}
        if op.new.base is None:
            # Nothing below is moved by this: the file is the change's own, or main moved it.
            origin: RepoPath | None = None
        elif before is None:
            origin = old
        elif before.origin is not None:
            origin = before.origin
        else:
            origin = old if before.base is not None and before.moved_to is None else None
        if before is not None and before.moved_to is not None:
            self.edits[old] = _left_free(before, op)
        elif before is not None and before.replaced is not None:
            self.edits[old] = replace(_edit(op, old), result=None, base=before.replaced)
        over = self.edits.pop(op.path, None)
        if over is not None and over.origin is not None and over.origin != origin:
            # What stood here had itself been moved from elsewhere: there it is deleted for good.
            self._stays_deleted(over.origin, op)
            touched.add(over.origin)
        if origin == op.path:
            # Back where it came from: an edit in place again.
            self.edits[op.path] = replace(_edit(op, op.path), replaced=None)
            return frozenset(touched)
        at_origin = self.edits.get(origin) if origin is not None else None
        if origin is not None and (at_origin is None or at_origin.result is None):
            self.edits[origin] = FileEdit(
                path=origin,
                seq=op.id,
                timestamp=op.timestamp,
                base=op.new.base,
                base_seq=op.new.base_seq,
                result=None,
                moved_to=op.path,
            )
            touched.add(origin)
        moved = replace(
            _edit(op, op.path), origin=origin, moved_to=over.moved_to if over is not None else None
        )
        if origin is None:
            # A new file, put in the place of what stood below at the target.
            moved = replace(moved, base=op.new.replaced, replaced=None)
        self.edits[op.path] = moved
        return frozenset(touched)


def _left_free(edit: FileEdit, op: Op) -> FileEdit:
    """A name that is free again after an edit in the place of a file moved away."""
    base = edit.base if edit.origin is None else edit.replaced
    free = replace(_edit(op, edit.path), result=None, base=base, replaced=None)
    return replace(free, moved_to=edit.moved_to)


def _edit(op: Op, path: RepoPath) -> FileEdit:
    return FileEdit(
        path=path,
        seq=op.id,
        timestamp=op.timestamp,
        base=op.new.base,
        base_seq=op.new.base_seq or SEQ_ZERO,
        result=op.new.entry,
        replaced=op.new.replaced,
    )
