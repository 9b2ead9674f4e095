"""Lays a change's edits over what is below, file by file.

The rules are those of a three-way merge of trees (base, theirs = what the view holds so far,
yours = the overlay's), with renames known from the log instead of guessed from contents: an edit
follows a file that the other side renamed, and a new file follows a directory that the other
side renamed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from pwfs.model.entries import FileEntry
from pwfs.model.ids import ChangeId, Seq
from pwfs.model.paths import RepoPath, is_under, join, parents, split
from pwfs.model.views import ConflictType
from pwfs.views.editor import DIRECTORY, PENDING, Directory, Pending, TreeEditor
from pwfs.views.overlay import FileEdit, OverlayEdits
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
    edits: OverlayEdits
    revision: int


class Composition:
    """A view's tree while layers are laid on it.

    ``tree`` shows the result; files to be merged are pending in it and stand in ``resolutions``
    with everything else a layer decided. ``edit_at`` maps a path shown to the path of the edit it
    comes from, another one when a rename or a collision moved it; ``moved_from`` tells where a
    renamed file is below the layer. ``renames_since`` tells main's
    renames between a sequence number and this view's base. ``takes_yours`` lets a deletion win
    over what theirs made of the file (the policy ``last_write``).
    """

    def __init__(
        self,
        tree: TreeEditor,
        *,
        base_seq: Seq,
        renames_since: Callable[[Seq], Renames],
        merger: Merger,
        takes_yours: bool = False,
    ) -> None:
        self.tree = tree
        self._takes_yours = takes_yours
        self.base_seq = base_seq
        self.merger = merger
        self.resolutions: dict[RepoPath, Resolution] = {}
        self.edit_at: dict[RepoPath, RepoPath] = {}
        self.sides: dict[RepoPath, Side] = {}
        self.times: dict[RepoPath, datetime] = {}
        self.moved_from: dict[RepoPath, RepoPath] = {}
        self._shown_elsewhere: dict[RepoPath, set[RepoPath]] = {}
        self._has_collisions = False
        self._renames_since = renames_since
        self._layer_renames = Renames({}, {})
        self._below: Composition = self

    def add(self, layer: Layer, *, below: "Composition | None" = None) -> None:
        """Lays a change over what is there.

        ``below`` is the same composition without this layer, for callers that keep one so that
        `replace` can be used later.
        """
        self._below = below or self
        placed = self._place_all(layer, layer.edits.edits.values())
        self._move_newcomers(layer, placed)
        self._apply(placed, layer)
        for edit in layer.edits.edits.values():
            if edit.origin is not None and edit.result is not None:
                self._layer_renames.files[edit.origin] = edit.path
        self._layer_renames.directories.update(layer.edits.directory_moves)

    def move_base(self, base_seq: Seq, renames_since: Callable[[Seq], Renames]) -> None:
        """Stands on a later main, which the caller has seen to be the same for what was laid."""
        self.base_seq = base_seq
        self._renames_since = renames_since

    def replace(
        self, layer: Layer, paths: frozenset[RepoPath], *, below: "Composition"
    ) -> frozenset[RepoPath] | None:
        """Lays anew the edits at some paths of the topmost layer.

        Returns the paths that may show something else now, or None when only composing the view
        anew is sure to be right: this composition is not to be used any more then.
        """
        if layer.edits.directory_moves:
            return None
        stale = set(paths)
        for path in paths:
            elsewhere = self._shown_elsewhere.get(path, set())
            stale |= {shown for shown in elsewhere if self.edit_at.get(shown) == path}
        had_collisions = self._has_collisions
        if had_collisions or any(self._is_anothers(path, layer, paths) for path in stale):
            return None
        for path in stale:
            found = below.tree.get(path)
            if found is DIRECTORY or self.tree.get(path) is DIRECTORY:
                return None
            if found is not None and any(
                self.tree.get(above) not in (None, DIRECTORY) for above in parents(path)
            ):
                return None
        for path in paths:
            self._shown_elsewhere.pop(path, None)
        for path in stale:
            self.tree.remove(path)
            for known in (self.resolutions, self.edit_at, self.sides, self.times):
                known.pop(path, None)
            self.moved_from.pop(path, None)
        for path in stale:
            found = below.tree.get(path)
            if found is not None:
                assert not isinstance(found, Directory)
                self.tree.set(path, found)
            if path in below.resolutions:
                self.resolutions[path] = below.resolutions[path]
                self.edit_at[path] = below.edit_at[path]
                self.sides[path] = below.sides[path]
                self.times[path] = below.times[path]
        self._below = below
        edits = [edit for path in paths if (edit := layer.edits.edits.get(path)) is not None]
        placed = self._place_all(layer, edits)
        if self._has_collisions or any(self._is_anothers(path, layer, paths) for path in placed):
            return None
        self._apply(placed, layer)
        return frozenset(stale) | frozenset(placed)

    def _is_anothers(self, path: RepoPath, layer: Layer, paths: frozenset[RepoPath]) -> bool:
        """Whether a file shown comes from an edit of the layer that is not among ``paths``."""
        owner = self.edit_at.get(path)
        return (
            owner is not None
            and owner not in paths
            and self.sides[path].change_id == layer.change_id
            and self.resolutions[path] != Taken(None)
        )

    def shown_elsewhere(self, path: RepoPath) -> RepoPath | None:
        """Where the topmost layer's edit of a path is shown, if that is not there."""
        for shown in self._shown_elsewhere.get(path, ()):
            if self.edit_at.get(shown) == path and self.tree.get(shown) is not None:
                return shown
        return None

    def _place_all(
        self, layer: Layer, edits: Iterable[FileEdit]
    ) -> dict[RepoPath, tuple[FileEdit, Resolution]]:
        placed: dict[RepoPath, tuple[FileEdit, Resolution]] = {}
        for edit in edits:
            for path, resolution in self._place(edit, layer):
                if path in placed and resolution == Taken(None):
                    continue
                before = placed.get(path)
                placed[path] = (edit, resolution)
                if before is not None and before[1] != Taken(None):
                    self._set_aside(placed, path, before, layer)
        return placed

    def _set_aside(
        self,
        placed: dict[RepoPath, tuple[FileEdit, Resolution]],
        path: RepoPath,
        other: tuple[FileEdit, Resolution],
        layer: Layer,
    ) -> None:
        """Keeps both of two edits that came to one path, because theirs moved a file there."""
        self._has_collisions = True
        if other[0].path == path:
            other, placed[path] = placed[path], other
        edit, resolution = other
        aside = RepoPath(f"{path}~{layer.change_id}")
        while aside in placed or self._below.tree.get(aside) is not None:
            aside = RepoPath(f"{aside}~")
        clash = Clash(
            type=ConflictType.RENAME_ADD,
            base=edit.base,
            theirs=self._file(path),
            yours=edit.result,
            shown=self._force(resolution),
            their_side=self._side_at(path),
            your_side=_side(edit, layer),
        )
        placed[aside] = (edit, clash)

    def _apply(self, placed: dict[RepoPath, tuple[FileEdit, Resolution]], layer: Layer) -> None:
        for path, (_, resolution) in placed.items():
            if _shown(resolution) is None:
                self.tree.remove(path)
        for path, (edit, resolution) in placed.items():
            self._show(path, edit, resolution, layer)

    def _show(self, path: RepoPath, edit: FileEdit, resolution: Resolution, layer: Layer) -> None:
        shown = _shown(resolution)
        if shown is not None:
            spot = self._free_spot(path, layer.change_id)
            if spot != path:
                resolution = Clash(
                    type=ConflictType.FILE_DIRECTORY,
                    base=edit.base,
                    theirs=None,
                    yours=edit.result,
                    shown=edit.result,
                    their_side=self._side_near(path),
                    your_side=_side(edit, layer),
                )
                shown = edit.result
                path = spot
            if shown is not None:
                self.tree.set(path, shown)
        self.resolutions[path] = resolution
        self.edit_at[path] = edit.path
        if path != edit.path:
            self._shown_elsewhere.setdefault(edit.path, set()).add(path)
        self.sides[path] = _side(edit, layer)
        self.times[path] = edit.timestamp

    def _free_spot(self, path: RepoPath, change_id: ChangeId) -> RepoPath:
        """Finds where a file can stand: not on a directory, not below a file."""
        names = path.split("/")
        for length in range(1, len(names) + 1):
            prefix = RepoPath("/".join(names[:length]))
            found = self.tree.get(prefix)
            is_last = length == len(names)
            blocked = found is DIRECTORY if is_last else found not in (None, DIRECTORY)
            if blocked:
                aside = RepoPath("/".join([f"{prefix}~{change_id}", *names[length:]]))
                return self._free_spot(aside, change_id)
        return path

    def _place(self, edit: FileEdit, layer: Layer) -> list[tuple[RepoPath, Resolution]]:
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

    def _delete(self, edit: FileEdit, layer: Layer) -> list[tuple[RepoPath, Resolution]]:
        theirs = self._file(edit.path)
        if edit.moved_to is not None:
            return [] if theirs is None else [(edit.path, Taken(None))]
        side = _side(edit, layer)
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
    ) -> list[tuple[RepoPath, Resolution]]:
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
            your_side=_side(edit, layer),
        )
        return [(edit.path, clash)]

    def _rename(
        self, edit: FileEdit, result: FileEntry, origin: RepoPath, layer: Layer
    ) -> list[tuple[RepoPath, Resolution]]:
        path, side = edit.path, _side(edit, layer)
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
            and not self._moves_away(layer, path)
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
        placed: list[tuple[RepoPath, Resolution]] = []
        if their_path != path and not self._is_written(layer, their_path):
            placed.append((their_path, Taken(None)))
        resolution = self._three_way(edit, their_path, edit.base, theirs, result, layer)
        if (
            at_target is not None
            and at_target != edit.replaced
            and not _same(resolution, at_target)
        ):
            settled = self._force(resolution)
            differs = settled is not None and settled != at_target
            if settled is not None and differs and not self._moves_away(layer, path):
                resolution = merge_files(
                    ConflictType.RENAME_ADD, None, at_target, settled, self._side_at(path), side
                )
        placed.append((path, resolution))
        if their_path != path:
            self.moved_from[path] = their_path
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
            type_, base, theirs, yours, self._side_at(their_path), _side(edit, layer)
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

    def _side_near(self, path: RepoPath) -> Side:
        """Whose file stands above a path, or whose files stand below it."""
        sides = self._below.sides
        for near in (path, *parents(path)):
            if near in sides:
                return sides[near]
        return next((sides[p] for p in sides if is_under(p, path)), self._side_at(path))

    def _their_target(self, path: RepoPath, since: Seq) -> RepoPath | None:
        target = self._renames_since(since).target(path)
        return self._below._layer_renames.target(target or path) or target

    def _follow_directory(self, edit: FileEdit) -> RepoPath:
        """Where a new file goes: along with its directory, if theirs renamed that as a whole."""
        directory, name = split(edit.path)
        if not directory or self._below.tree.get(directory) is not None:
            return edit.path
        target = self._renames_since(edit.base_seq).directory_target(directory)
        target = self._below._layer_renames.directory_target(target or directory) or target
        return edit.path if target is None else join(target, name)

    def _move_newcomers(
        self, layer: Layer, placed: dict[RepoPath, tuple[FileEdit, Resolution]]
    ) -> None:
        """Files that theirs added to a directory which yours renamed as a whole go along."""
        for source, target in layer.edits.directory_moves.items():
            if self._below.tree.get(source) is not DIRECTORY or self._lives_in(layer, source):
                continue
            moved_at = _when(layer, source)
            if moved_at is None:
                # It held the layer's own files only; theirs is another directory of that name.
                continue
            for path, leaf in list(self._below.tree.files(source)):
                goal = RepoPath(target + path[len(source) :])
                if path in placed or path in layer.edits.edits or goal in placed:
                    continue
                entry = self._file(path) if leaf is PENDING else leaf
                assert isinstance(entry, FileEntry)
                edit = FileEdit(goal, Seq(0), moved_at, entry, self.base_seq, entry, origin=path)
                placed[path] = (edit, Taken(None))
                placed[goal] = (edit, Taken(entry))
                self.moved_from[goal] = path

    def _lives_in(self, layer: Layer, directory: RepoPath) -> bool:
        """Whether the layer itself keeps files in a directory (then it was not moved whole)."""
        return any(
            is_under(edit.path, directory)
            for edit in layer.edits.edits.values()
            if edit.result is not None
        )

    def _is_written(self, layer: Layer, path: RepoPath) -> bool:
        edit = layer.edits.edits.get(path)
        return edit is not None and edit.result is not None

    def _moves_away(self, layer: Layer, path: RepoPath) -> bool:
        """Whether the layer moves what is below at a path elsewhere."""
        return any(edit.origin == path for edit in layer.edits.edits.values())


def _side(edit: FileEdit, layer: Layer) -> Side:
    return Side(layer.change_id, layer.version, edit.seq)


def _shown(resolution: Resolution) -> FileEntry | Pending | None:
    if isinstance(resolution, Merge):
        return PENDING
    return resolution.entry if isinstance(resolution, Taken) else resolution.shown


def _same(resolution: Resolution, entry: FileEntry) -> bool:
    return isinstance(resolution, Taken) and resolution.entry == entry


def _when(layer: Layer, directory: RepoPath) -> datetime | None:
    """When a layer last did something to what is below in a directory; None if it never did."""
    edits = layer.edits.edits.values()
    return max((e.timestamp for e in edits if is_under(e.source, directory)), default=None)
