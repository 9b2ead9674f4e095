"""What the composition decides for a path: taken as it is, to be merged, or a named conflict."""

from dataclasses import dataclass
from typing import Protocol

from pwfs.model.entries import FileEntry, Mode
from pwfs.model.ids import ChangeId, Seq
from pwfs.model.paths import RepoPath, parents
from pwfs.model.views import ConflictType


@dataclass(frozen=True, slots=True)
class Side:
    """Whose content it is: a change at a version (0 for its draft), or main (change None)."""

    change_id: ChangeId | None
    version: int
    seq: Seq

    @property
    def label(self) -> str:
        """The name behind a conflict marker: ``change@version`` or ``main@seq``."""
        if self.change_id is None:
            return f"main@{self.seq}"
        return f"{self.change_id}@{self.version or 'draft'}"


@dataclass(frozen=True, slots=True)
class Taken:
    """The overlay's file as it is (None: deleted)."""

    entry: FileEntry | None


@dataclass(frozen=True, slots=True)
class Merge:
    """Both sides changed the file: its lines are merged when somebody looks.

    ``mode`` is decided already; ``type`` names the conflict if the lines cannot be merged.
    """

    type: ConflictType
    base: FileEntry | None
    theirs: FileEntry
    yours: FileEntry
    their_side: Side
    your_side: Side


@dataclass(frozen=True, slots=True)
class Clash:
    """A conflict that no merging of lines can solve; ``shown`` is what the view shows."""

    type: ConflictType
    base: FileEntry | None
    theirs: FileEntry | None
    yours: FileEntry | None
    shown: FileEntry | None
    their_side: Side
    your_side: Side


Resolution = Taken | Merge | Clash


def merge_files(
    type_: ConflictType,
    base: FileEntry | None,
    theirs: FileEntry,
    yours: FileEntry,
    their_side: Side,
    your_side: Side,
) -> Resolution:
    """Decides a file that both sides changed, as far as its content need not be read."""

    def clash(kind: ConflictType, shown: FileEntry) -> Clash:
        return Clash(kind, base, theirs, yours, shown, their_side, your_side)

    links = {entry.mode is Mode.SYMLINK for entry in (base, theirs, yours) if entry}
    if links != {False}:
        return clash(ConflictType.SYMLINK, yours)
    mode = yours.mode
    if base is not None and yours.mode is base.mode:
        mode = theirs.mode
    elif (
        base is None and theirs.mode is not yours.mode and theirs.content_hash == yours.content_hash
    ):
        return clash(ConflictType.MODE, yours)
    if base is not None:
        if theirs.content_hash in (base.content_hash, yours.content_hash):
            return Taken(FileEntry(yours.content_hash, mode, yours.size))
        if yours.content_hash == base.content_hash:
            return Taken(FileEntry(theirs.content_hash, mode, theirs.size))
    yours = FileEntry(yours.content_hash, mode, yours.size)
    return Merge(type_, base, theirs, yours, their_side, your_side)


@dataclass(frozen=True, slots=True)
class Settled:
    """A merge carried out: the file shown, and the conflict if one remained."""

    entry: FileEntry
    conflict: ConflictType | None


class Merger(Protocol):
    """Carries merges out, reading contents; implementations cache by the three hashes."""

    def settle(self, merge: Merge) -> Settled:
        """Merges; on a conflict the entry holds the text with markers (or yours, if binary)."""


@dataclass(frozen=True, slots=True)
class Renames:
    """Where files and whole directories went: old path to new."""

    files: dict[RepoPath, RepoPath]
    directories: dict[RepoPath, RepoPath]

    def target(self, path: RepoPath) -> RepoPath | None:
        """Follows a file's moves to where it is now."""
        seen = {path}
        while (following := self.files.get(path)) is not None and following not in seen:
            seen.add(following)
            path = following
        return path if len(seen) > 1 else None

    def directory_target(self, directory: RepoPath) -> RepoPath | None:
        """Tells where a directory, or one above it, was moved as a whole."""
        for above in (directory, *parents(directory)):
            target = self.directories.get(above) if above else None
            if target is not None:
                return RepoPath(target + directory[len(above) :])
        return None
