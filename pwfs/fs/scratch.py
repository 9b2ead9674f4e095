# Plain strings and calls: a request is answered in less time than Path objects take.
# ruff: noqa: PTH102, PTH104, PTH106, PTH108, PTH120
"""A workspace's real directory on disk: ignored files, empty directories, special files.

Paths are joined by hand, so every directory above one must be a real directory, never a symbolic
link that would lead elsewhere: `check_directory` sees to that before a path below is used.

What is deep in a workspace is deeper still on disk, beyond what one system call takes as a path.
Such a place is named by way of an open directory, which lives as long as the string that names it.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from pwfs.fs.attributes import XATTR_NAMESPACES
from pwfs.model.paths import NAME_LENGTH_MAX_BYTES, RepoPath, join
from pwfs.store.syncing import sync_directory

_NEAR_BYTES_MAX = 3500
"""How much of a path is walked in one step: names that callers derive from it must fit too."""
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _FarPlace(str):
    """A path through ``/proc/self/fd``; it leads there for as long as this object lives."""

    __slots__ = ("_fd",)
    _fd: int

    @classmethod
    def below(cls, fd: int, rest: bytes) -> "_FarPlace":
        place = cls(f"/proc/self/fd/{fd}/{os.fsdecode(rest)}")
        place._fd = fd
        return place

    def __del__(self) -> None:
        os.close(self._fd)


class Scratch:
    """The tree below ``.patchwork/work/WORKSPACE/tree``.

    ``on_moved_aside`` is told of the names that it gives by itself.
    """

    def __init__(self, root: Path, on_moved_aside: Callable[[RepoPath], None]) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._root = os.fspath(root)
        self._on_moved_aside = on_moved_aside

    def place(self, path: RepoPath) -> str:
        """Where a path is on disk. Hold on to what is returned while it is used.

        Raises:
            FileNotFoundError, NotADirectoryError: something above a far path is not there.
        """
        place = f"{self._root}/{path}" if path else self._root
        if len(place) * 4 <= _NEAR_BYTES_MAX or len(os.fsencode(place)) <= _NEAR_BYTES_MAX:
            return place
        return self._far(os.fsencode(path))

    def _far(self, rest: bytes) -> str:
        fd = os.open(self._root, _STEP)
        try:
            while len(rest) > _NEAR_BYTES_MAX:
                end = rest.rindex(b"/", 0, _NEAR_BYTES_MAX)
                below = os.open(rest[:end], _STEP, dir_fd=fd)
                os.close(fd)
                fd, rest = below, rest[end + 1 :]
        except BaseException:
            os.close(fd)
            raise
        return _FarPlace.below(fd, rest)

    def stat(self, path: RepoPath) -> os.stat_result | None:
        """What is at a path, None for nothing."""
        try:
            return os.lstat(self.place(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def xattrs(self, path: RepoPath) -> dict[bytes, bytes] | None:
        """The extended attributes of a file that a workspace keeps, None for none."""
        place = self.place(path)
        try:
            names = [os.fsencode(name) for name in os.listxattr(place, follow_symlinks=False)]
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            return None
        found = {
            name: os.getxattr(place, name, follow_symlinks=False)
            for name in names
            if name.startswith(XATTR_NAMESPACES)
        }
        return found or None

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

    def open_directory(self, path: RepoPath) -> int | None:
        """A descriptor of a directory, only to look names up through; None where there is none."""
        try:
            return os.open(self.place(path), _STEP)
        except OSError:
            return None

    def directories(self, path: RepoPath) -> list[str]:
        """The names of the directories in a directory."""
        try:
            with os.scandir(self.place(path)) as entries:
                return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def below(self, path: RepoPath, count_max: int) -> list[RepoPath] | None:
        """All that is below a directory; None if it is more than that."""
        found: list[RepoPath] = []
        pending = [path]
        while pending:
            directory = pending.pop()
            with os.scandir(self.place(directory)) as entries:
                for entry in islice(entries, count_max + 1 - len(found)):
                    found.append(join(directory, entry.name))
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(found[-1])
            if len(found) > count_max:
                return None
        return found

    def is_empty(self, path: RepoPath) -> bool:
        """Whether no name is in a directory, or it is not there."""
        try:
            with os.scandir(self.place(path)) as entries:
                return next(entries, None) is None
        except (FileNotFoundError, NotADirectoryError):
            return True

    def make_directory(self, path: RepoPath) -> None:
        """Makes a directory and those above it, where they are missing."""
        missing = [path]
        while missing:
            try:
                os.mkdir(self.place(missing[-1]), 0o755)
            except FileExistsError:
                if self.check_directory(missing[-1]):
                    missing.pop()
            except (FileNotFoundError, NotADirectoryError):
                missing.append(RepoPath(missing[-1].rpartition("/")[0]))
            else:
                missing.pop()

    def check_directory(self, path: RepoPath) -> bool:
        """Moves aside what stands where the view has a directory now; tells if one is there."""
        found = self.stat(path)
        is_directory = found is not None and stat.S_ISDIR(found.st_mode)
        if found is not None and not is_directory:
            above, _, name = path.rpartition("/")
            suffix = f"~scratch-{secrets.token_hex(3)}"
            room_bytes = NAME_LENGTH_MAX_BYTES - len(suffix)
            aside = name.encode()[:room_bytes].decode(errors="ignore") + suffix
            directory = self.place(RepoPath(above))
            os.rename(f"{directory}/{name}", f"{directory}/{aside}")
            self._on_moved_aside(join(RepoPath(above), aside))
        return is_directory

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
