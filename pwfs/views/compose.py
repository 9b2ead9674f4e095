"""Lays a change's edits over what is below, file by file (`pwfs.views.placing` has the rules)."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from pwfs.model.entries import FileEntry
from pwfs.model.ids import SEQ_ZERO, ChangeId, Seq
from pwfs.model.paths import RepoPath, is_under, parents
from pwfs.model.views import ConflictType
from pwfs.views.editor import DIRECTORY, PENDING, Directory, Pending, TreeEditor
from pwfs.views.newcomers import Newcomers
from pwfs.views.overlay import FileEdit
from pwfs.views.placing import Layer, Placing, side_of
from pwfs.views.resolution import Clash, Merge, Merger, Renames, Resolution, Side, Taken

__all__ = ["Composition", "Layer"]


class Composition(Placing):
    """A view's tree while layers are laid on it.

    ``tree`` shows the result; files to be merged are pending in it and stand in ``resolutions``
    with everything else a layer decided. ``edit_at`` maps a path shown to the path of the edit it
    comes from, another one when a rename or a collision moved it.
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
        super().__init__(
            base_seq=base_seq, renames_since=renames_since, merger=merger, takes_yours=takes_yours
        )
        self.tree = tree
        self.resolutions: dict[RepoPath, Resolution] = {}
        self.edit_at: dict[RepoPath, RepoPath] = {}
        self.sides: dict[RepoPath, Side] = {}
        self.times: dict[RepoPath, datetime] = {}
        self.layer_renames = Renames({}, {})
        self._elsewhere: dict[RepoPath, set[RepoPath]] = {}
        """Where else than at its path an edit may be seen, or what else it depends on."""
        self._from_elsewhere: dict[RepoPath, set[RepoPath]] = {}
        """The same the other way round."""
        self._newcomers: Newcomers | None = None
        self._along: dict[RepoPath, RepoPath] = {}
        """Both names of each file that goes along with a directory, and where it is below."""
        self._aside: set[RepoPath] = set()
        """Where files stand for which there was no room where they belong."""
        self._lower: Composition | None = None

    @property
    def _below(self) -> "Composition":
        # Not a reference to itself: compositions come and go with every save, and what refers to
        # itself stays until the garbage collector looks at everything.
        return self._lower or self

    def add(self, layer: Layer, *, below: "Composition | None" = None) -> None:
        """Lays a change over what is there.

        ``below`` is the same composition without this layer, for callers that keep one so that
        `replace` can be used later.
        """
        self._lower = below
        self._newcomers = Newcomers(layer.edits)
        self._moved_from = {}
        self._elsewhere, self._from_elsewhere, self._along = {}, {}, {}
        placed = self._place_all(layer, layer.edits.edits.values())
        along = self._newcomers.decide(self._below.tree, placed.__contains__)
        self._apply(placed, along, layer)
        for edit in layer.edits.edits.values():
            if edit.origin is not None and edit.result is not None:
                self.layer_renames.files[edit.origin] = edit.path
        for source, move in layer.edits.directory_moves.items():
            self.layer_renames.directories[source] = move.target

    @property
    def moved_from(self) -> Mapping[RepoPath, RepoPath]:
        """Where the files that the topmost layers moved are below these, by where they are now."""
        along = {goal: path for goal, path in self._along.items() if goal != path}
        return {**self._moved_from, **along}

    def move_base(self, base_seq: Seq, renames_since: Callable[[Seq], Renames]) -> None:
        """Stands on a later main, which the caller has seen to be the same for what was laid."""
        self.base_seq = base_seq
        self._renames_since = renames_since

    def replace(
        self, layer: Layer, paths: frozenset[RepoPath], *, below: "Composition"
    ) -> frozenset[RepoPath] | None:
        """Lays anew the edits at some paths of the topmost layer, as `add` would with all of them.

        Takes time proportional to what these edits concern. Returns the paths that may show
        something else now, or None when only composing the view anew is sure to be right, as where
        a file and a directory meet: this composition is not to be used any more then.
        """
        assert self._newcomers is not None, "a layer was laid"
        if self._aside:
            return None
        self._lower = below
        placed, stale = self._place_again(layer, paths)

        def is_placed(path: RepoPath) -> bool:
            return path in placed or (path not in stale and self._is_edited(path, layer))

        returned, along = self._newcomers.follow(below.tree, stale, is_placed)
        stale |= placed.keys() | returned | along.keys() | set(along.values())
        if self._aside or any(self._meets_directory(path) for path in stale):
            return None
        for path in stale:
            self._clear(path)
        for path in stale:
            self._restore(path)
        self._apply(placed, along, layer)
        return None if self._aside else frozenset(stale)

    def _place_again(
        self, layer: Layer, paths: Iterable[RepoPath]
    ) -> tuple[dict[RepoPath, tuple[FileEdit, Resolution]], set[RepoPath]]:
        """Places edits, and all others that are seen where these were or are now.

        Returns what is placed, and every path at which one of them was or is seen.
        """
        again, stale = set(paths), set(paths)
        pending = list(again)
        placed: dict[RepoPath, tuple[FileEdit, Resolution]] = {}
        while pending:
            path = pending.pop()
            spots = self._elsewhere.pop(path, set())
            for spot in spots:
                self._from_elsewhere[spot].discard(path)
            self._moved_from.pop(path, None)
            edit = layer.edits.edits.get(path)
            if edit is not None:
                self._place_one(placed, edit, layer)
            spots = {path} | spots | self._elsewhere.get(path, set())
            stale |= spots
            for spot in spots:
                for other in (spot, *self._from_elsewhere.get(spot, ())):
                    if other not in again and layer.edits.knows(other):
                        again.add(other)
                        pending.append(other)
        return placed, stale

    def _is_edited(self, path: RepoPath, layer: Layer) -> bool:
        """Whether an edit of the topmost layer decides what is at a path."""
        side = self.sides.get(path)
        return side is not None and side.change_id == layer.change_id and path not in self._along

    def _meets_directory(self, path: RepoPath) -> bool:
        """Whether a file and a directory meet at a path: what is there depends on others, too."""
        found = self._below.tree.get(path)
        if found is DIRECTORY or self.tree.get(path) is DIRECTORY:
            return True
        if found is not None:
            for above in parents(path):
                there = self.tree.get(above)
                if there is not None:
                    return there is not DIRECTORY
        return False

    def _clear(self, path: RepoPath) -> None:
        self.tree.remove(path)
        for known in (self.resolutions, self.edit_at, self.sides, self.times):
            known.pop(path, None)
        self._along.pop(path, None)

    def _restore(self, path: RepoPath) -> None:
        """Shows what is below at a path."""
        below = self._below
        found = below.tree.get(path)
        if found is not None:
            assert not isinstance(found, Directory)
            self.tree.set(path, found)
        if path in below.resolutions:
            self.resolutions[path] = below.resolutions[path]
            self.edit_at[path] = below.edit_at[path]
            self.sides[path] = below.sides[path]
            self.times[path] = below.times[path]

    def shown_elsewhere(self, path: RepoPath) -> RepoPath | None:
        """Where the topmost layer's edit of a path is shown, if that is not there."""
        for shown in self._elsewhere.get(path, ()):
            if self.edit_at.get(shown) == path and self.tree.get(shown) is not None:
                return shown
        return None

    def _depends(self, edit: RepoPath, path: RepoPath) -> None:
        if path != edit:
            self._elsewhere.setdefault(edit, set()).add(path)
            self._from_elsewhere.setdefault(path, set()).add(edit)

    def _place_all(
        self, layer: Layer, edits: Iterable[FileEdit]
    ) -> dict[RepoPath, tuple[FileEdit, Resolution]]:
        placed: dict[RepoPath, tuple[FileEdit, Resolution]] = {}
        for edit in edits:
            self._place_one(placed, edit, layer)
        return placed

    def _place_one(
        self, placed: dict[RepoPath, tuple[FileEdit, Resolution]], edit: FileEdit, layer: Layer
    ) -> None:
        for path, resolution in self._place(edit, layer):
            self._depends(edit.path, path)
            if path in placed and resolution == Taken(None):
                continue
            before = placed.get(path)
            placed[path] = (edit, resolution)
            if before is not None and before[1] != Taken(None):
                self._set_aside(placed, path, before, layer)

    def _set_aside(
        self,
        placed: dict[RepoPath, tuple[FileEdit, Resolution]],
        path: RepoPath,
        other: tuple[FileEdit, Resolution],
        layer: Layer,
    ) -> None:
        """Keeps both of two edits that came to one path, because theirs moved a file there."""
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
            your_side=side_of(edit, layer),
        )
        placed[aside] = (edit, clash)
        self._aside.add(aside)
        self._depends(edit.path, aside)

    def _apply(
        self,
        placed: dict[RepoPath, tuple[FileEdit, Resolution]],
        along: dict[RepoPath, RepoPath],
        layer: Layer,
    ) -> None:
        """Shows edits, and the files that go ``along`` with directories, by where they are below."""
        for path, goal in along.items():
            edit = self._going_along(path, goal)
            placed[path] = (edit, Taken(None))
            placed[goal] = (edit, Taken(edit.result))
            self._along[path] = self._along[goal] = path
        for path, (_, resolution) in placed.items():
            if _shown(resolution) is None:
                self.tree.remove(path)
        for path, (edit, resolution) in placed.items():
            self._show(path, edit, resolution, layer)

    def _going_along(self, path: RepoPath, goal: RepoPath) -> FileEdit:
        assert self._newcomers is not None
        moved_at = self._newcomers.moved_at(path)
        entry = self._file(path)
        return FileEdit(goal, SEQ_ZERO, moved_at, entry, self.base_seq, entry, origin=path)

    def _show(self, path: RepoPath, edit: FileEdit, resolution: Resolution, layer: Layer) -> None:
        shown = _shown(resolution)
        if shown is not None:
            spot = self._free_spot(path, layer.change_id)
            if spot != path:
                self._aside.add(spot)
                self._depends(edit.path, spot)
                resolution = Clash(
                    type=ConflictType.FILE_DIRECTORY,
                    base=edit.base,
                    theirs=None,
                    yours=edit.result,
                    shown=edit.result,
                    their_side=self._side_near(path),
                    your_side=side_of(edit, layer),
                )
                shown = edit.result
                path = spot
            if shown is not None:
                self.tree.set(path, shown)
        self.resolutions[path] = resolution
        self.edit_at[path] = edit.path
        self.sides[path] = side_of(edit, layer)
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

    def _side_near(self, path: RepoPath) -> Side:
        """Whose file stands above a path, or whose files stand below it."""
        sides = self._below.sides
        for near in (path, *parents(path)):
            if near in sides:
                return sides[near]
        return next((sides[p] for p in sides if is_under(p, path)), self._side_at(path))


def _shown(resolution: Resolution) -> FileEntry | Pending | None:
    if isinstance(resolution, Merge):
        return PENDING
    return resolution.entry if isinstance(resolution, Taken) else resolution.shown
