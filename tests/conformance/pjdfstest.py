"""Runs pjdfstest in a workspace, as root: among tracked files, then among ignored ones.

``python -m tests.conformance.pjdfstest CHECKOUT DIRECTORY [TEST...]``; the checkout is built.
DIRECTORY is made and keeps what ``prove`` printed.
"""

import argparse
import os
import sys
from pathlib import Path

from tests.conformance.place import SCRATCH, finish, place_in, run, say

TIMEOUT_S = 3600.0


def main() -> int:
    """Runs the suite; the exit status says whether all of it passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, help="a built checkout of pjdfstest")
    parser.add_argument("directory", type=Path, help="a new directory to work in")
    parser.add_argument("tests", nargs="*", help="files or directories below its tests/")
    parser.add_argument("--only", choices=("tracked", "scratch"))
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("pjdfstest must be run as root: it changes users")
    tests = arguments.checkout.resolve() / "tests"
    wanted = [tests / name for name in arguments.tests] or [tests]
    directory = arguments.directory.resolve()
    failures = []
    with place_in(directory / "repository") as place:
        workspace = place.workspace("pjdfstest")
        for name, below in (("tracked", "."), ("scratch", SCRATCH)):
            if arguments.only in (None, name):
                log = directory / f"{name}.log"
                where = workspace / below / "pjdfstest"
                where.mkdir()
                status = run(["prove", "-r", *wanted], where, log, timeout_s=TIMEOUT_S)
                say(f"{name}: {' '.join(log.read_text().splitlines()[-2:])}")
                if status:
                    failures.append(f"{name}: prove ended with {status}; see {log}")
        return finish(place, failures)


if __name__ == "__main__":
    sys.exit(main())
