"""Merging one file: ours, a ``git merge-file`` process, and libgit2's own merge, in the same run.

Machines differ and are noisy; the ratios of one run are what holds.
"""

import statistics
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pygit2
from pygit2.enums import FileMode

from bench.options import Options
from bench.targets import Ratios
from pwfs.merge import merge_text, render

SEED = 20_000
WORKLOADS = ((200, 3), (200, 6), (2_000, 3), (2_000, 54), (20_000, 3), (20_000, 541))
"""Lines of the base, and edits on each side."""

ROUNDS = 31


def main(_: Options) -> Ratios:
    """Prints a table of medians, in milliseconds, and what the others take compared with ours."""
    columns = ("lines", "edits a side", "conflicts", "ours", "git", "libgit2", "git/ours")
    print("merging one file; medians of", ROUNDS, "rounds, in ms")
    print("".join(f"{name:>14}" for name in (*columns, "libgit2/ours")))
    for lines, edits in WORKLOADS:
        base, theirs, yours = _contents(lines, edits)
        conflicts = len(merge_text(base=base, theirs=theirs, yours=yours).conflicts)
        with TemporaryDirectory() as name:
            ours, git, libgit2 = _medians_ms(
                partial(_ours, base, theirs, yours),
                _git(Path(name), base, theirs, yours),
                _libgit2(Path(name), base, theirs, yours),
            )
        row = (lines, edits, conflicts, f"{ours:.2f}", f"{git:.2f}", f"{libgit2:.2f}")
        ratios = (f"{git / ours:.1f}", f"{libgit2 / ours:.1f}")
        print("".join(f"{cell:>14}" for cell in (*row, *ratios)))
    return {}


def _contents(lines: int, edits: int) -> tuple[bytes, bytes, bytes]:
    """Makes a base of lines of which a third repeat, and two sides with edits at random places."""
    rng = Random(SEED)
    common = [b"", b"    }", b"    return result", b"{"]
    base = [
        rng.choice(common) if rng.random() < 1 / 3 else b"    value_%d = compute(%d)" % (n, n)
        for n in range(lines)
    ]
    sides = []
    for side in (b"theirs", b"yours"):
        edited = list(base)
        for at in sorted(rng.sample(range(lines), edits), reverse=True):
            edited[at : at + rng.randrange(3)] = [b"    %b_%d" % (side, at)] * rng.randrange(3)
        sides.append(edited)
    base_text, theirs, yours = (b"\n".join(text) + b"\n" for text in (base, *sides))
    return base_text, theirs, yours


def _ours(base: bytes, theirs: bytes, yours: bytes) -> bytes:
    merge = merge_text(base=base, theirs=theirs, yours=yours)
    return render(merge, theirs_label="theirs", yours_label="yours")


def _git(directory: Path, base: bytes, theirs: bytes, yours: bytes) -> Callable[[], object]:
    """Prepares git's files outside of the measured time; a process per merge is inside."""
    for name, content in (("base", base), ("theirs", theirs), ("yours", yours)):
        (directory / name).write_bytes(content)
    command = ["git", "merge-file", "-p", "-q", "--zdiff3", "theirs", "base", "yours"]
    return lambda: subprocess.run(
        command, cwd=directory, stdout=subprocess.DEVNULL, check=False, close_fds=False
    )


def _libgit2(directory: Path, base: bytes, theirs: bytes, yours: bytes) -> Callable[[], object]:
    """Prepares blobs outside of the measured time; reading them is inside."""
    repository = pygit2.init_repository(str(directory / "repository"), bare=True)
    ancestor, first, second = (
        pygit2.IndexEntry("file", repository.create_blob(content), FileMode.BLOB)
        for content in (base, theirs, yours)
    )
    return lambda: repository.merge_file_from_index(ancestor, first, second)


def _medians_ms(*actions: Callable[[], object]) -> list[float]:
    """Measures actions in turn, so that a slow moment of the machine strikes all of them."""
    times_s: list[list[float]] = [[] for _ in actions]
    for _ in range(ROUNDS):
        for action, times in zip(actions, times_s, strict=True):
            start_s = time.perf_counter()
            action()
            times.append(time.perf_counter() - start_s)
    return [statistics.median(times) * 1000 for times in times_s]
