# The system calls and their errno are what is looked at.
# ruff: noqa: PTH109, PTH116, PTH208
"""A program that holds a workspace open in every way, and tells what each way gives it when asked.

``python holder.py DIRECTORY`` reads a line at a time and answers each with one line of JSON: what
was tried, and ``ok`` or the errno's name. Mappings are tried in a child, which a signal may end.
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable

_IN_MODIFY_OR_GONE = 0x2 | 0x400 | 0x2000 | 0x8000
_PAGES = 64
_libc = ctypes.CDLL(None, use_errno=True)


def tried(action: Callable[[], object]) -> str:
    """What an action gives: ``ok``, or the errno's name."""
    try:
        action()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


def in_child(action: Callable[[], object]) -> str:
    """The same in a child, or the name of the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if tried(action) == "ok" else 1)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return "ok" if status == 0 else "failed"


class Held:
    """What is held since the beginning."""

    def __init__(self, top: str) -> None:
        self.top = top
        os.chdir(f"{top}/src")
        self.reading = os.open(f"{top}/README.md", os.O_RDONLY)
        self.writing = os.open(f"{top}/held", os.O_RDWR | os.O_CREAT, 0o644)
        os.write(self.writing, b"written before\n")
        self.directory = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
        self.locked = os.open(f"{top}/data.bin", os.O_RDWR)
        fcntl.flock(self.locked, fcntl.LOCK_EX)
        self.mapped = os.open(f"{top}/mapped", os.O_RDWR | os.O_CREAT, 0o644)
        os.write(self.mapped, bytes(_PAGES * mmap.PAGESIZE))
        os.fsync(self.mapped)
        self.memory = mmap.mmap(self.mapped, _PAGES * mmap.PAGESIZE)
        self.memory[0] = 1
        self.watch = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        added = _libc.inotify_add_watch(self.watch, top.encode(), _IN_MODIFY_OR_GONE)
        assert self.watch >= 0 and added >= 0

    def look(self) -> dict[str, str]:
        """Tries everything, in ways that do not depend on one another."""
        started = time.monotonic()
        half = _PAGES // 2 * mmap.PAGESIZE
        os.posix_fadvise(self.mapped, half, half, os.POSIX_FADV_DONTNEED)
        found = {
            "read": tried(lambda: os.pread(self.reading, 1, 0)),
            "read, not cached": tried(lambda: os.pread(self.mapped, 1, half)),
            "write": tried(lambda: os.pwrite(self.writing, b"later", 20)),
            "fsync": tried(lambda: os.fsync(self.writing)),
            "fstat": tried(lambda: os.fstat(self.reading)),
            "readdir": tried(lambda: os.listdir(self.directory)),
            "openat": tried(lambda: os.close(os.open("README.md", 0, dir_fd=self.directory))),
            "flock": tried(lambda: fcntl.flock(self.locked, fcntl.LOCK_UN)),
            "mapping": in_child(lambda: self.memory[0]),
            "mapping, not cached": in_child(lambda: self.memory[-1]),
            "getcwd": tried(lambda: os.getcwd()),
            "open in cwd": tried(lambda: os.close(os.open("app.py", os.O_RDONLY))),
            "stat .": tried(lambda: os.stat(".")),
            "cd .": tried(lambda: os.chdir(".")),
            "path": tried(lambda: os.close(os.open(f"{self.top}/README.md", os.O_RDONLY))),
            "watch": self._told(),
        }
        found["seconds"] = f"{time.monotonic() - started:.1f}"
        return found

    def _told(self) -> str:
        """The masks of what the watch told since it was last asked."""
        masks = set()
        try:
            data = os.read(self.watch, 65536)
        except BlockingIOError:
            return "silent"
        while data:
            mask, length = (
                int.from_bytes(data[4:8], "little"),
                int.from_bytes(data[12:16], "little"),
            )
            masks.add(mask & 0xFFFF)
            data = data[16 + length :]
        return " ".join(f"{mask:#x}" for mask in sorted(masks))

    def enter(self, _: str = "") -> dict[str, str]:
        """Goes to where the working directory was, by its name, as ``cd "$PWD"`` does."""
        return {"cd": tried(lambda: os.chdir(f"{self.top}/src"))} | self.look()


def main() -> None:
    """Answers until the end of the input."""
    held = Held(sys.argv[1])
    print("holding", flush=True)  # noqa: T201
    for line in sys.stdin:
        answer = held.enter() if line.strip() == "enter" else held.look()
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
