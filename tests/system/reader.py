# What the system call answers is what is tested.
# ruff: noqa: PTH208
"""A program that reads the same files again and again while main moves.

``python -m tests.system.reader OUT FILES DIRECTORY...`` reads until OUT's directory has a file
``stop``, and writes to OUT what it saw that can not be: a mixture, a cut, a size that is not the
content's, a file that is missing, a content older than one seen before.
"""

import contextlib
import errno
import json
import mmap
import os
import sys
from pathlib import Path


def body(generation: int, file: int) -> bytes:
    """What a landing puts into a file: another size each time, and told by its first line."""
    line = b"generation %d of %d\n" % (generation, file)
    return line * (1 + (generation * 7919 + file * 104729) % 4000)


class Reader:
    """Reads, compares, and remembers what was wrong."""

    def __init__(self, files: int, places: list[Path]) -> None:
        self.files = files
        self.places = places
        self.newest: dict[Path, int] = {}
        self.wrong: list[str] = []
        self.reads = 0
        self.generations: set[int] = set()

    def look(self, path: Path, file: int, how: int) -> None:
        """Reads a file in one of several ways."""
        self.reads += 1
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError as error:
            self.wrong.append(f"{path}: open: {errno.errorcode.get(error.errno or 0)}")
            return
        try:
            size = os.fstat(handle).st_size
            if how == 0:
                data = os.read(handle, size + 4096)
                while len(data) < size and (more := os.read(handle, 1 << 20)):
                    data += more
            elif how == 1:
                data = b""
                while more := os.read(handle, 3000):
                    data += more
            else:
                with mmap.mmap(handle, size, prot=mmap.PROT_READ) as mapped:
                    data = bytes(mapped)
            if len(data) != size or os.fstat(handle).st_size != size:
                self.wrong.append(f"{path}: {len(data)} bytes read, {size} told, way {how}")
        except OSError as error:
            self.wrong.append(f"{path}: read: {error}")
            return
        finally:
            os.close(handle)
        try:
            generation = int(data.split(b" ", 2)[1])
        except (IndexError, ValueError):
            self.wrong.append(f"{path}: begins with {data[:40]!r}")
            return
        if data != body(generation, file):
            self.wrong.append(f"{path}: {len(data)} bytes are not generation {generation}")
        if generation < self.newest.get(path, 0):
            self.wrong.append(f"{path}: {generation} after {self.newest[path]}")
        self.newest[path] = generation
        self.generations.add(generation)

    def list(self, place: Path) -> None:
        """Lists a directory, where all the files always are."""
        missing = {f"f{file}" for file in range(self.files)} - set(os.listdir(place))
        if missing:
            self.wrong.append(f"{place}: listed without {sorted(missing)}")


def main() -> None:
    """Reads until it is told to stop."""
    out = Path(sys.argv[1])
    reader = Reader(int(sys.argv[2]), [Path(place) for place in sys.argv[3:]])
    turn = 0
    with contextlib.suppress(KeyboardInterrupt):
        while not (out.parent / "stop").exists():
            for place in reader.places:
                for file in range(reader.files):
                    reader.look(place / f"d/f{file}", file, turn % 3)
                    turn += 1
                reader.list(place / "d")
    found = {
        "wrong": reader.wrong[:20],
        "reads": reader.reads,
        "generations": sorted(reader.generations),
    }
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
