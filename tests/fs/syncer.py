"""Programs that fsync, and say outside what they may rely on from then on.

``python -m tests.fs.syncer WORKSPACE NOTES SEED`` writes until it gets an error. Rows of NOTES are
``["will", PATH, STATE]`` before something is done to a path, ``["is", PATH, STATE]`` once a call
returned that makes it durable. A state is a digest and the mode's executable bit, a link's target, or
null for nothing. Until the next ``is``, a beginning may be there of the bytes that ``["cuts", PATH, TAG,
SIZE]`` says: an ignored file lies on the disk below as it is, and one that is open for long is logged
as far as it is written. What is appended to, and databases, have rows of their own:
``["lines", PATH, N]`` and ``["rows", PATH, N]``.
"""

import contextlib
import json
import mmap
import os
import random
import sqlite3
import sys
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

State = list[Any] | None
LINE_BYTES = 64


def line(path: str, number: int) -> bytes:
    """A line that is appended; always as long."""
    return f"{path} {number}".encode().ljust(LINE_BYTES - 1, b".") + b"\n"


def state_of(place: Path) -> State:
    """What is at a place, as the notes say it."""
    try:
        status = place.lstat()
    except FileNotFoundError:
        return None
    if place.is_symlink():
        return ["link", str(place.readlink())]
    return [sha256(place.read_bytes()).hexdigest(), bool(status.st_mode & 0o100)]


def bytes_of(tag: int, size: int) -> bytes:
    """The bytes that two numbers stand for."""
    return random.Random(tag).randbytes(size)


def _file(content: bytes, *, executable: bool = False) -> State:
    return [sha256(content).hexdigest(), executable]


def sync_directory(place: Path) -> None:
    """fsync(2) on a directory."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Syncer:
    """One program: a directory of its own, and one way of saving after the other."""

    def __init__(self, workspace: Path, name: str, notes: int, seed: int) -> None:
        self.workspace = workspace
        self.name = name
        self.notes = notes
        self.chance = random.Random(seed)
        self.tag = f"{seed}"
        self.number = 0
        self.lines: dict[str, int] = {}
        self.commits: dict[str, int] = {}
        (workspace / name).mkdir(exist_ok=True)
        sync_directory(workspace)

    def note(self, *row: Any) -> None:
        """Says something outside; rows are whole, whoever else writes."""
        os.write(self.notes, json.dumps(row).encode() + b"\n")

    def place(self, path: str) -> Path:
        """Where a path is."""
        return self.workspace / path

    def content(self, size_max: int = 30_000) -> bytes:
        """New bytes."""
        return self.chance.randbytes(self.chance.randrange(size_max))

    def new(self, directory: str = "") -> str:
        """A path that nothing has."""
        self.number += 1
        above = f"{self.name}/{directory}".rstrip("/")
        return f"{above}/n{self.tag}-{self.number}"

    def save(self, path: str, content: bytes) -> None:
        """Writes a file and makes it and its name durable."""
        self.note("will", path, _file(content))
        with self.place(path).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(self.place(path).parent)
        self.note("is", path, _file(content))

    def replace(self) -> None:
        """The editors' and databases' way: temporary file, fsync, rename, fsync of the directory."""
        path = f"{self.name}/replaced{self.chance.randrange(3)}"
        content = self.content()
        self.note("will", path, _file(content))
        temporary = self.place(f"{path}.tmp")
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.place(path))
        sync_directory(self.place(self.name))
        self.note("is", path, _file(content))

    def in_place(self) -> None:
        """Overwrites a file without cutting it; fdatasync."""
        path = f"{self.name}/inplace{self.chance.randrange(3)}"
        if not self.place(path).exists():
            self.save(path, bytes(20_000))
            return
        content = self.chance.randbytes(20_000)
        self.note("will", path, _file(content))
        descriptor = os.open(self.place(path), os.O_RDWR)
        try:
            os.pwrite(descriptor, content, 0)
            os.fdatasync(descriptor)
            self.note("is", path, _file(content))
        finally:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def unsynced(self) -> None:
        """Saves and does not care: the file may be as before or as now, but not anything else."""
        path = f"{self.name}/careless{self.chance.randrange(5)}"
        content = self.content(100_000)
        self.note("will", path, _file(content))
        temporary = self.place(f"{path}.tmp")
        temporary.write_bytes(content)
        temporary.rename(self.place(path))

    def append(self) -> None:
        """A log: a line, fsync, a line, fsync."""
        path = f"{self.name}/journal{self.chance.choice(['', '.log'])}"
        count = self.lines.get(path, 0)
        with self.place(path).open("ab", buffering=0) as file:
            for _ in range(3):
                file.write(line(path, count))
                count += 1
                os.fsync(file.fileno())
                self.note("lines", path, count)
        self.lines[path] = count

    def synchronous(self) -> None:
        """O_DSYNC and O_SYNC: each write is durable when it returns."""
        path = f"{self.name}/sync-{self.chance.choice('ab')}"
        count = self.lines.get(path, 0)
        flag = os.O_DSYNC if path.endswith("a") else os.O_SYNC
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | flag
        descriptor = os.open(self.place(path), flags, 0o644)
        try:
            for _ in range(3):
                rest = line(path, count)
                while rest:
                    # A write that crosses a page may be cut there when the power goes.
                    rest = rest[os.write(descriptor, rest) :]
                count += 1
                self.note("lines", path, count)
        finally:
            os.close(descriptor)
        self.lines[path] = count

    def nested(self) -> None:
        """A new file in new directories, each synced."""
        top = self.new()
        for directory in (top, f"{top}/build" if self.chance.random() < 0.4 else f"{top}/b"):
            self.place(directory).mkdir()
            sync_directory(self.place(directory).parent)
        self.save(f"{directory}/file", self.content())

    def link(self) -> None:
        """A second name of a file, then the first one goes."""
        path, other = self.new(), self.new()
        content = self.content()
        self.save(path, content)
        self.note("will", other, _file(content))
        os.link(self.place(path), self.place(other))
        sync_directory(self.place(self.name))
        self.note("is", other, _file(content))
        self.note("will", path, None)
        self.place(path).unlink()
        sync_directory(self.place(self.name))
        self.note("is", path, None)

    def rename(self) -> None:
        """A file moves, then a directory with it."""
        directory, moved = self.new(), self.new()
        self.place(directory).mkdir()
        content = self.content()
        self.save(f"{directory}/f", content)
        for path, state in ((f"{directory}/f", None), (f"{moved}/f", _file(content))):
            self.note("will", path, state)
        self.place(directory).rename(self.place(moved))
        sync_directory(self.place(self.name))
        for path, state in ((f"{directory}/f", None), (f"{moved}/f", _file(content))):
            self.note("is", path, state)

    def big(self) -> None:
        """More than a thread is needed for, and perhaps longer than a file is quiet."""
        path = f"{self.name}/big{self.chance.randrange(2)}"
        tag, size = self.chance.randrange(1 << 30), 3 << 20
        self.note("cuts", path, tag, size)
        self.save(path, bytes_of(tag, size))

    def mode(self) -> None:
        """An executable file, its bit set before the fsync."""
        path = self.new()
        content = self.content()
        self.note("will", path, _file(content))
        self.note("will", path, _file(content, executable=True))
        with self.place(path).open("wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o755)
            os.fsync(file.fileno())
            self.note("is", path, _file(content, executable=True))

    def symlink(self) -> None:
        """A symbolic link, and its directory synced."""
        path = self.new()
        self.note("will", path, ["link", self.tag])
        self.place(path).symlink_to(self.tag)
        sync_directory(self.place(self.name))
        self.note("is", path, ["link", self.tag])

    def mapped(self) -> None:
        """A shared mapping and msync."""
        path = self.new()
        self.save(path, bytes(16_384))
        content = self.chance.randbytes(16_384)
        self.note("will", path, _file(content))
        with self.place(path).open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
            mapping[:] = content
            mapping.flush()
            self.note("is", path, _file(content))

    def ignored(self) -> None:
        """What the log does not have is durable too."""
        path = f"{self.name}/x{self.chance.randrange(3)}.log"
        tag, size = self.chance.randrange(1 << 30), self.chance.randrange(30_000)
        self.note("cuts", path, tag, size)
        self.save(path, bytes_of(tag, size))

    def database(self) -> None:
        """SQLite, in the log and out of it, with a rollback journal and a write-ahead log."""
        kind = self.chance.choice(["delete", "wal", "delete.log", "wal.log"])
        path = f"{self.name}/db-{kind}"
        count = self.commits.get(path, 0)
        with contextlib.closing(sqlite3.connect(self.place(path), isolation_level=None)) as db:
            db.execute(f"PRAGMA journal_mode = {kind.split('.')[0]}")
            db.execute("PRAGMA synchronous = EXTRA")
            db.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, x BLOB)")
            for _ in range(3):
                db.execute("INSERT INTO t (x) VALUES (?)", (self.content(3000),))
                count += 1
                self.note("rows", path, count)
        self.commits[path] = count

    def work(self) -> None:
        """Saves one way or another until something fails."""
        ways: list[Callable[[], None]] = [
            self.replace,
            self.in_place,
            self.unsynced,
            self.unsynced,
            self.append,
            self.synchronous,
            self.nested,
            self.link,
            self.rename,
            self.big,
            self.mode,
            self.symlink,
            self.mapped,
            self.ignored,
            self.database,
        ]
        with contextlib.suppress(OSError, sqlite3.Error):
            while True:
                self.chance.choice(ways)()


def main() -> None:
    """Runs three programs at once."""
    notes = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    workspace, seed = Path(sys.argv[1]), int(sys.argv[3])
    syncers = [Syncer(workspace, f"p{n}-{seed}", notes, seed * 10 + n) for n in range(3)]
    threads = [threading.Thread(target=syncer.work, daemon=True) for syncer in syncers]
    for thread in threads:
        thread.start()
    os.write(1, b"at work\n")
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
