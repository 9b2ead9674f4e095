"""What durability costs: fsync beside ext4's, with and without others' unsynced saves, and verifying.

Both directories are on one ext4, made in a file on a loop device; it takes root. A save is a write
of 4 KiB to a file that is there, in place, and a close; an fsync comes before the close. Reading is
open, read and close of each of a number of files that the kernel has not cached for the mount, first
when the daemon has not read them since its start, then in another view, when it has.
"""

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.options import Options
from bench.project import PATCHWORK
from bench.targets import Ratios

SAVES = 300
FILES = 2_000
FILE_BYTES = 10_000
DISK_BYTES = 2 << 30


def main(_: Options) -> Ratios:
    """Prints the tables."""
    room = Path(tempfile.mkdtemp(prefix="patchwork-bench-"))
    place = room / "disk"
    place.mkdir()
    image = room / "image"
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    try:
        measure(place)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
        shutil.rmtree(room)
    return {}


def measure(disk: Path) -> None:
    """Measures in a project on a disk, and in a directory beside it."""
    project, plain = disk / "project", disk / "plain"
    project.mkdir()
    plain.mkdir()
    for number in range(FILES):
        (project / f"f{number}").write_bytes(os.urandom(FILE_BYTES))

    def patchwork(*arguments: str) -> bytes:
        done = subprocess.run(
            [PATCHWORK, *arguments], cwd=project, check=True, stdout=subprocess.PIPE
        )
        return done.stdout

    patchwork("init")
    patchwork("change", "create", "Work")
    patchwork("workspace", "create", "work", str(disk / "ws"))
    try:
        workspace = disk / "ws"
        print("| per save, ms | median | 95 % |")
        print("| --- | --- | --- |")
        row("ext4, close", lambda number: save(plain / f"s{number % 20}"))
        row("workspace, close", lambda number: save(workspace / f"s{number % 20}"))
        row("ext4, fsync and close", lambda number: save(plain / f"s{number % 20}", sync=True))
        row(
            "workspace, fsync and close",
            lambda number: save(workspace / f"s{number % 20}", sync=True),
        )
        for others in (10, 100):
            for name, directory in (("ext4", plain), ("workspace", workspace)):
                row(
                    f"{name}, fsync after {others} other saves",
                    partial(save_synced, directory),
                    before=partial(save_others, directory, others),
                    rounds=30,
                )
        print()
        print("| reading once, µs a file | |")
        print("| --- | --- |")
        patchwork("serve", "--stop")
        status = json.loads(patchwork("status", "--json"))
        main_directory = Path(status["daemon"]["mount"]) / "main"
        print(f"| first time after a start: verified | {read_all(workspace):.0f} |")
        print(f"| in another view: known to be good | {read_all(main_directory):.0f} |")
    finally:
        patchwork("serve", "--stop")


def row(
    name: str,
    act: Callable[[int], None],
    *,
    before: Callable[[int], None] | None = None,
    rounds: int = SAVES,
) -> None:
    """Times something and prints a row."""
    times = []
    for number in range(rounds):
        if before is not None:
            before(number)
        started = time.perf_counter()
        act(number)
        times.append((time.perf_counter() - started) * 1000)
    high = statistics.quantiles(times, n=20)[-1]
    print(f"| {name} | {statistics.median(times):.2f} | {high:.2f} |", flush=True)


def save(path: Path, *, sync: bool = False) -> None:
    """Writes 4 KiB at a file's start."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, os.urandom(4096))
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_synced(directory: Path, _: int) -> None:
    """One save that is synced."""
    save(directory / "synced", sync=True)


def save_others(directory: Path, number: int, _: int) -> None:
    """Saves that nobody syncs."""
    for index in range(number):
        save(directory / f"other{index}")


def read_all(workspace: Path) -> float:
    """Reads every file once; microseconds a file."""
    started = time.perf_counter()
    for number in range(FILES):
        (workspace / f"f{number}").read_bytes()
    return (time.perf_counter() - started) * 1e6 / FILES
