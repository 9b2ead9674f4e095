"""Runs fsstress of xfstests in a workspace: every call there is, in random order, by many.

``python -m tests.conformance.fsstress PROGRAM DIRECTORY [--operations N]``. fsstress itself checks
nothing; afterwards the log, the mount and the mount of the next daemon are compared. N operations
among tracked files and as many among ignored ones.
"""

import argparse
import sys
from pathlib import Path

from tests.conformance.place import SCRATCH, finish, place_in, run, say

OPERATIONS = 1_000_000
OPERATIONS_A_TREE = 10_000
"""Each process starts anew in an empty workspace after so many: trees grow without end."""
TIMEOUT_S = 6 * 3600.0
WITHOUT = ("-f", "sync=0")
"""sync(2) is for every filesystem of the machine and nothing to us."""


def main() -> int:
    """Runs all; the exit status says whether everything is sound afterwards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path, help="ltp/fsstress of a built checkout of xfstests")
    parser.add_argument("directory", type=Path, help="a new directory to work in")
    parser.add_argument("--operations", type=int, default=OPERATIONS)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=("tracked", "scratch"))
    arguments = parser.parse_args()
    program = arguments.program.resolve()
    directory = arguments.directory.resolve()
    processes = arguments.processes
    failures = []
    with place_in(directory / "repository") as place:
        for kind in ("tracked", "scratch"):
            if arguments.only not in (None, kind):
                continue
            log = directory / f"{kind}.log"
            left, seed = arguments.operations, arguments.seed
            while left > 0:
                each = min(OPERATIONS_A_TREE, -(-left // processes))
                workspace = place.workspace(f"fsstress {kind} {seed}")
                tree = workspace / (SCRATCH if kind == "scratch" else "stress")
                tree.mkdir(exist_ok=True)
                command: list[str | Path] = [program, "-d", tree, "-s", str(seed)]
                command += ["-p", str(processes), "-n", str(each), *WITHOUT]
                status = run(command, directory, log, timeout_s=TIMEOUT_S)
                left -= each * processes
                say(f"{kind}: seed {seed}, {each * processes} operations, exit status {status}")
                if status:
                    failures.append(f"{kind}: seed {seed} ended with {status}; see {log}")
                seed += 1
        return finish(place, failures)


if __name__ == "__main__":
    sys.exit(main())
