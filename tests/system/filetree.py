"""What actions make of an agent's files, carried out or cut off: a model of a directory."""

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from tests.system.agent import Action, content, moved
from tests.system.people import files_below

WRITING = ("create", "rewrite", "append", "patch", "mapped", "replace", "unnamed")


@dataclass(frozen=True)
class FileTree:
    """Names and the files that they lead to; several names of one file are hard links."""

    names: dict[str, int]
    contents: dict[int, bytes]

    def read(self) -> dict[str, bytes]:
        """What a reader finds at each name."""
        return {name: self.contents[file] for name, file in self.names.items()}

    def linked(self, name: str) -> list[str]:
        """All names of the file at a name, itself among them; none where there is no file."""
        if name not in self.names:
            return []
        return [each for each, file in self.names.items() if file == self.names[name]]

    def looks_like(self, other: "FileTree") -> bool:
        """Whether names, contents and hard links are the same."""
        return self.read() == other.read() and self._groups() == other._groups()

    def _groups(self) -> set[frozenset[str]]:
        groups: defaultdict[int, set[str]] = defaultdict(set)
        for name, file in self.names.items():
            groups[file].add(name)
        return {frozenset(names) for names in groups.values()}

    def write(self, name: str, data: bytes) -> "FileTree":
        """Gives the file at a name, new or not, other bytes."""
        file = self.names.get(name, max(self.contents, default=0) + 1)
        return FileTree({**self.names, name: file}, {**self.contents, file: data})

    def link(self, name: str, other: str) -> "FileTree":
        """Gives the file at a name another one."""
        return replace(self, names={**self.names, other: self.names[name]})

    def unlink(self, name: str) -> "FileTree":
        """Takes a name away."""
        return replace(self, names={each: f for each, f in self.names.items() if each != name})

    def rename(self, name: str, other: str) -> "FileTree":
        """Moves a name over another; two names of one file both stay, as POSIX has it."""
        if self.names.get(other) == self.names[name]:
            return self
        return self.link(name, other).unlink(name)

    def rename_directory(self, name: str, other: str) -> "FileTree":
        """Moves all names below a directory."""
        return replace(self, names={moved(e, name, other): f for e, f in self.names.items()})

    def written(self, action: Action) -> bytes:
        """What the file that an action writes has when all is written."""
        kind, path, _, tag, size = action
        new = content(tag, size)
        if kind == "append":
            return self.read()[path] + new
        if kind == "patch":
            return new + self.read()[path][size:]
        if kind == "mapped":
            old = self.read()[path]
            return new[: len(old)] + old[size:]
        if kind == "unnamed":
            return b""  # it has lost its name by the time it is written
        return new

    def after(self, action: Action) -> "FileTree":
        """The files once an action was carried out."""
        kind, path, other, _, _ = action
        if kind == "replace":
            return self.write(other, self.written(action)).rename(other, path)
        if kind in ("create", "rewrite", "append", "patch", "mapped"):
            return self.write(path, self.written(action))
        if kind in ("rename", "over"):
            return self.rename(path, other)
        if kind == "relink":
            return self.link(path, other).unlink(path)
        if kind == "move":
            return self.rename_directory(path, other)
        return self.unlink(path) if kind == "delete" else self


def tree_of(directory: Path) -> FileTree:
    """The files below a directory, as the mount shows them."""
    contents = files_below(directory)
    names = {name: (directory / name).stat().st_ino for name in contents}
    return FileTree(names, {file: contents[name] for name, file in names.items()})


def may_be(found: FileTree, before: FileTree, action: Action) -> bool:
    """Whether these files are what an action that was cut off may have left of ``before``."""
    kind, path, other, _, _ = action
    if found.looks_like(before) or found.looks_like(before.after(action)):
        return True
    if kind == "relink":
        return found.looks_like(before.link(path, other))
    target = other if kind == "replace" else path
    if kind not in WRITING or target not in found.names:
        return False
    written = found.read()[target]
    return found.looks_like(before.write(target, written)) and _may_be_written(
        written, before.read().get(target, b""), action, before.written(action)
    )


def _may_be_written(written: bytes, old: bytes, action: Action, whole: bytes) -> bool:
    """Whether a file may have these bytes on the way from ``old`` to ``whole``."""
    kind, _, _, _, size = action
    if kind == "append":
        return written.startswith(old) and whole.startswith(written)
    if kind == "mapped":
        # Pages are written in any order.
        return len(written) == len(old) and all(
            each in (was, to_be) for each, was, to_be in zip(written, old, whole, strict=True)
        )
    if kind == "patch":
        # A prefix of the patch is there, of any length; what is behind it is as before.
        return any(written == whole[:cut] + old[cut:] for cut in _cuts(written, whole[:size]))
    return whole.startswith(written)


def _cuts(written: bytes, new: bytes) -> list[int]:
    """Where the writing of ``new`` may have been cut off.

    What was there before may begin as what is behind the cut would have.
    """
    same = next(
        (i for i, (a, b) in enumerate(zip(written, new, strict=False)) if a != b),
        min(len(written), len(new)),
    )
    return [0, *range(max(0, same - 8), same + 1)]
