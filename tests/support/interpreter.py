"""The log read by a few lines of their own: dictionaries, and git to merge lines.

It knows nothing of overlays and compositions. A landing, or a workspace, is what main was, with
each path that the change touched set to what the change made of it; where main has something else
there than the change started from, git merges the lines. What it cannot say it leaves open (it
raises `Unsaid`): conflicts that are shown, and what main moved while a change edited it.
"""

import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pwfs.model.entries import FileEntry, Mode
from pwfs.model.ids import BlobHash, hash_blob
from pwfs.model.ops import Op, OpType
from pwfs.store.protocols import BlobStore

Files = dict[str, FileEntry]


class Unsaid(Exception):
    """This reading of the log does not say what the outcome is."""


class Touched:
    """What some operations did: each path's file before, as main had it, and after them."""

    def __init__(self, ops: Iterable[Op]) -> None:
        self.before: dict[str, FileEntry | None] = {}
        self.after: dict[str, FileEntry | None] = {}
        self.directories: set[str] = set()
        self._arrived: set[str] = set()
        for op in ops:
            self._apply(op)

    def _apply(self, op: Op) -> None:
        new, path = op.new, op.path
        if new.directory_rename is not None:
            self.directories.add(new.directory_rename[0])
        if op.op_type is OpType.RENAME:
            assert new.old_path is not None
            self.before.setdefault(new.old_path, new.base)
            self.before.setdefault(path, new.replaced)
            self.after[new.old_path] = None
            self._arrived.discard(new.old_path)
            self._arrived.add(path)
        else:
            if new.old_path is not None and op.op_type is not OpType.COPY:
                self.after[new.old_path] = None
            # What arrived by a rename is based on what main has under its old name.
            if path not in self._arrived:
                self.before[path] = new.base
            if op.op_type is OpType.DELETE:
                self._arrived.discard(path)
        self.after[path] = new.entry


class Interpreter:
    """Applies operations to dictionaries of files."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self.merged: dict[BlobHash, bytes] = {}
        """The contents that git made, by their hash."""

    def applied(self, main: Mapping[str, FileEntry], ops: Sequence[Op], moved: set[str]) -> Files:
        """Main with a change's operations.

        ``moved`` are the files, and the directories, that main renamed while they were written.

        Raises:
            Unsaid: it depends on more than the paths that were touched.
        """
        touched = Touched(ops)
        if any(_is_in(path, moved) for path in touched.before):
            raise Unsaid("main moved what was edited")
        if any(_is_in(path, touched.directories) and path not in touched.before for path in main):
            raise Unsaid("main has something new in a directory that was moved")
        files = dict(main)
        for path, mine in touched.after.items():
            made = self._three_way(touched.before.get(path), main.get(path), mine)
            if made is None:
                files.pop(path, None)
            else:
                files[path] = made
        for path in files:
            if any(above in files for above in _above(path)):
                raise Unsaid(f"{path} is below a file")
        return files

    def _three_way(
        self, base: FileEntry | None, theirs: FileEntry | None, mine: FileEntry | None
    ) -> FileEntry | None:
        if theirs in (base, mine):
            return mine
        if mine == base:
            return theirs
        if base is None or theirs is None or mine is None:
            raise Unsaid("one side has no file")
        if Mode.SYMLINK in (base.mode, theirs.mode, mine.mode):
            raise Unsaid("a symbolic link")
        mode = mine.mode if theirs.mode is base.mode else theirs.mode
        contents = [entry.content_hash for entry in (mine, base, theirs)]
        if contents[2] in (contents[0], contents[1]):
            return FileEntry(mine.content_hash, mode, mine.size)
        if contents[0] == contents[1]:
            return FileEntry(theirs.content_hash, mode, theirs.size)
        merged = self._merged(contents)
        return FileEntry(hash_blob(merged), mode, len(merged))

    def _merged(self, contents: Sequence[BlobHash]) -> bytes:
        with tempfile.TemporaryDirectory() as directory:
            names = [str(Path(directory, name)) for name in ("mine", "base", "theirs")]
            for name, content in zip(names, contents, strict=True):
                Path(name).write_bytes(self.merged.get(content) or self._blobs.get(content))
            done = subprocess.run(
                ["git", "merge-file", "-p", "-q", *names], capture_output=True, check=False
            )
        if done.returncode != 0:
            raise Unsaid("git finds a conflict")
        self.merged[hash_blob(done.stdout)] = done.stdout
        return done.stdout


def _above(path: str) -> Iterable[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _is_in(path: str, places: set[str]) -> bool:
    return path in places or any(above in places for above in _above(path))
