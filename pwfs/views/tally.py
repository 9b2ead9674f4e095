"""Counts a change's edits by directory, so that none has to be looked for.

Each edit counts in every directory above it, which makes counting one as dear as its path is deep.
"""

from collections.abc import Collection

from pwfs.model.paths import RepoPath, parents


class _Counts:
    """What is in one directory, and further down."""

    __slots__ = ("edits", "files", "sources")

    def __init__(self) -> None:
        self.edits = 0
        self.files = 0
        self.sources = 0


_NONE = _Counts()


class Tally:
    """How many edits are in a directory, have a file there, or start from there."""

    def __init__(self) -> None:
        self._directories: dict[RepoPath, _Counts] = {}
        self._goals: dict[RepoPath, set[RepoPath]] = {}

    def edits_in(self, directory: RepoPath) -> int:
        """How many edits are in a directory."""
        return self._directories.get(directory, _NONE).edits

    def files_in(self, directory: RepoPath) -> int:
        """How many of them are not deletions."""
        return self._directories.get(directory, _NONE).files

    def sources_in(self, directory: RepoPath) -> int:
        """How many edits, wherever they are, start from a path in a directory."""
        return self._directories.get(directory, _NONE).sources

    def goals(self, path: RepoPath) -> Collection[RepoPath]:
        """The edits that have moved away what was below at a path."""
        return self._goals.get(path, ())

    def add(self, path: RepoPath, origin: RepoPath | None, *, is_file: bool) -> None:
        """Counts an edit; ``origin`` is where it was moved from, if it was."""
        self._count(path, origin, 1, is_file=is_file)
        if origin is not None:
            self._goals.setdefault(origin, set()).add(path)

    def take(self, path: RepoPath, origin: RepoPath | None, *, is_file: bool) -> None:
        """Counts an edit no more."""
        self._count(path, origin, -1, is_file=is_file)
        if origin is not None:
            self._goals[origin].discard(path)
            if not self._goals[origin]:
                del self._goals[origin]

    def _count(self, path: RepoPath, origin: RepoPath | None, by: int, *, is_file: bool) -> None:
        starts_here = origin is None
        for above in parents(path):
            counts = self._at(above)
            counts.edits += by
            counts.files += by if is_file else 0
            counts.sources += by if starts_here else 0
            self._drop_empty(above, counts)
        if origin is None:
            return
        for above in parents(origin):
            counts = self._at(above)
            counts.sources += by
            self._drop_empty(above, counts)

    def _at(self, directory: RepoPath) -> _Counts:
        counts = self._directories.get(directory)
        if counts is None:
            counts = self._directories[directory] = _Counts()
        return counts

    def _drop_empty(self, directory: RepoPath, counts: _Counts) -> None:
        if not (counts.edits or counts.sources):
            del self._directories[directory]
