"""What becomes of one edit on what is below it: where it goes, and taken, merged or in conflict.

The rules are those of a three-way merge of trees (base, theirs = what the view holds so far,
yours = the overlay's), with renames known from the log instead of guessed from contents: an edit
follows a file that the other side renamed, and a new file follows a directory that the other
side renamed.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pwfs.model.entries import FileEntry
from pwfs.model.ids import ChangeId, Seq
from pwfs.model.paths import RepoPath, join, split
from pwfs.model.views import ConflictType
from pwfs.views.editor import Directory, Pending, TreeEditor
from pwfs.views.overlay import FileEdit, Overlay
from pwfs.views.resolution import (
    Clash,
    Merge,
    Merger,
    Renames,
    Resolution,
    Side,
    Taken,
    merge_files,
)


@dataclass(frozen=True, slots=True)
class Layer:
    """A change at a version (0: its draft) with its edits.

    ``revision`` is the edits' own, so that layers compare as different after an operation.
    """

    change_id: ChangeId
    version: int
    edits: Overlay
    revision: int


Placed = list[tuple[RepoPath, Resolution]]
"""Where an edit is seen, and as what; a file that is gone from there is `Taken` as None."""


class Below(Protocol):
    """What a layer is laid on."""

    tree: TreeEditor
    resolutions: dict[RepoPath, Resolution]
    sides: dict[RepoPath, Side]
    layer_renames: Renames
    """What the layers so far renamed."""


class Placing(ABC):
    """The rules. They look at what is below and at the layer's edits only.

    ``renames_since`` tells main's renames between a sequence number and the view's base.
    ``takes_yours`` lets a deletion win over what theirs made of the file (the policy
    ``last_write``).
    """

    def __init__(
        self,
        *,
        base_seq: Seq,
        renames_since: Callable[[Seq], Renames],
        merger: Merger,
        takes_yours: bool,
    ) -> None:
        self.base_seq = base_seq
        self.merger = merger
        self._moved_from: dict[RepoPath, RepoPath] = {}
        self._renames_since = renames_since
        self._takes_yours = takes_yours

    @property
    @abstractmethod
    def _below(self) -> Below:
        """What the layer is laid on."""

    @abstractmethod
    def _depends(self, edit: RepoPath, path: RepoPath) -> None:
        """Notes that an edit is to be placed again when what the layer makes of a path changes."""

    def _place(self, edit: FileEdit, layer: Layer) -> Placed:
        if edit.result is None:
            return self._delete(edit, layer)
        if edit.origin is not None:
            return self._rename(edit, edit.result, edit.origin, layer)
        if edit.moved_to is not None:
            return [(edit.path, Taken(edit.result))]
        theirs = self._file(edit.path)
        if theirs is None and edit.base is not None:
            return self._edit_of_missing(edit, edit.result, edit.base, layer)
        if theirs is None:
            return [(self._follow_directory(edit), Taken(edit.result))]
        return [
            (edit.path, self._three_way(edit, edit.path, edit.base, theirs, edit.result, layer))
        ]

    def _delete(self, edit: FileEdit, layer: Layer) -> Placed:
        theirs = self._file(edit.path)
        if edit.moved_to is not None:
            return [] if theirs is None else [(edit.path, Taken(None))]
        side = side_of(edit, layer)
        if theirs is not None:
            if theirs == edit.base:
                return [(edit.path, Taken(None))]
            clash = Clash(
                type=ConflictType.DELETE_MODIFY,
                base=edit.base,
                theirs=theirs,
                yours=None,
                shown=None if self._takes_yours else theirs,
                their_side=self._side_at(edit.path),
                your_side=side,
            )
            return [(edit.path, clash)]
        target = self._their_target(edit.path, edit.base_seq)
        moved = self._file(target) if target is not None else None
        if target is None or moved is None or edit.base is None:
            return []
        return [
            (
                target,
                Clash(
                    type=ConflictType.RENAME_DELETE,
                    base=edit.base,
                    theirs=moved,
                    yours=None,
                    shown=None if self._takes_yours else moved,
                    their_side=self._side_at(target),
                    your_side=side,
                ),
            )
        ]

    def _edit_of_missing(
        self, edit: FileEdit, result: FileEntry, base: FileEntry, layer: Layer
    ) -> Placed:
        """Yours edited a file that theirs deleted or renamed."""
        if result == base:
            return []
        target = self._their_target(edit.path, edit.base_seq)
        moved = self._file(target) if target is not None else None
        if target is not None and moved is not None:
            return [(target, self._three_way(edit, target, base, moved, result, layer))]
        clash = Clash(
            type=ConflictType.MODIFY_DELETE,
            base=base,
            theirs=None,
            yours=result,
            shown=result,
            their_side=self._side_at(edit.path),
            your_side=side_of(edit, layer),
        )
        return [(edit.path, clash)]

    def _rename(self, edit: FileEdit, result: FileEntry, origin: RepoPath, layer: Layer) -> Placed:
        path, side = edit.path, side_of(edit, layer)
        theirs = self._file(origin)
        their_path = origin
        type_ = None
        if theirs is None:
            target = self._their_target(origin, edit.base_seq)
            theirs = self._file(target) if target is not None else None
            if target is not None and theirs is not None:
                their_path = target
                type_ = None if target == path else ConflictType.RENAME_RENAME
            else:
                type_ = ConflictType.RENAME_DELETE
        at_target = self._file(path) if their_path != path else None
        is_taken = (
            at_target is not None
            and at_target not in (edit.replaced, result)
            and not layer.edits.goals(path)
        )
        if type_ is not None and at_target is not None and is_taken:
            there = self._side_at(path)
            type_ = ConflictType.RENAME_ADD
            return [(path, merge_files(type_, None, at_target, result, there, side))]
        if type_ is not None:
            clash = Clash(
                type=type_,
                base=edit.base,
                theirs=theirs,
                yours=result,
                shown=result,
                their_side=self._side_at(their_path),
                your_side=side,
            )
            return [(path, clash)]
        assert theirs is not None
        placed: Placed = []
        if their_path != origin:
            self._depends(path, their_path)
        if their_path != path and not layer.edits.writes(their_path):
            placed.append((their_path, Taken(None)))
        resolution = self._three_way(edit, their_path, edit.base, theirs, result, layer)
        if (
            at_target is not None
            and at_target != edit.replaced
            and not _same(resolution, at_target)
        ):
            settled = self._force(resolution)
            differs = settled is not None and settled != at_target
            if settled is not None and differs and not layer.edits.goals(path):
                resolution = merge_files(
                    ConflictType.RENAME_ADD, None, at_target, settled, self._side_at(path), side
                )
        placed.append((path, resolution))
        if their_path != path:
            self._moved_from[path] = their_path
        return placed

    def _three_way(
        self,
        edit: FileEdit,
        their_path: RepoPath,
        base: FileEntry | None,
        theirs: FileEntry,
        yours: FileEntry,
        layer: Layer,
    ) -> Resolution:
        if theirs in (base, yours):
            return Taken(yours)
        if yours == base:
            return Taken(theirs)
        type_ = ConflictType.CONTENT if base is not None else ConflictType.ADD_ADD
        return merge_files(
            type_, base, theirs, yours, self._side_at(their_path), side_of(edit, layer)
        )

    def _force(self, resolution: Resolution) -> FileEntry | None:
        if isinstance(resolution, Merge):
            return self.merger.settle(resolution).entry
        return resolution.entry if isinstance(resolution, Taken) else resolution.shown

    def _file(self, path: RepoPath) -> FileEntry | None:
        """The file below at a path, merged if need be; None for nothing or a directory."""
        found = self._below.tree.get(path)
        if isinstance(found, Pending):
            resolution = self._below.resolutions[path]
            assert isinstance(resolution, Merge)
            return self.merger.settle(resolution).entry
        return None if isinstance(found, Directory) else found

    def _side_at(self, path: RepoPath) -> Side:
        return self._below.sides.get(path) or Side(None, 0, self.base_seq)

    def _their_target(self, path: RepoPath, since: Seq) -> RepoPath | None:
        target = self._renames_since(since).target(path)
        return self._below.layer_renames.target(target or path) or target

    def _follow_directory(self, edit: FileEdit) -> RepoPath:
        """Where a new file goes: along with its directory, if theirs renamed that as a whole."""
        directory, name = split(edit.path)
        if not directory or self._below.tree.get(directory) is not None:
            return edit.path
        target = self._renames_since(edit.base_seq).directory_target(directory)
        target = self._below.layer_renames.directory_target(target or directory) or target
        return edit.path if target is None else join(target, name)


def side_of(edit: FileEdit, layer: Layer) -> Side:
    """Whose an edit is."""
    return Side(layer.change_id, layer.version, edit.seq)


def _same(resolution: Resolution, entry: FileEntry) -> bool:
    return isinstance(resolution, Taken) and resolution.entry == entry
