# Plain calls: listings are what is tested.
# ruff: noqa: PTH208
"""Listings while names come and go everywhere: exact after each answer, and never torn."""

import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.fs.conftest import Mounted
from tests.support.dirents import OpenDirectory

SECONDS = 120.0 if os.environ.get("PATCHWORK_SOAK") == "1" else 6.0
STAY_COUNTS = (4, 120, 430)
"""Names that stay, a directory each: less than a page, some pages, some answers."""
LISTERS = 4
COME_MAX = 40
BUFFERS_BYTES = (300, 2048, 32768)

pytestmark = pytest.mark.timeout(180)


class Storm:
    """Some threads that change a directory each, and others that list them all."""

    def __init__(self, places: list[Path], writable: int, seed: int) -> None:
        self.places = places
        self.writable = places[:writable]
        self.seed = seed
        self.stay = {
            f"d{count}": {f"stay-{number}" for number in range(count)} for count in STAY_COUNTS
        }
        self.problems: list[str] = []
        self.counts: dict[str, int] = {}
        self._end = time.monotonic() + SECONDS

    def prepare(self) -> None:
        """Makes the directories with what stays in them."""
        for name, stay in self.stay.items():
            (self.places[0] / name).mkdir()
            for file in stay:
                (self.places[0] / name / file).touch()

    def run(self) -> None:
        """Runs all threads to the end; raises what one of them raised."""
        jobs = [
            *(partial(self._change, name) for name in self.stay),
            *(partial(self._list, number) for number in range(LISTERS)),
        ]
        with ThreadPoolExecutor(len(jobs)) as threads:
            for future in [threads.submit(job) for job in jobs]:
                future.result()

    def _going_on(self, what: str) -> Iterator[None]:
        while time.monotonic() < self._end and not self.problems:
            self.counts[what] = self.counts.get(what, 0) + 1
            yield

    # Those who change a directory

    def _change(self, name: str) -> None:
        chance = random.Random(f"{self.seed} {name}")
        names = set(self.stay[name])
        with ExitStack() as stack:
            held = [OpenDirectory(place / name) for place in self.places]
            for directory in held:
                stack.callback(directory.close)
            for _ in self._going_on(name):
                done = self._change_once(chance.choice(self.writable) / name, names, chance)
                for place, directory in zip(self.places, held, strict=True):
                    self._check(
                        f"{place.name}/{name} after {done}", os.listdir(place / name), names
                    )
                    self._check(
                        f"{place.name}/{name}, open, after {done}", directory.names(), names
                    )

    def _change_once(self, directory: Path, names: set[str], chance: random.Random) -> str:
        came = sorted(names - self.stay[directory.name])
        new = f"came-{chance.randrange(10**6)}"
        kind = chance.choice(("make", "link", "rename", "replace", "remove"))
        if not came or (kind in ("make", "link") and len(came) < COME_MAX):
            if kind == "link":
                (directory / new).symlink_to("stay-0")
            else:
                (directory / new).write_text(new)
            names.add(new)
            return f"making {new}"
        old = chance.choice(came)
        if kind == "rename":
            (directory / old).rename(directory / new)
            names.add(new)
        elif kind == "replace" and len(came) > 1:
            (directory / old).rename(directory / next(name for name in came if name != old))
        else:
            (directory / old).unlink()
        names.discard(old)
        return f"{kind} of {old}"

    def _check(self, what: str, found: list[str], names: set[str]) -> None:
        if len(found) != len(names) or set(found) != names:
            self.problems.append(f"{what}: {set(found) ^ names}, {len(found)} for {len(names)}")

    # Those who list all directories

    def _list(self, number: int) -> None:
        chance = random.Random(f"{self.seed} {number}")
        for _ in self._going_on(f"lister {number}"):
            place, (name, stay) = chance.choice(self.places), chance.choice(list(self.stay.items()))
            directory = OpenDirectory(place / name)
            try:
                found = self._found(directory, chance)
            finally:
                directory.close()
            if found is None:
                continue
            twice = len(found) - len(set(found))
            missing = stay - set(found)
            strange = {n for n in found if not n.startswith((".", "stay-", "came-"))}
            if twice or missing or strange:
                self.problems.append(f"{place.name}/{name}: {twice}, {missing}, {strange}")

    def _found(self, directory: OpenDirectory, chance: random.Random) -> list[str] | None:
        """Lists a directory, in parts of some size, coming back to some positions; or not whole."""
        size_bytes = chance.choice(BUFFERS_BYTES)
        found: list[str] = []
        position = 0
        leaves = chance.random() < 0.2
        while some := directory.some(size_bytes):
            if leaves:
                return None
            if chance.random() < 0.1:
                # What follows is given anew, from where it was.
                directory.seek(position)
                continue
            found += [entry.name for entry in some]
            position = some[-1].position
        return found


@pytest.mark.parametrize("how", ["kept", "opened"])
def test_names_that_stay_and_names_that_come(
    mounted: Mounted, how: str, request: pytest.FixtureRequest
) -> None:
    """None that stays is ever missing or double, and after each answer all listings are exact."""
    if how == "opened":
        mounted.stop()
        mounted.arguments = ["--opendir"]
        mounted.start()
    first, second = mounted.workspace(), mounted.workspace_on("work")
    mounted.call("create_view", "v", owner="tester", base="latest", overlays=["work"])
    storm = Storm(
        [first, second, mounted.mountpoint / "views/v"],
        writable=2,
        seed=int(request.config.getoption("hypothesis_seed")),
    )
    storm.prepare()
    mounted.call("barrier")
    storm.run()
    assert storm.problems == []
    assert len(storm.counts) == len(STAY_COUNTS) + LISTERS, storm.counts
