"""Runs fsx of xfstests in a workspace: each write is remembered, and each read compared with it.

``python -m tests.conformance.fsx PROGRAM DIRECTORY [--operations N]``. N operations among tracked
files and as many among ignored ones, by several fsx at once, each with other habits. DIRECTORY is
made and keeps what they printed.
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conformance.place import SCRATCH, finish, place_in, run, say

OPERATIONS = 1_000_000
TIMEOUT_S = 6 * 3600.0
HABITS: dict[str, tuple[str, ...]] = {
    "everything": (),
    "closing": ("-c", "200"),
    "syncing": ("-y", "-f", "-c", "1000"),
    "no-mapping": ("-R", "-W"),
    "no-fallocate": ("-F", "-H", "-z", "-E"),
    "plain": ("-R", "-W", "-F", "-H", "-z", "-E"),
    "pages": ("-r", "4096", "-w", "4096", "-t", "4096", "-l", "4194304", "-o", "1048576"),
    "beyond-the-end": ("-e", "1"),
}
"""What each fsx does beside reading, writing and cutting: by default maps, allocates, punches."""


def main() -> int:
    """Runs all; the exit status says whether nothing differed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path, help="ltp/fsx of a built checkout of xfstests")
    parser.add_argument("directory", type=Path, help="a new directory to work in")
    parser.add_argument("--operations", type=int, default=OPERATIONS)
    parser.add_argument("--jobs", type=int, default=4, help="how many fsx run at once")
    parser.add_argument("--habit", choices=HABITS, action="append", help="only this one")
    parser.add_argument("--only", choices=("tracked", "scratch"))
    arguments = parser.parse_args()
    program = arguments.program.resolve()
    directory = arguments.directory.resolve()
    habits = arguments.habit or list(HABITS)
    count = -(-arguments.operations // len(habits))
    failures = []
    with place_in(directory / "repository") as place:
        workspace = place.workspace("fsx")
        for kind, below in (("tracked", "."), ("scratch", SCRATCH)):
            if arguments.only not in (None, kind):
                continue

            def one(habit: str, kind: str = kind, below: str = below) -> str | None:
                kept = directory / kind / habit
                kept.mkdir(parents=True)
                command: list[str | Path] = [program, "-q", "-N", str(count), "-P", kept]
                command += ["-S", str(1 + list(HABITS).index(habit)), *HABITS[habit]]
                log = directory / f"{kind}-{habit}.log"
                file = f"{habit}.fsx"
                status = run([*command, file], workspace / below, log, timeout_s=TIMEOUT_S)
                say(f"{kind} {habit}: {count} operations, exit status {status}")
                return f"{kind} {habit}: exit status {status}; see {log}" if status else None

            with ThreadPoolExecutor(arguments.jobs) as pool:
                failures += [failure for failure in pool.map(one, habits) if failure]
        return finish(place, failures)


if __name__ == "__main__":
    sys.exit(main())
