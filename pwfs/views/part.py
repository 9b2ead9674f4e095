"""Some of a change's edits, for whoever wants to know of some paths only."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from pwfs.model.paths import RepoPath, is_under, parents
from pwfs.views.overlay import DirectoryMove, FileEdit, Overlay


class PartOfOverlay:
    """The edits (`Overlay`) at some paths, and at those they were moved from or to.

    It knows of the others what they mean for these. With all that is near (`paths_near`), a view
    shows at the paths what it shows there with all edits. It stands for this moment only.
    """

    def __init__(self, whole: Overlay, paths: Iterable[RepoPath]) -> None:
        self.revision = whole.revision
        self.edits: Mapping[RepoPath, FileEdit] = _linked(whole, paths)
        self._whole = whole
        self.wanted: frozenset[RepoPath] | None = frozenset(paths)

    @property
    def directory_moves(self) -> Mapping[RepoPath, DirectoryMove]:
        return self._whole.directory_moves

    @property
    def moved_sources(self) -> Sequence[RepoPath]:
        return self._whole.moved_sources

    def moved_into(self, target: RepoPath) -> Iterable[RepoPath]:
        return self._whole.moved_into(target)

    def knows(self, path: RepoPath) -> bool:
        return self._whole.knows(path)

    def writes(self, path: RepoPath) -> bool:
        return self._whole.writes(path)

    def goals(self, path: RepoPath) -> Collection[RepoPath]:
        return self._whole.goals(path)

    def has_edits_in(self, directory: RepoPath) -> bool:
        return self._whole.has_edits_in(directory)

    def has_files_in(self, directory: RepoPath) -> bool:
        return self._whole.has_files_in(directory)

    def starts_in(self, directory: RepoPath) -> bool:
        return self._whole.starts_in(directory)


def paths_near(paths: Iterable[RepoPath], overlays: Sequence[Overlay]) -> frozenset[RepoPath]:
    """The paths at which edits may matter to what overlays, lowest first, make of some paths."""
    near = set(paths)
    for overlay in (*reversed(overlays), *overlays):
        near.update([other for path in near for other in _led_to(path, overlay)])
    return frozenset(near)


def _led_to(path: RepoPath, overlay: Overlay) -> Iterator[RepoPath]:
    """Where else an overlay may show what is at a path, or takes it from, or needs it to go."""
    edit = overlay.edits.get(path)
    if edit is not None:
        yield from _linked_to(edit, overlay)
    if overlay.has_edits_in(path):
        yield from (other for other in overlay.edits if is_under(other, path))
    for above in parents(path):
        rest = path[len(above) :]
        move = overlay.directory_moves.get(above)
        if move is not None:
            yield RepoPath(move.target + rest)
        for source in overlay.moved_into(above):
            yield RepoPath(source + rest)


def _linked(whole: Overlay, paths: Iterable[RepoPath]) -> dict[RepoPath, FileEdit]:
    found: dict[RepoPath, FileEdit] = {}
    wanted = list(paths)
    while wanted:
        path = wanted.pop()
        edit = whole.edits.get(path)
        if edit is None or path in found:
            continue
        found[path] = edit
        wanted += _linked_to(edit, whole)
    return found


def _linked_to(edit: FileEdit, overlay: Overlay) -> list[RepoPath]:
    return [*overlay.goals(edit.path), *(() if edit.origin is None else (edit.origin,))]
