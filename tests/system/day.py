"""A day's worth of agents' work, compressed, and what it leaves behind in the daemon.

What is watched is what an operator watches: memory, descriptors, threads and processes by /proc,
and the inodes and open files that ``patchwork status`` tells of.
"""

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.support.project import mount_points
from tests.system.day_agent import Agent
from tests.system.people import System, until

DROP_CACHES = Path("/proc/sys/vm/drop_caches")
REST_S = 2.0
KEPT_OF_LOG = 3
"""How many times the database a longer log may take of memory, beside a quarter: its pages in SQLite's
cache, listings and merges decoded, drafts that were left open. Two to three times were seen, the quarter
included; each of these caches has a bound of its own, too."""


@dataclass(frozen=True)
class Use:
    """What the daemon uses at a moment at which nobody works.

    ``descriptors`` are those of files but ``/proc``'s: so many of the latest processes that wrote are
    kept. ``memory_kib`` is what the kernel cannot read back from a file, ``database_kib`` what the
    log takes.
    """

    memory_kib: int
    database_kib: int
    descriptors: int
    sockets: int
    threads: int
    children: int
    inodes: int
    open: int
    mounts: int

    @classmethod
    def now(cls, system: System) -> "Use":
        """Looks, after the kernel was asked to forget what it does not need."""
        DROP_CACHES.write_text("2")
        told = system.get("status")["daemon"]
        process = Path(f"/proc/{told['pid']}")
        lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        children = [
            child
            for task in (process / "task").iterdir()
            for child in (task / "children").read_text().split()
        ]
        targets = list(_open_files(process))
        return cls(
            memory_kib=int(lines["RssAnon"].split()[0]),
            database_kib=_database_kib(system),
            descriptors=sum(not target.startswith(("/proc/", "socket:")) for target in targets),
            sockets=sum(target.startswith("socket:") for target in targets),
            threads=int(lines["Threads"]),
            children=len(children),
            inodes=told["inodes"],
            open=told["open"],
            mounts=sum(_is_ours(point, system) for point in mount_points()),
        )


def _database_kib(system: System) -> int:
    name = (system.project.state_dir / "oplog.db").as_uri()
    with closing(sqlite3.connect(f"{name}?mode=ro", uri=True)) as database:
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        (page_bytes,) = database.execute("PRAGMA page_size").fetchone()
    return int(pages * page_bytes) >> 10


def _open_files(process: Path) -> Iterator[str]:
    for fd in (process / "fd").iterdir():
        with suppress(FileNotFoundError):
            yield str(fd.readlink())


def _is_ours(point: str, system: System) -> bool:
    tops = (str(system.mount), str(system.project.directory))
    return any(point == top or point.startswith(f"{top}/") for top in tops)


@dataclass(frozen=True)
class Day:
    """What was done, what agents met, and the use before, after each part, and in the end."""

    done: Counter[str]
    met: Counter[str]
    uses: tuple[Use, ...]
    ops: int
    landings: int

    def told(self) -> str:
        """All of it, for people."""
        uses = "\n".join(f"  {asdict(use)}" for use in self.uses)
        return (
            f"{self.ops} operations, {self.landings} landings, {sum(self.done.values())} actions\n"
            f"{dict(self.done)}\nmet {dict(self.met)}\n{uses}"
        )


def spend(system: System, *, agents: int, parts: int, part_s: float, seed: int) -> Day:
    """Lets agents work in parts with a rest, in which the use is taken, after each.

    Two agents in four share their change. When a part ends all workspaces are destroyed.
    """
    uses = [_at_rest(system)]
    done: Counter[str] = Counter()
    met: Counter[str] = Counter()
    for part in range(parts):
        team = [Agent(system, f"agent-{n}", seed * 1000 + part * 100 + n) for n in range(agents)]
        for number, agent in enumerate(team):
            if number % 4 == 1:
                agent.join(team[number - 1].change)
            else:
                agent.begin()
        stop = threading.Event()
        with ThreadPoolExecutor(agents) as pool:
            working = [pool.submit(_work, agent, stop) for agent in team]
            deadline = time.monotonic() + part_s
            while time.monotonic() < deadline and not any(each.done() for each in working):
                time.sleep(0.1)
            stop.set()
            for each in working:
                each.result(400)
        for agent in team:
            agent.end()
            done += agent.done
            met += agent.met
        uses.append(_at_rest(system))
    landings = len(system.pages("landings"))
    return Day(done, met, tuple(uses), system.get("status")["head_seq"] - landings, landings)


def _work(agent: Agent, stop: threading.Event) -> None:
    while not stop.is_set():
        agent.act()


def _at_rest(system: System) -> Use:
    """The use once the queue is empty and what ends by itself has ended."""
    until(lambda: system.get("queue")["items"] == [], "the queue is empty", patience_s=120)
    last, since = Use.now(system), time.monotonic()

    def is_still() -> bool:
        nonlocal last, since
        before, last = last, Use.now(system)
        if (before.threads, before.inodes) != (last.threads, last.inodes):
            since = time.monotonic()
        return time.monotonic() - since > REST_S

    until(is_still, "nothing ends any more", patience_s=60)
    return last


def check_left_nothing(day: Day) -> None:
    """Finds that the last part left what the first did, but for what a longer log takes."""
    first, warm, last = day.uses[0], day.uses[1], day.uses[-1]
    assert last.open == 0, day.told()
    assert last.mounts == warm.mounts, day.told()
    assert last.inodes <= warm.inodes + 5, day.told()
    assert last.descriptors <= warm.descriptors + 5, day.told()
    assert last.sockets <= first.sockets + 2, day.told()
    assert last.threads <= warm.threads + 5, day.told()
    assert last.children <= warm.children, day.told()
    of_log_kib = KEPT_OF_LOG * last.database_kib
    assert last.memory_kib <= warm.memory_kib * 1.25 + of_log_kib, day.told()
