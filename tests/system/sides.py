# What the system call answers is what is tested.
"""Programs that edit the same files from several workspaces of one change, and some that read them.

``python -m tests.system.sides write OUT SEED FILES ATOMIC WORKSPACE OTHER...`` edits one file after the other:
in place, shrinking, growing, a few bytes, through a temporary file (only so if ATOMIC is 1), and
looks in the other places at once. ``... read OUT SEED FILES PLACE...`` reads them in every way it knows.
Both go on until OUT's directory has a file ``stop``, and write what they saw that can not be to OUT.

A file says how long it is, which save it is of, and what the hash of the rest is, so that a mixture
or a cut of two saves is seen whatever they were. Writers take turns on a file by a lock outside.
"""

import fcntl
import hashlib
import json
import mmap
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HEAD = 100
SIZES = [0, 1, 3_000, 4_096 - HEAD, 60_000, 300_000, 2_500_000]


def content(serial: int, rest: bytes) -> bytes:
    """A save: its head tells of the rest."""
    head = b"%d %d %s" % (serial, len(rest), hashlib.sha256(rest).hexdigest().encode())
    return head.ljust(HEAD - 1) + b"\n" + rest


def serial_of(data: bytes) -> int:
    """Which save a file is of.

    Raises:
        ValueError: it is none, but a mixture or a part.
    """
    serial, length, digest = data[:HEAD].split()
    if len(data) != HEAD + int(length):
        raise ValueError(f"{len(data)} bytes of a save of {HEAD + int(length)}")
    if hashlib.sha256(data[HEAD:]).hexdigest() != digest.decode():
        raise ValueError(f"not what save {int(serial)} wrote")
    return int(serial)


class Side:
    """What both kinds have."""

    def __init__(self, out: Path, seed: int, files: int) -> None:
        self.out = out
        self.chance = random.Random(seed)
        self.files = [f"s{number}" for number in range(files)]
        self.wrong: list[str] = []
        self.count = 0

    def is_over(self) -> bool:
        """Whether to stop."""
        return (self.out.parent / "stop").exists()

    def tell(self) -> None:
        """Writes what was seen."""
        self.out.write_text(json.dumps({"wrong": self.wrong[:20], "count": self.count}))


class Writer(Side):
    """Edits in one workspace."""

    def __init__(
        self, out: Path, seed: int, files: int, workspace: Path, others: list[Path], *, atomic: bool
    ) -> None:
        super().__init__(out, seed, files)
        self.workspace = workspace
        self.others = others
        self.atomic = atomic

    @contextmanager
    def _turn(self, name: str) -> Iterator[int]:
        """Takes a file's lock; gives the number of the next save."""
        with (self.out.parent / f"{name}.turn").open("a+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.seek(0)
            serial = int(lock.read() or b"0") + 1
            lock.truncate(0)
            lock.write(b"%d" % serial)
            lock.flush()
            yield serial

    def edit(self) -> None:
        """Makes one save, and finds it everywhere."""
        name = self.chance.choice(self.files)
        with self._turn(name) as serial:
            path = self.workspace / name
            old = path.read_bytes()
            if serial_of(old) != serial - 1:
                self.wrong.append(f"{path}: save {serial_of(old)} is there after {serial - 1}")
            rest = self._rest(serial, old[HEAD:])
            self._save(path, content(serial, rest), len(old))
            with self._turn("log"), (self.workspace / "log").open("ab") as log:
                log.write(b"%s %d %d\n" % (name.encode(), serial, os.getpid()))
            for place in self.others:
                shown = (place / name).read_bytes()
                try:
                    found = serial_of(shown)
                except ValueError as error:
                    self.wrong.append(f"{place / name}: after save {serial}: {error}")
                    continue
                if found != serial or (place / name).stat().st_size != len(shown):
                    self.wrong.append(f"{place / name}: save {found} is shown after {serial}")
        self.count += 1

    def _rest(self, serial: int, old: bytes) -> bytes:
        if old and self.chance.random() < 0.4:
            at = self.chance.randrange(len(old))
            return old[:at] + b"%d" % serial + old[at + 3 :]
        return self.chance.randbytes(self.chance.choice(SIZES))

    def _save(self, path: Path, data: bytes, old_size: int) -> None:
        how = 3 if self.atomic else self.chance.randrange(4)
        if how == 0:
            path.write_bytes(data)
        elif how == 1:
            # In place, in pieces; what is longer is cut at the end, or before.
            with path.open("r+b", buffering=0) as file:
                if self.chance.random() < 0.5:
                    file.truncate(len(data))
                for start in range(0, len(data), 100_000):
                    file.write(data[start : start + 100_000])
                file.truncate(len(data))
        elif how == 2 and 0 < len(data) == old_size:
            with path.open("r+b") as opened, mmap.mmap(opened.fileno(), len(data)) as mapped:
                mapped[:] = data
                mapped.flush()
        else:
            temporary = path.with_name(f"{path.name}.{os.getpid()}~")
            temporary.write_bytes(data)
            temporary.rename(path)


class Reader(Side):
    """Reads in all places."""

    def __init__(self, out: Path, seed: int, files: int, places: list[Path]) -> None:
        super().__init__(out, seed, files)
        self.places = places
        self.newest: dict[Path, int] = {}
        self.logs: dict[Path, bytes] = {}
        self.held: list[tuple[int, int, Path]] = []

    def look(self) -> None:
        """Reads a file in one of several ways."""
        place = self.chance.choice(self.places)
        way = self.chance.randrange(6)
        self.count += 1
        if way == 4:
            self._list(place)
        elif way == 5:
            self._tail(place)
        else:
            self._read(place / self.chance.choice(self.files), way)

    def _read(self, path: Path, way: int) -> None:
        fd = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(fd).st_size
            if way == 0:
                data = os.pread(fd, size + 1, 0)
            elif way == 1:
                data = b""
                while more := os.read(fd, 3_000 if size < 100_000 else 100_000):
                    data += more
            elif way == 2:
                with mmap.mmap(fd, size, prot=mmap.PROT_READ) as mapped:
                    data = bytes(mapped)
            else:
                data = path.read_bytes()
                size = len(data)
            serial = serial_of(data)
            if len(data) != size:
                self.wrong.append(f"{path}: {len(data)} bytes of {size}, way {way}")
            if serial < self.newest.get(path, 0):
                self.wrong.append(f"{path}: save {serial} after {self.newest[path]}, way {way}")
            self.newest[path] = serial
            if way < 3:
                self._hold(os.dup(fd), serial, path)
        except ValueError as error:
            self.wrong.append(f"{path}: {error}, way {way}")
        finally:
            os.close(fd)

    def _hold(self, fd: int, serial: int, path: Path) -> None:
        """Keeps some files open for a while: each stays the save that it was."""
        self.held.append((fd, serial, path))
        if len(self.held) > 8:
            old, before, where = self.held.pop(self.chance.randrange(8))
            size = os.fstat(old).st_size
            try:
                found = serial_of(os.pread(old, size + 1, 0))
                if found < before:
                    self.wrong.append(f"{where}: held as save {before}, now {found}")
            except ValueError as error:
                self.wrong.append(f"{where}: held as save {before}: {error}")
            os.close(old)

    def _list(self, place: Path) -> None:
        """Lists, then opens what was listed; none may be missing, and sizes are the contents'."""
        with os.scandir(place) as entries:
            found = {entry.name: entry for entry in entries}
        if missing := set(self.files) - found.keys():
            self.wrong.append(f"{place}: listed without {sorted(missing)}")
        for name in self.files[:3]:
            try:
                serial_of((place / name).read_bytes())
            except ValueError as error:
                self.wrong.append(f"{place / name}: listed, then {error}")

    def _tail(self, place: Path) -> None:
        """Reads what was appended: whole lines, behind those of before."""
        data, before = (place / "log").read_bytes(), self.logs.get(place, b"")
        if not data.startswith(before) or (data and not data.endswith(b"\n")):
            self.wrong.append(f"{place / 'log'}: {len(data)} bytes do not go on from {len(before)}")
        self.logs[place] = data


def main() -> None:
    """Runs a writer or a reader until it is told to stop."""
    kind, out, seed, files, *rest = sys.argv[1:]
    if kind == "write":
        atomic, workspace, *others = rest
        writer = Writer(
            Path(out),
            int(seed),
            int(files),
            Path(workspace),
            [Path(other) for other in others],
            atomic=atomic == "1",
        )
        while not writer.is_over():
            writer.edit()
        writer.tell()
    else:
        reader = Reader(Path(out), int(seed), int(files), [Path(place) for place in rest])
        while not reader.is_over():
            reader.look()
        reader.tell()


if __name__ == "__main__":
    main()
