# Plain strings and calls: a request is answered in less time than Path objects take.
# ruff: noqa: PTH102, PTH104, PTH106, PTH108, PTH120
"""A workspace's real directory on disk: ignored files, empty directories, special files.

Paths are joined by hand, so every directory above one must be a real directory, never a symbolic
link that would lead elsewhere: `check_directory` sees to that before a path below is used.
"""

import contextlib
import os
import secrets
import stat
from pathlib import Path

from pwfs.model.paths import RepoPath
from pwfs.store.syncing import sync_directory


class Scratch:
    """The tree below ``.patchwork/work/WORKSPACE/tree``."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._root = os.fspath(root)

    def place(self, path: RepoPath) -> str:
        """Where a path is on disk."""
        return f"{self._root}/{path}" if path else self._root

    def stat(self, path: RepoPath) -> os.stat_result | None:
        """What is at a path, None for nothing."""
        try:
            return os.lstat(self.place(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def is_directory(self, path: RepoPath) -> bool:
        """Whether a directory is at a path."""
        found = self.stat(path)
        return found is not None and stat.S_ISDIR(found.st_mode)

    def names(self, path: RepoPath) -> dict[str, os.stat_result]:
        """What is in a directory; nothing where there is none."""
        try:
            with os.scandir(self.place(path)) as entries:
                return {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
        except (FileNotFoundError, NotADirectoryError):
            return {}

    def directories(self, path: RepoPath) -> list[str]:
        """The names of the directories in a directory."""
        try:
            with os.scandir(self.place(path)) as entries:
                return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def is_empty(self, path: RepoPath) -> bool:
        """Whether no name is in a directory, or it is not there."""
        try:
            with os.scandir(self.place(path)) as entries:
                return next(entries, None) is None
        except (FileNotFoundError, NotADirectoryError):
            return True

    def make_directory(self, path: RepoPath) -> None:
        """Makes a directory and those above it, where they are missing."""
        try:
            os.mkdir(self.place(path), 0o755)
        except FileExistsError:
            self.check_directory(path)
        except (FileNotFoundError, NotADirectoryError):
            above = path.rpartition("/")[0]
            self.make_directory(RepoPath(above))
            os.mkdir(self.place(path), 0o755)

    def check_directory(self, path: RepoPath) -> None:
        """Moves aside what stands where the view has a directory now."""
        found = self.stat(path)
        if found is not None and not stat.S_ISDIR(found.st_mode):
            place = self.place(path)
            os.rename(place, f"{place}~scratch-{secrets.token_hex(3)}")

    def make_room(self, path: RepoPath) -> str:
        """Makes the directory above a path; returns the path's place."""
        self.make_directory(RepoPath(path.rpartition("/")[0]))
        return self.place(path)

    def sync_directory(self, path: RepoPath) -> None:
        """Puts on disk which names are in a directory, and in those above it.

        They may have been made together with it. Where the directory is not here there is nothing
        to do, but for those above: what was in it may just have been removed.
        """
        while True:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                sync_directory(self.place(path))
            if not path:
                break
            path = RepoPath(path.rpartition("/")[0])
        # The workspace's own directory, made when it was first used.
        sync_directory(os.path.dirname(self._root))
        sync_directory(os.path.dirname(os.path.dirname(self._root)))

    def remove_file(self, path: RepoPath) -> None:
        """Removes a file that the view hid, if there is one."""
        try:
            os.unlink(self.place(path))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            pass

    def remove_directory(self, path: RepoPath) -> None:
        """Removes an empty directory, if it is there."""
        try:
            os.rmdir(self.place(path))
        except (FileNotFoundError, NotADirectoryError):
            pass
