"""Crashes: the daemon is killed under agents at work, and what they did is compared with the rest."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.system.agent import Action, held
from tests.system.filetree import WRITING, FileTree, may_be, tree_of
from tests.system.people import System, Watcher, files_below, until

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Worker:
    """An agent in its own workspace and change, and what its files must be."""

    system: System
    change: str
    workspace: Path
    journal: Path
    holds: bool
    tree: FileTree
    process: subprocess.Popen[bytes] | None = None
    ops_seen: int = 0

    def start(self, seed: int) -> None:
        """Lets the agent work."""
        arguments = [str(self.workspace), str(self.journal), str(seed)]
        self.journal.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.system.agent", *arguments, *["hold"] * self.holds],
            cwd=ROOT,
            stderr=subprocess.PIPE,
        )

    def rows(self) -> list[Any]:
        """What the agent noted; the last row may be cut."""
        try:
            lines = self.journal.read_text().split("\n")[:-1]
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    def is_at_work(self, rows: int) -> bool:
        """Whether the agent has noted that many rows; it must not have ended."""
        assert self.process is not None
        if self.process.poll() is not None:
            self.end()
            raise AssertionError(f"{self.change}: the mount is gone for it before the crash")
        return len(self.rows()) >= rows

    def end(self) -> None:
        """Waits until the agent has found the mount gone."""
        assert self.process is not None
        errors = self.process.communicate(timeout=30)[1]
        # A mapping of a file whose daemon is gone is SIGBUS.
        assert self.process.returncode in (0, -signal.SIGBUS), errors.decode()

    def stop(self) -> None:
        """Ends the agent, whatever it does."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate(timeout=10)

    def compare(self) -> None:
        """Holds the journal against the mount, the API and the log."""
        rows = self.rows()
        found = tree_of(self.workspace)
        hashes = {path: sha256(data).hexdigest() for path, data in found.read().items()}
        assert hashes == self.system.tree(self.workspace.name)
        ops = self.system.ops(self.change)
        new = ops[self.ops_seen :]
        self.ops_seen = len(ops)
        if self.holds:
            self._compare_held(rows, found.read()["held"], new)
        else:
            self._compare_saves(rows, found, new)
        self.tree = found

    def _compare_held(self, rows: list[Any], found: bytes, ops: list[dict[str, Any]]) -> None:
        (_, tag), *wrote = rows
        lines = wrote[-1][1]
        assert found.startswith(held(tag, lines)) and held(tag, lines + 1).startswith(found)
        # Recovered, unless the agent was so slow that a quiet second had it logged before the kill.
        assert ops[-1]["content_hash"] == sha256(found).hexdigest()

    def _compare_saves(self, rows: list[Any], found: FileTree, ops: list[dict[str, Any]]) -> None:
        tree = self.tree
        saved: dict[str, str] = {}
        under_way: Action | None = None
        for row in rows:
            if row[0] == "will":
                under_way = row[1]
                continue
            assert under_way is not None
            done = tree.after(under_way)
            _forget(saved, under_way)
            if under_way[0] in WRITING and under_way[0] != "unnamed":
                before, now = tree.read(), done.read()
                for path in done.linked(under_way[1]):
                    if now[path] != before.get(path):
                        saved[path] = sha256(now[path]).hexdigest()
            tree, under_way = done, None
        if under_way is None:
            assert found.looks_like(tree), differing(found, tree)
        else:
            assert may_be(found, tree, under_way), (under_way, differing(found, tree))
            _forget(saved, under_way)
        logged = {(op["path"], op["content_hash"]) for op in ops}
        for save in saved.items():
            assert save in logged, f"{save} is not in the log"


def _forget(saved: dict[str, str], action: Action) -> None:
    """Forgets the saves that may be one operation with an action that follows them at once."""
    for path in list(saved):
        if path in action[1:3] or path.startswith(f"{action[1]}/"):
            del saved[path]


def differing(found: FileTree, expected: FileTree) -> dict[str, str]:
    """At which names two trees differ, and how."""
    shown, wanted = found.read(), expected.read()
    return {
        path: f"{_told(found, shown, path)}, not {_told(expected, wanted, path)}"
        for path in sorted({*shown, *wanted})
        if shown.get(path) != wanted.get(path)
        or sorted(found.linked(path)) != sorted(expected.linked(path))
    }


def _told(tree: FileTree, contents: dict[str, bytes], path: str) -> str:
    if path not in contents:
        return "nothing"
    data = contents[path]
    return f"{len(data)} bytes {sha256(data).hexdigest()[:8]} linked as {tree.linked(path)}"


def crash(system: System, workers: list[Worker], *, times: int, seed: int) -> int:
    """Kills the daemon again and again; how many actions were completed in all."""
    try:
        return _crash(system, workers, times, seed)
    finally:
        for worker in workers:
            worker.stop()


def _crash(system: System, workers: list[Worker], times: int, seed: int) -> int:
    chance = random.Random(seed)
    actions = 0
    seen: list[dict[str, Any]] = []
    for number in range(times):
        watcher = Watcher(system.project, seen[-1]["id"] if seen else 0)
        for index, worker in enumerate(workers):
            worker.start(seed * 1_000_000 + number * 100 + index)
        enough = chance.randrange(3, 40)
        until(
            partial(all_at_work, workers, enough),
            "every agent is at work",
        )
        time.sleep(chance.random() * 0.05)
        system.project.kill(signal.SIGKILL)
        for worker in workers:
            worker.end()
        seen += watcher.close()
        system.start()
        for worker in workers:
            worker.compare()
            actions += len(worker.rows()) // 2
        if number % 5 == 0:
            system.check_sound()
    watcher = Watcher(system.project, seen[-1]["id"] if seen else 0)
    events = system.events()
    watcher.saw(events[-1]["id"])
    seen += watcher.close()
    assert [event["id"] for event in seen] == list(range(1, len(events) + 1))
    assert seen == events
    return actions


BUSY = """
import itertools, os, sys
directory, name = sys.argv[1:]
try:
    for number in itertools.count():
        path = f"{directory}/{name}-{number % 5}"
        with open(path, "w") as file:
            file.write(str(number))
        os.rename(path, path + "r")
except OSError:
    pass
"""


def kill_under_co_workers(system: System, *, times: int) -> None:
    """Kills the daemon while four programs write into one directory of one change."""
    change = system.change("Together")
    places = [system.workspace(change) / "src" for _ in range(2)]
    for _ in range(times):
        programs = [
            subprocess.Popen([sys.executable, "-c", BUSY, place, f"{number}-{index}"])
            for number in range(2)
            for index, place in enumerate(places)
        ]
        try:
            until(
                lambda: len({path.name[:3] for path in places[0].glob("*r")}) == 4,
                "all of them are at work",
            )
            pid = system.project.kill(signal.SIGKILL)
            until(partial(is_gone, pid), "the daemon is gone", patience_s=10)
            for program in programs:
                program.wait(10)
        finally:
            if any(program.poll() is None for program in programs):
                # Nothing else ends programs that wait for a daemon that is stuck.
                subprocess.run(["umount", "-f", system.mount], capture_output=True, timeout=10)
            for program in programs:
                program.kill()
                program.wait(10)
        system.start()
        assert files_below(places[0]) == files_below(places[1])
        for path in places[0].glob("*r"):
            path.unlink()


def all_at_work(workers: list[Worker], rows: int) -> bool:
    """Whether every agent has noted that many rows; none may have ended."""
    return min([worker.is_at_work(rows) for worker in workers])


def is_gone(pid: int) -> bool:
    """Whether no thread of a process runs or waits any more."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        states = [(path / "stat").read_text().rpartition(")")[2].split()[0] for path in threads]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return {*states} <= {"Z"}
