# The system calls and their errno are what is tested.
# ruff: noqa: PTH108
"""A program that does by a seed what `tests.fs.calls` knows, in a workspace and on disk.

``python -m tests.fs.worker apart SHOWN PLAIN SEED COUNT`` works in its own subdirectory of both and
compares each outcome; ``... together SHOWN PLAIN SEED COUNT`` works in SHOWN only, with others at the
same files, by what commutes: it counts in a file under a lock that is a file, appends whole records,
and makes and removes names of its own. What was wrong is printed as a JSON list.
"""

import json
import os
import random
import sys
from collections.abc import Sequence
from typing import TypeVar

from tests.fs.calls import CALLS, Caller, any_action
from tests.fs.describing import describe, differences
from tests.fs.test_differential import is_comparable

T = TypeVar("T")
RECORD = b"%08d of %08d\n"


class Seeded:
    """A seed as a `Chooser`."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def choose(self, options: Sequence[T]) -> T:
        return self._random.choice(options)

    def number(self, low: int, high: int) -> int:
        return self._random.randint(low, high)


def apart(shown: str, plain: str, seed: int, count: int) -> list[str]:
    """Does the same in two directories that nobody else uses; what was not alike."""
    chooser = Seeded(seed)
    sides = Caller(plain), Caller(shown)
    wrong = []
    for number in range(count):
        action = any_action(chooser, list(CALLS))
        if not is_comparable(action, sides[0]):
            continue
        expected, found = (side.do(action) for side in sides)
        if found != expected:
            wrong.append(f"{seed}/{number} {action}: shown {found!r}, on disk {expected!r}"[:600])
            break
    for side in sides:
        side.close_all()
    return wrong + differences(describe(shown), describe(plain))[:10]


def together(shown: str, seed: int, count: int) -> list[str]:
    """Counts, appends and makes names beside others that do; what was wrong at once."""
    wrong = []
    own = f"{shown}/only-{seed}"
    for number in range(count):
        _count_one(shown)
        with open(f"{shown}/records", "ab", buffering=0) as file:  # noqa: PTH123
            file.write(RECORD % (number, seed))
        os.close(os.open(own, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        if f"only-{seed}" not in os.listdir(shown):  # noqa: PTH208
            wrong.append(f"{own} is not listed though it is there")
        os.unlink(own)
    return wrong


def _count_one(shown: str) -> None:
    while True:
        try:
            lock = os.open(f"{shown}/lock", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            continue
        break
    os.close(lock)
    with open(f"{shown}/count", "r+b", buffering=0) as file:  # noqa: PTH123
        value = int(file.read() or b"0") + 1
        file.seek(0)
        file.write(b"%d" % value)
    os.unlink(f"{shown}/lock")


def main() -> None:
    """Works, and prints what was wrong."""
    how, shown, plain, seed, count = sys.argv[1:]
    if how == "apart":
        wrong = apart(shown, plain, int(seed), int(count))
    else:
        wrong = together(shown, int(seed), int(count))
    sys.stdout.write(json.dumps(wrong))


if __name__ == "__main__":
    main()
