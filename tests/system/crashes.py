"""Crashes: the daemon is killed under agents at work, and what they did is compared with the rest."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.system.agent import Action, content, held, moved
from tests.system.people import System, Watcher, files_below, until

ROOT = Path(__file__).resolve().parents[2]
Files = dict[str, bytes]


def after(files: Files, action: Action) -> Files:
    """The files once an action was carried out."""
    kind, path, other, tag, size = action
    new = content(tag, size)
    done = dict(files)
    if kind in ("create", "rewrite", "replace"):
        done[path] = new
        done.pop(other, None)
    elif kind == "append":
        done[path] += new
    elif kind == "patch":
        done[path] = new + done[path][size:]
    elif kind == "mapped":
        length = min(size, len(done[path]))
        done[path] = new[:length] + done[path][length:]
    elif kind in ("rename", "over", "relink"):
        done[other] = done.pop(path)
    elif kind == "move":
        done = {moved(name, path, other): data for name, data in files.items()}
    elif kind == "delete":
        del done[path]
    return done


def may_be(found: Files, before: Files, action: Action) -> bool:
    """Whether these files are what an action that was cut off may have left of ``before``."""
    kind, path, other, tag, size = action
    if found in (before, after(before, action)):
        return True
    new = content(tag, size)
    if kind == "relink":
        return found == {**before, other: before[path]}
    rest = {name: data for name, data in before.items() if name != path}
    now = dict(found)
    written = now.pop(other if kind == "replace" else path, None)
    if written is None:
        return False
    if kind == "replace":
        unchanged = {name: data for name, data in before.items() if name != other}
        return now == unchanged and new.startswith(written)
    if now != rest:
        return False
    if kind in ("create", "rewrite", "unnamed"):
        return new.startswith(written)
    old = before[path]
    if kind == "append":
        return written.startswith(old) and (old + new).startswith(written)
    if kind == "mapped":
        # Pages are written in any order.
        return len(written) == len(old) and all(
            each in (was, to_be)
            for each, was, to_be in zip(written, old, after(before, action)[path], strict=True)
        )
    if kind == "patch":
        # A prefix of the patch is there, of any length; what is behind it is as before.
        same = next((i for i, (a, b) in enumerate(zip(written, new, strict=False)) if a != b), size)
        return any(
            written == new[:cut] + old[cut:] for cut in (0, same, *range(max(0, same - 8), same))
        ) or (len(written) >= len(old) and new.startswith(written))
    return False


@dataclass
class Worker:
    """An agent in its own workspace and change, and what its files must be."""

    system: System
    change: str
    workspace: Path
    journal: Path
    holds: bool
    files: Files = field(default_factory=dict)
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
        shown = files_below(self.workspace)
        hashes = {path: sha256(data).hexdigest() for path, data in shown.items()}
        assert hashes == self.system.tree(self.workspace.name)
        ops = self.system.ops(self.change)
        new = ops[self.ops_seen :]
        self.ops_seen = len(ops)
        if self.holds:
            self._compare_held(rows, shown, new)
        else:
            self._compare_saves(rows, shown, new)
        self.files = shown

    def _compare_held(self, rows: list[Any], shown: Files, ops: list[dict[str, Any]]) -> None:
        (_, tag), *wrote = rows
        lines = wrote[-1][1]
        found = shown["held"]
        assert found.startswith(held(tag, lines)) and held(tag, lines + 1).startswith(found)
        # Recovered, unless the agent was so slow that a quiet second had it logged before the kill.
        assert ops[-1]["content_hash"] == sha256(found).hexdigest()

    def _compare_saves(self, rows: list[Any], shown: Files, ops: list[dict[str, Any]]) -> None:
        files = self.files
        saved: dict[str, str] = {}
        under_way: Action | None = None
        for row in rows:
            if row[0] == "will":
                under_way = row[1]
                continue
            assert under_way is not None
            done = after(files, under_way)
            # A save that was followed by something else at once may be one operation with it.
            for path in (under_way[1], under_way[2]):
                saved.pop(path, None)
            if under_way[0] == "move":
                saved = {p: h for p, h in saved.items() if not p.startswith(f"{under_way[1]}/")}
            if under_way[0] in ("create", "rewrite", "append", "patch", "mapped", "replace"):
                path = under_way[1]
                if done[path] != files.get(path):
                    saved[path] = sha256(done[path]).hexdigest()
            files, under_way = done, None
        if under_way is None:
            assert shown.keys() == files.keys()
            assert shown == files
        else:
            differing = [p for p in {*shown, *files} if shown.get(p) != files.get(p)]
            assert may_be(shown, files, under_way), (under_way, differing)
            for path in under_way[1:3]:
                saved.pop(path, None)
            saved = {p: h for p, h in saved.items() if not p.startswith(f"{under_way[1]}/")}
        logged = {(op["path"], op["content_hash"]) for op in ops}
        for save in saved.items():
            assert save in logged, f"{save} is not in the log"


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
