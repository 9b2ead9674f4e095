"""Files that theirs added to a directory which yours renamed as a whole: they go along.

A directory carries them as long as the layer keeps no file of its own under the old name, and has
done something to what is below there: else theirs is another directory of that name. A file that
the layer knows is where its edit says. A file goes where the nearest of its directories went, if
nobody has a file there; of two that would come to one name the first by path goes.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from pwfs.model.paths import RepoPath, is_under, parents
from pwfs.views.editor import DIRECTORY, TreeEditor
from pwfs.views.overlay import Overlay

IsPlaced = Callable[[RepoPath], bool]
"""Whether an edit of the layer decides what is at a path."""


class Newcomers:
    """Which files go along with one layer's directories, kept current.

    ``below`` is always the tree that the layer is laid on.
    """

    def __init__(self, edits: Overlay) -> None:
        self._edits = edits
        self._followed = len(edits.moved_sources)
        self._carrying: set[RepoPath] = set()
        self._goals: dict[RepoPath, RepoPath] = {}
        self._arrived: dict[RepoPath, RepoPath] = {}

    def decide(self, below: TreeEditor, is_placed: IsPlaced) -> dict[RepoPath, RepoPath]:
        """Looks at every directory; returns where each file goes that goes along."""
        found: set[RepoPath] = set()
        for source in self._edits.directory_moves:
            if self._carries(below, source):
                self._carrying.add(source)
                found.update(self._files(below, source))
        return self._settle(below, found, is_placed)

    def follow(
        self, below: TreeEditor, stale: Iterable[RepoPath], is_placed: IsPlaced
    ) -> tuple[set[RepoPath], dict[RepoPath, RepoPath]]:
        """Looks at what may be otherwise since the layer's edits at ``stale`` paths are others.

        Returns the names, old and new, of files that went along and may not do so any more, and
        where those go that do: the latter are to be shown (again) where they go.
        """
        found: set[RepoPath] = set()
        for path in stale:
            found.add(path)
            found.update(self._claimants(path))
        for source in self._moved(stale):
            carries = self._carries(below, source)
            if not carries and source not in self._carrying:
                continue
            found.update(path for path in self._goals if is_under(path, source))
            found.update(self._files(below, source))
            if carries:
                self._carrying.add(source)
            else:
                self._carrying.discard(source)
        pending = list(found)
        while pending:
            path = pending.pop()
            for goal in (self._goals.get(path), self._goal(below, path, is_placed)):
                for other in self._claimants(goal) if goal is not None else ():
                    if other not in found:
                        found.add(other)
                        pending.append(other)
        returned: set[RepoPath] = set()
        for path in found:
            goal = self._goals.pop(path, None)
            if goal is not None:
                del self._arrived[goal]
                returned |= {path, goal}
        return returned, self._settle(below, found, is_placed)

    def moved_at(self, path: RepoPath) -> datetime:
        """Since when the directory is elsewhere with which a file goes along."""
        source = self._carrier(path)
        assert source is not None, f"{path} stays where it is"
        return self._edits.directory_moves[source].moved_at

    def _settle(
        self, below: TreeEditor, found: Iterable[RepoPath], is_placed: IsPlaced
    ) -> dict[RepoPath, RepoPath]:
        going: dict[RepoPath, RepoPath] = {}
        for path in found:
            goal = self._goal(below, path, is_placed)
            if goal is not None and path == self._first(below, goal, is_placed):
                going[path] = goal
        self._goals.update(going)
        self._arrived.update((goal, path) for path, goal in going.items())
        return going

    def _moved(self, stale: Iterable[RepoPath]) -> set[RepoPath]:
        """The directories that may carry now, or no more."""
        moves = self._edits.directory_moves
        moved = set(self._edits.moved_sources[self._followed :])
        self._followed = len(self._edits.moved_sources)
        if moves or self._carrying:
            for path in stale:
                moved.update(
                    above for above in parents(path) if above in moves or above in self._carrying
                )
        return moved

    def _carries(self, below: TreeEditor, source: RepoPath) -> bool:
        edits = self._edits
        return (
            source in edits.directory_moves
            and not edits.has_files_in(source)
            and edits.starts_in(source)
            and below.get(source) is DIRECTORY
        )

    def _files(self, below: TreeEditor, source: RepoPath) -> Iterator[RepoPath]:
        if self._edits.wanted is not None:
            return (path for path in self._edits.wanted if is_under(path, source))
        return (path for path, _ in below.files(source))

    def _goal(self, below: TreeEditor, path: RepoPath, is_placed: IsPlaced) -> RepoPath | None:
        """Where a file would go, if it is one that goes along and has a place there."""
        if not self._carrying or self._edits.knows(path):
            return None
        source = self._carrier(path)
        if source is None or below.get(path) in (None, DIRECTORY) or is_placed(path):
            return None
        goal = RepoPath(self._edits.directory_moves[source].target + path[len(source) :])
        return None if is_placed(goal) or below.get(goal) is not None else goal

    def _carrier(self, path: RepoPath) -> RepoPath | None:
        return next((above for above in parents(path) if above in self._carrying), None)

    def _claimants(self, goal: RepoPath) -> Iterator[RepoPath]:
        """The paths from which a file may come to a name, or has come."""
        if goal in self._arrived:
            yield self._arrived[goal]
        for target in parents(goal):
            for source in self._edits.moved_into(target):
                yield RepoPath(source + goal[len(target) :])

    def _first(self, below: TreeEditor, goal: RepoPath, is_placed: IsPlaced) -> RepoPath | None:
        return min(
            (path for path in self._claimants(goal) if self._goal(below, path, is_placed) == goal),
            default=None,
        )
