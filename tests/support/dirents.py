"""getdents64(2) as programs may call it: a few names at a time, which no library does."""

import ctypes
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SYS_GETDENTS64 = 217 if os.uname().machine == "x86_64" else 61
_HEAD = struct.Struct("=QqHB")
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Dirent:
    """A name, and the position behind it."""

    name: str
    ino: int
    position: int


class OpenDirectory:
    """A directory that is read by so many bytes a call."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def some(self, size_bytes: int = 32768) -> list[Dirent]:
        """The next names, as many as go into so many bytes; none at the end."""
        buffer = ctypes.create_string_buffer(size_bytes)
        length = _libc.syscall(_SYS_GETDENTS64, self.fd, buffer, size_bytes)
        if length < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return list(_dirents(buffer.raw[:length]))

    def rest(self, size_bytes: int = 32768) -> list[Dirent]:
        """All names to the end."""
        found = []
        while some := self.some(size_bytes):
            found += some
        return found

    def seek(self, position: int) -> None:
        """Goes to a position."""
        os.lseek(self.fd, position, os.SEEK_SET)

    def names(self) -> list[str]:
        """Everything, from the beginning, but for ``.`` and ``..``."""
        self.seek(0)
        return [found.name for found in self.rest() if found.name not in (".", "..")]

    def close(self) -> None:
        """Ends it."""
        os.close(self.fd)


def _dirents(data: bytes) -> Iterator[Dirent]:
    while data:
        ino, position, length, _ = _HEAD.unpack_from(data)
        name = data[_HEAD.size : length].split(b"\0", 1)[0]
        yield Dirent(name.decode(), ino, position)
        data = data[length:]
