# The system calls and their errno are what is tested.
# ruff: noqa: PTH101, PTH102, PTH104, PTH106, PTH108, PTH110, PTH118, PTH119, PTH120, PTH121, PTH208, PTH211
"""System calls as data: what a program may do below a directory, and what comes of it.

An action is a tuple of a call's name and plain arguments, so that hypothesis can draw and shrink it,
a seed can make thousands of them, and another process can be told of it. `Caller` carries actions
out below one directory; two callers that were told the same must have seen the same.
"""

import ctypes
import errno
import mmap
import os
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

Action = tuple[object, ...]
T = TypeVar("T")

PLAIN = ["a", "b", "c", "d", "e", "d/x", "d/y", "d/e", "d/e/x", "e/x"]
IGNORED = ["build", "build/x", "x.log", "d/x.log"]
ODD = ["é", "e\u0301", "d/\U0001f980 \u202e", "-rf *", "new\nline", "d/" + "n" * 250]
TRACKED = ["src", "src/app.py", "src/lib", "README.md", "run.sh", "link"]
NAMES = [*PLAIN, *PLAIN, *IGNORED, *ODD, *TRACKED]
DIRECTORIES = ["d", "e", "d/e", "build", "src", "src/lib"]
SIZES = [0, 1, 40, 4095, 4096, 4097, 9000, 140_000]
XATTRS = ["user.one", "user.two"]
SLOTS = 3
NOREPLACE, EXCHANGE = 1, 2
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 3, 0x10
OLDEST_NOW_NS = 1_700_000_000_000_000_000
"""A time before this one was set by somebody, one after it is when something happened."""

_libc = ctypes.CDLL(None, use_errno=True)


class Chooser(Protocol):
    """Somebody who decides: hypothesis, or a seed."""

    def choose(self, options: Sequence[T]) -> T:
        """Takes one of several."""

    def number(self, low: int, high: int) -> int:
        """Takes a number of a range, both ends included."""


def content(tag: int, size: int) -> bytes:
    """The bytes that an action writes, told by two numbers."""
    piece = b"%d," % tag
    return (piece * (size // len(piece) + 1))[:size]


def any_action(by: Chooser, calls: Sequence[str]) -> Action:
    """Makes an action of one of some calls."""
    name = by.choose(calls)
    return (name, *(ARGUMENTS[kind](by) for kind in CALLS[name]))


ARGUMENTS: dict[str, Callable[[Chooser], object]] = {
    "path": lambda by: by.choose(NAMES),
    "directory": lambda by: by.choose(DIRECTORIES),
    "tag": lambda by: by.number(1, 999),
    "size": lambda by: by.choose(SIZES),
    "length": lambda by: by.number(0, 9000),
    "offset": lambda by: by.choose([0, 1, 100, 4096, 8191, 70_000]),
    "mode": lambda by: by.choose([0o644, 0o755, 0o600, 0o711, 0o444, 0o4755]),
    "id": lambda by: by.choose([0, 1000, 65534]),
    "time": lambda by: by.number(1, 1 << 50),
    "xattr": lambda by: by.choose(XATTRS),
    "slot": lambda by: by.number(0, SLOTS - 1),
    "flags": lambda by: by.choose(
        [
            os.O_RDONLY,
            os.O_RDWR,
            os.O_RDWR | os.O_CREAT,
            os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
            os.O_RDWR | os.O_APPEND,
            os.O_RDWR | os.O_CREAT | os.O_EXCL,
        ]
    ),
    "rename": lambda by: by.choose([NOREPLACE, EXCHANGE]),
    "fallocate": lambda by: by.choose([0, KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE]),
}

CALLS: dict[str, tuple[str, ...]] = {
    "write": ("path", "tag", "size"),
    "save": ("path", "tag", "size"),
    "append": ("path", "tag", "size"),
    "pwrite": ("path", "tag", "size", "offset"),
    "pread": ("path", "offset", "size"),
    "map_write": ("path", "tag", "length", "offset"),
    "truncate": ("path", "length"),
    "fallocate": ("path", "fallocate", "offset", "length"),
    "copy": ("path", "path"),
    "create": ("path", "mode"),
    "unlink": ("path",),
    "mkdir": ("directory", "mode"),
    "rmdir": ("directory",),
    "fifo": ("path", "mode"),
    "symlink": ("path", "path"),
    "link": ("path", "path"),
    "rename": ("path", "path"),
    "rename_directory": ("directory", "path"),
    "rename2": ("path", "path", "rename"),
    "chmod": ("path", "mode"),
    "chown": ("path", "id", "id"),
    "utime": ("path", "time", "time"),
    "setxattr": ("path", "xattr", "tag"),
    "removexattr": ("path", "xattr"),
    "listdir": ("directory",),
    "list_while_changing": ("directory", "path"),
    "open": ("slot", "path", "flags"),
    "handle_pwrite": ("slot", "tag", "size", "offset"),
    "handle_write": ("slot", "tag", "length"),
    "handle_read": ("slot",),
    "handle_truncate": ("slot", "length"),
    "handle_chmod": ("slot", "mode"),
    "handle_sync": ("slot",),
    "close": ("slot",),
}


def is_ignored(path: str) -> bool:
    """Whether a name is scratch's by the ignore file of these tests."""
    return path.endswith(".log") or "build" in path.split("/")


class Caller:
    """Carries out actions below a directory; keeps what they left open."""

    def __init__(self, top: str) -> None:
        self.top = top
        self.handles: dict[int, int] = {}

    def do(self, action: Action) -> object:
        """Carries out an action; the outcome, or the name of its errno."""
        name, *arguments = action
        try:
            return getattr(self, f"_{name}")(*arguments)
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, str(error))

    def close_all(self) -> None:
        """Closes what is open, whatever comes of it."""
        for fd in self.handles.values():
            try:
                os.close(fd)
            except OSError:
                continue
        self.handles.clear()

    def _at(self, path: str) -> str:
        return os.path.join(self.top, path)

    # Content; nothing waits for a reader of a FIFO.

    def _write(self, path: str, tag: int, size: int) -> object:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        return self._with(path, flags, lambda fd: os.write(fd, content(tag, size)))

    def _save(self, path: str, tag: int, size: int) -> object:
        temporary = os.path.join(os.path.dirname(path), "new~")
        self._write(temporary, tag, size)
        try:
            os.rename(self._at(temporary), self._at(path))
        except OSError:
            os.unlink(self._at(temporary))
            raise
        return None

    def _append(self, path: str, tag: int, size: int) -> object:
        def use(fd: int) -> object:
            return os.write(fd, content(tag, size)), os.lseek(fd, 0, os.SEEK_CUR)

        return self._with(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, use)

    def _with(self, path: str, flags: int, use: Callable[[int], object]) -> object:
        fd = os.open(self._at(path), flags | os.O_NONBLOCK, 0o644)
        try:
            return use(fd)
        finally:
            os.close(fd)

    def _pwrite(self, path: str, tag: int, size: int, offset: int) -> object:
        def use(fd: int) -> object:
            os.pwrite(fd, content(tag, size), offset)
            return os.pread(fd, 8000, max(0, offset - 1000)), os.fstat(fd).st_size

        return self._with(path, os.O_RDWR, use)

    def _pread(self, path: str, offset: int, size: int) -> object:
        return self._with(path, os.O_RDONLY, lambda fd: os.pread(fd, size, offset))

    def _map_write(self, path: str, tag: int, length: int, offset: int) -> object:
        def use(fd: int) -> object:
            size = os.fstat(fd).st_size
            length_there = min(length, size - offset)
            if length_there <= 0:
                return None
            with mmap.mmap(fd, size) as mapped:
                mapped[offset : offset + length_there] = content(tag, length_there)
            return os.pread(fd, length_there, offset)

        return self._with(path, os.O_RDWR, use)

    def _truncate(self, path: str, length: int) -> None:
        os.truncate(self._at(path), length)

    def _fallocate(self, path: str, mode: int, offset: int, length: int) -> object:
        def use(fd: int) -> object:
            size = ctypes.c_long
            _checked(_libc.fallocate(fd, mode, size(offset), size(length)))
            return os.fstat(fd).st_size

        return self._with(path, os.O_RDWR, use)

    def _copy(self, source: str, target: str) -> object:
        def use(fd: int) -> object:
            def into(out: int) -> object:
                total = 0
                while count := os.copy_file_range(fd, out, 1 << 20):
                    total += count
                return total

            return self._with(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, into)

        if os.path.exists(self._at(target)) and os.path.samefile(
            self._at(source), self._at(target)
        ):
            return None
        return self._with(source, os.O_RDONLY, use)

    # Names

    def _create(self, path: str, mode: int) -> None:
        os.close(os.open(self._at(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))

    def _unlink(self, path: str) -> None:
        os.unlink(self._at(path))

    def _mkdir(self, path: str, mode: int) -> None:
        os.mkdir(self._at(path), mode | 0o700)

    def _rmdir(self, path: str) -> None:
        os.rmdir(self._at(path))

    def _fifo(self, path: str, mode: int) -> None:
        os.mkfifo(self._at(path), mode)

    def _symlink(self, path: str, target: str) -> None:
        os.symlink(target, self._at(path))

    def _link(self, old: str, new: str) -> None:
        os.link(self._at(old), self._at(new), follow_symlinks=False)

    def _rename(self, old: str, new: str) -> None:
        os.rename(self._at(old), self._at(new))

    _rename_directory = _rename

    def _rename2(self, old: str, new: str, flags: int) -> object:
        here = -100
        names = [os.fsencode(self._at(path)) for path in (old, new)]
        return _checked(_libc.renameat2(here, names[0], here, names[1], flags))

    def _listdir(self, path: str) -> object:
        return sorted(os.listdir(self._at(path)))

    def _list_while_changing(self, path: str, name: str) -> object:
        """Lists a directory of which another name comes and one goes meanwhile."""
        other = self._at(f"{path}/.{os.path.basename(name)[:40]}")
        found = set()
        with os.scandir(self._at(path)) as entries:
            for entry in entries:
                found.add(entry.name)
                if not os.path.lexists(other):
                    os.mkdir(other)
        if os.path.lexists(other):
            os.rmdir(other)
        return sorted(found - {os.path.basename(other)})

    # Attributes

    def _chmod(self, path: str, mode: int) -> None:
        os.chmod(self._at(path), mode)

    def _chown(self, path: str, uid: int, gid: int) -> None:
        os.chown(self._at(path), uid, gid, follow_symlinks=False)

    def _utime(self, path: str, atime_ns: int, mtime_ns: int) -> object:
        place = self._at(path)
        os.utime(place, ns=(atime_ns, mtime_ns), follow_symlinks=False)
        status = os.lstat(place)
        return status.st_atime_ns, status.st_mtime_ns

    def _setxattr(self, path: str, name: str, tag: int) -> None:
        os.setxattr(self._at(path), name, b"%d" % tag)

    def _removexattr(self, path: str, name: str) -> None:
        os.removexattr(self._at(path), name)

    # Open files

    def _open(self, slot: int, path: str, flags: int) -> object:
        if slot in self.handles:
            return None
        self.handles[slot] = os.open(self._at(path), flags | os.O_NONBLOCK, 0o644)
        return None

    def _handle_pwrite(self, slot: int, tag: int, size: int, offset: int) -> object:
        return self._held(slot, lambda fd: os.pwrite(fd, content(tag, size), offset))

    def _handle_write(self, slot: int, tag: int, length: int) -> object:
        return self._held(slot, lambda fd: os.write(fd, content(tag, length)))

    def _handle_read(self, slot: int) -> object:
        def use(fd: int) -> object:
            status = os.fstat(fd)
            return os.pread(fd, 200_000, 0), status.st_size, status.st_nlink, status.st_mode

        return self._held(slot, use)

    def _handle_truncate(self, slot: int, length: int) -> object:
        return self._held(slot, lambda fd: os.ftruncate(fd, length))

    def _handle_chmod(self, slot: int, mode: int) -> object:
        return self._held(slot, lambda fd: os.fchmod(fd, mode))

    def _handle_sync(self, slot: int) -> object:
        return self._held(slot, os.fsync)

    def _close(self, slot: int) -> None:
        fd = self.handles.pop(slot, None)
        if fd is not None:
            os.close(fd)

    def _held(self, slot: int, use: Callable[[int], object]) -> object:
        fd = self.handles.get(slot)
        return None if fd is None else use(fd)


def _checked(result: int) -> int:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
