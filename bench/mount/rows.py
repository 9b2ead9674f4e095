"""What a row of the table is, and what measures it.

A `Scenario` measures some rows at once, because they follow from one another: what is renamed was
created before. It is run for one peer after the other, round by round.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.mount.calls import Calls
from bench.mount.peers import Peer
from bench.mount.tree import Tree

DROP_CACHES = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True)
class Row:
    """One line of the table: what was done, and the unit that it is shown in."""

    name: str
    title: str
    unit: str
    """``µs``, ``ms`` or ``s``."""


@dataclass(frozen=True)
class Sizes:
    """How much is done in a round."""

    passes: int = 3
    names: int = 2_000
    large_mib: int = 1024
    random_calls: int = 20_000
    together: int = 8
    together_files: int = 2_000
    together_passes: int = 5
    latency_s: float = 5.0


QUICK = Sizes(
    passes=1, names=300, large_mib=256, random_calls=2_000, together_files=500, together_passes=2,
    latency_s=1.0,
)  # fmt: skip
TINY = Sizes(
    passes=1, names=20, large_mib=1, random_calls=50, together=3, together_files=50, together_passes=1,
    latency_s=0.1,
)  # fmt: skip


@dataclass(frozen=True)
class Work:
    """What a scenario works with."""

    tree: Tree
    room: Path
    calls: Calls
    sizes: Sizes
    names: Path
    """A file with the paths of all files of the tree, a line each."""
    some: Sequence[str]
    """The files that are read in places beside the first."""
    some_names: Path
    """A file with their paths."""


def make_work(tree: Tree, room: Path, sizes: Sizes) -> Work:
    """Compiles the program, and writes down the names that it is given."""
    some = tree.files[: sizes.together_files]
    names, some_names = room / "names", room / "some-names"
    names.write_text("".join(f"{name}\n" for name in tree.files))
    some_names.write_text("".join(f"{name}\n" for name in some))
    return Work(tree, room, Calls(room), sizes, names, some, some_names)


Measured = Mapping[str, float]
"""Seconds, by the name of the row."""


@dataclass(frozen=True)
class Scenario:
    """Some rows, and the function that measures them for a peer."""

    rows: tuple[Row, ...]
    measure: Callable[[Work, Peer], Measured]
    rounds_max: int = 1_000
    """Long ones are measured less often than the others."""
    needs: str | None = None
    """A program that this machine may lack; then the rows are left out."""


def drop_caches(what: int = 3) -> None:
    """Writes everything back and drops caches; 3: pages, names and inodes, 2: the last two."""
    os.sync()
    DROP_CACHES.write_text(f"{what}\n")


def timed(command: Sequence[str], within: Path, **environment: str) -> float:
    """Runs a program that must succeed; the seconds it took."""
    variables = {**os.environ, **environment}
    started = time.perf_counter()
    subprocess.run(
        command,
        cwd=within,
        env=variables,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def settled(peer: Peer) -> float:
    """Waits until what was written has arrived; the seconds it took."""
    started = time.perf_counter()
    peer.settle()
    return time.perf_counter() - started


def remove(place: Path) -> None:
    """Removes a directory with what is in it, if it is there."""
    if place.exists():
        shutil.rmtree(place)
