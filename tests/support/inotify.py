"""inotify(7) by its system calls: what watchers in a workspace are told."""

import ctypes
import os
import select
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ACCESS = 0x1
MODIFY = 0x2
ATTRIB = 0x4
CLOSE_WRITE = 0x8
CLOSE_NOWRITE = 0x10
OPEN = 0x20
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
IGNORED = 0x8000
ISDIR = 0x4000_0000
CHANGES = (
    MODIFY
    | ATTRIB
    | CLOSE_WRITE
    | MOVED_FROM
    | MOVED_TO
    | CREATE
    | DELETE
    | DELETE_SELF
    | MOVE_SELF
)

_HEADER = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)
_NAMES = {
    value: name
    for name, value in list(globals().items())
    if name.isupper() and not name.startswith("_") and name != "CHANGES"
}


@dataclass(frozen=True)
class Event:
    """One event: where it was watched, its mask, and the name in a watched directory."""

    watched: Path
    mask: int
    name: str

    def __str__(self) -> str:
        kinds = "|".join(text for bit, text in _NAMES.items() if self.mask & bit)
        return f"{kinds} {self.watched.name}/{self.name}"


class Watch:
    """An inotify instance and what it watches."""

    def __init__(self) -> None:
        self.fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._watched: dict[int, Path] = {}
        self.events: list[Event] = []

    def add(self, path: Path, mask: int = CHANGES) -> None:
        """Watches a file or directory."""
        number = _libc.inotify_add_watch(self.fd, os.fsencode(path), mask)
        if number < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
        self._watched[number] = path

    def _read(self, patience_s: float) -> bool:
        readable, _, _ = select.select([self.fd], [], [], patience_s)
        if not readable:
            return False
        data = os.read(self.fd, 1 << 16)
        position = 0
        while position < len(data):
            number, mask, _, length = _HEADER.unpack_from(data, position)
            position += _HEADER.size
            name = data[position : position + length].rstrip(b"\0").decode()
            position += length
            self.events.append(Event(self._watched[number], mask, name))
        return True

    def until(self, mask: int, name: str, patience_s: float = 10) -> Event:
        """Waits for an event with one of these bits and this name; gives the first one."""
        deadline = time.monotonic() + patience_s
        seen = 0
        while True:
            for event in self.events[seen:]:
                if event.mask & mask and event.name == name:
                    return event
            seen = len(self.events)
            left = deadline - time.monotonic()
            if left <= 0 or not self._read(left):
                said = "\n".join(map(str, self.events)) or "nothing"
                raise AssertionError(f"no event {mask:#x} for {name!r}; there was:\n{said}")

    def rest(self, quiet_s: float = 0.3) -> list[Event]:
        """Everything so far, once no event came for a while; starts the list anew."""
        while self._read(quiet_s):
            pass
        events, self.events = self.events, []
        return events


@contextmanager
def watching(*paths: Path, mask: int = CHANGES) -> Iterator[Watch]:
    """Watches files and directories for as long as the block lasts."""
    watch = Watch()
    try:
        for path in paths:
            watch.add(path, mask)
        yield watch
    finally:
        os.close(watch.fd)
