"""A change's operations folded into one edit per file: what the change does, seen from below.

A rename keeps the file's origin, so that what happens to the origin below the change still
reaches the renamed file.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from pwfs.model.entries import FileEntry
from pwfs.model.ids import SEQ_ZERO, Seq
from pwfs.model.ops import Op, OpType
from pwfs.model.paths import RepoPath
from pwfs.views.tally import Tally


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


@dataclass(frozen=True, slots=True)
class DirectoryMove:
    """A directory that a change moved as a whole: where it is now, and since when."""

    target: RepoPath
    moved_at: datetime


class Overlay(Protocol):
    """What a view has to know of a change's edits.

    ``edits`` are by path, ``directory_moves`` by the path from which a directory was moved.
    """

    @property
    def revision(self) -> int:
        """Another one after each operation."""

    @property
    def edits(self) -> Mapping[RepoPath, FileEdit]:
        """What the change makes of each path that it knows."""

    @property
    def directory_moves(self) -> Mapping[RepoPath, DirectoryMove]:
        """The directories that the change moved as a whole, by their old paths."""

    @property
    def moved_sources(self) -> Sequence[RepoPath]:
        """The old paths of which the move is another, or gone, one after the other.

        It only grows: a follower goes on where it was.
        """

    def moved_into(self, target: RepoPath) -> Iterable[RepoPath]:
        """The old paths of the directories that were moved to a path."""

    def knows(self, path: RepoPath) -> bool:
        """Whether the change makes anything of a path."""

    def writes(self, path: RepoPath) -> bool:
        """Whether the change has a file at a path."""

    def goals(self, path: RepoPath) -> Collection[RepoPath]:
        """Where the change moves what is below at a path."""

    def has_edits_in(self, directory: RepoPath) -> bool:
        """Whether the change makes anything of a path in a directory, or further down."""

    def has_files_in(self, directory: RepoPath) -> bool:
        """Whether the change has a file of its own in a directory, or further down."""

    def starts_in(self, directory: RepoPath) -> bool:
        """Whether an edit starts from a path in a directory, or further down."""

    @property
    def wanted(self) -> frozenset[RepoPath] | None:
        """The only paths that somebody wants to know of; None: all."""


class OverlayEdits:
    """The edits of one change (`Overlay`), kept current by applying its operations in order.

    What a view has to know of a directory's edits is counted as they change, so that asking costs
    the same however many there are.
    """

    def __init__(self, ops: Iterable[Op] = ()) -> None:
        self.revision = 0
        self.moved_sources: list[RepoPath] = []
        self._edits: dict[RepoPath, FileEdit] = {}
        self._moves: dict[RepoPath, DirectoryMove] = {}
        self._moved_into: dict[RepoPath, set[RepoPath]] = {}
        self._tally = Tally()
        for op in ops:
            self.apply(op)

    @property
    def edits(self) -> Mapping[RepoPath, FileEdit]:
        return self._edits

    @property
    def directory_moves(self) -> Mapping[RepoPath, DirectoryMove]:
        return self._moves

    def moved_into(self, target: RepoPath) -> Iterable[RepoPath]:
        return self._moved_into.get(target, ())

    def knows(self, path: RepoPath) -> bool:
        return path in self._edits

    def writes(self, path: RepoPath) -> bool:
        edit = self._edits.get(path)
        return edit is not None and edit.result is not None

    def goals(self, path: RepoPath) -> Collection[RepoPath]:
        return self._tally.goals(path)

    def has_edits_in(self, directory: RepoPath) -> bool:
        return self._tally.edits_in(directory) > 0

    def has_files_in(self, directory: RepoPath) -> bool:
        return self._tally.files_in(directory) > 0

    def starts_in(self, directory: RepoPath) -> bool:
        return self._tally.sources_in(directory) > 0

    @property
    def wanted(self) -> frozenset[RepoPath] | None:
        return None

    def _put(self, edit: FileEdit) -> None:
        before = self._edits.get(edit.path)
        if before is not None:
            self._tally.take(before.path, before.origin, is_file=before.result is not None)
        self._edits[edit.path] = edit
        self._tally.add(edit.path, edit.origin, is_file=edit.result is not None)

    def _take(self, path: RepoPath) -> FileEdit | None:
        before = self._edits.pop(path, None)
        if before is not None:
            self._tally.take(before.path, before.origin, is_file=before.result is not None)
        return before

    def _move_directory(self, source: RepoPath, target: RepoPath, moved_at: datetime) -> None:
        for gone in [target, *self._moved_into.get(source, ())]:
            self._drop_move(gone)
        if source != target:
            self._drop_move(source)
            self._moves[source] = DirectoryMove(target, moved_at)
            self._moved_into.setdefault(target, set()).add(source)
            self.moved_sources.append(source)

    def _drop_move(self, source: RepoPath) -> None:
        move = self._moves.pop(source, None)
        if move is None:
            return
        self.moved_sources.append(source)
        into = self._moved_into[move.target]
        into.discard(source)
        if not into:
            del self._moved_into[move.target]

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
        before = self._edits.get(op.path)
        origin = before.origin if before and before.result else None
        replaced = before.replaced if before and before.result else None
        moved_to = before.moved_to if before else None
        self._put(replace(_edit(op, op.path), origin=origin, replaced=replaced, moved_to=moved_to))
        touched = {op.path}
        if op.op_type is OpType.MODIFY and op.new.old_path is not None:
            # A save through a temporary file: its content moved here, the file is gone.
            self._take(op.new.old_path)
            touched.add(op.new.old_path)
        return frozenset(touched)

    def _delete(self, op: Op) -> frozenset[RepoPath]:
        before = self._take(op.path)
        touched = {op.path}
        if before is not None and before.origin is not None:
            self._stays_deleted(before.origin, op)
            touched.add(before.origin)
        if before is not None and before.moved_to is not None:
            self._put(_left_free(before, op))
        elif before is not None and before.origin is not None:
            if before.replaced is not None:
                self._put(replace(_edit(op, op.path), base=before.replaced))
        elif op.new.base is not None:
            self._put(_edit(op, op.path))
        return frozenset(touched)

    def _stays_deleted(self, origin: RepoPath, op: Op) -> None:
        left = self._edits.get(origin)
        if left is not None:
            self._put(replace(left, moved_to=None, seq=op.id))

    def _rename(self, op: Op) -> frozenset[RepoPath]:
        old = op.new.old_path
        assert old is not None
        if op.new.directory_rename is not None:
            self._move_directory(*op.new.directory_rename, op.timestamp)
        before = self._take(old)
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
            self._put(_left_free(before, op))
        elif before is not None and before.replaced is not None:
            self._put(replace(_edit(op, old), result=None, base=before.replaced))
        over = self._take(op.path)
        if over is not None and over.origin is not None and over.origin != origin:
            # What stood here had itself been moved from elsewhere: there it is deleted for good.
            self._stays_deleted(over.origin, op)
            touched.add(over.origin)
        if origin == op.path:
            # Back where it came from: an edit in place again.
            self._put(replace(_edit(op, op.path), replaced=None))
            return frozenset(touched)
        at_origin = self._edits.get(origin) if origin is not None else None
        if origin is not None and (at_origin is None or at_origin.result is None):
            self._put(
                FileEdit(
                    path=origin,
                    seq=op.id,
                    timestamp=op.timestamp,
                    base=op.new.base,
                    base_seq=op.new.base_seq,
                    result=None,
                    moved_to=op.path,
                )
            )
            touched.add(origin)
        moved = replace(
            _edit(op, op.path), origin=origin, moved_to=over.moved_to if over is not None else None
        )
        if origin is None:
            # A new file, put in the place of what stood below at the target.
            moved = replace(moved, base=op.new.replaced, replaced=None)
        self._put(moved)
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
