"""A large code base: import, a new workspace and its first listing, next to `git worktree add`.

Peak memory is the daemon's VmHWM after the step, and the largest process's maximum resident set
for git. Each workspace is created through the HTTP API on the daemon's socket, so its time holds
the request, too.
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket

from bench.options import Options
from bench.targets import Ratios

FILES = (100, 60_000)
FILES_A_DIRECTORY = 40
ROUNDS = 9
PATCHWORK = Path(sys.executable).parent / "patchwork"


@dataclass(frozen=True)
class Cost:
    """What a step took."""

    seconds: float
    peak_mib: float


class Api(HTTPConnection):
    """A connection to a daemon's Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket(AF_UNIX, SOCK_STREAM)
        self.sock.connect(self._path)

    def call(self, method: str, path: str, body: object = None) -> dict[str, object]:
        text = None if body is None else json.dumps(body)
        self.request(method, f"/api/{path}", text, {"Content-Type": "application/json"})
        response = self.getresponse()
        content = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {content.decode()}")
        answer: dict[str, object] = json.loads(content) if content else {}
        return answer


def run(command: Sequence[str], directory: Path) -> Cost:
    """Runs a command and measures it, its children's memory too."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return Cost(time.perf_counter() - started, usage.ru_maxrss / 1024)


def make_checkout(directory: Path, files: int) -> None:
    """A git checkout of small files, no two alike."""
    for number in range(files):
        path = directory / f"part{number // (FILES_A_DIRECTORY * 40)}"
        path = path / f"dir{number // FILES_A_DIRECTORY}" / f"file{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"file {number}\n" + "some text\n" * (number % 60))
    for command in (
        ["git", "init", "-q"],
        ["git", "add", "."],
        ["git", "-c", "user.name=b", "-c", "user.email=b@b", "commit", "-qm", "all"],
    ):
        subprocess.run(command, cwd=directory, check=True)


def peak_mib(pid: int) -> float:
    """A process's largest resident set so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+)", status)
    assert found is not None
    return int(found[1]) / 1024


def measure(files: int, room: Path) -> None:
    """Prints the table for one size."""
    project = room / f"project-{files}"
    project.mkdir()
    make_checkout(project, files)
    subprocess.run(["sync"], check=True)
    imported = run([str(PATCHWORK), "init"], project)
    subprocess.run([str(PATCHWORK), "status"], cwd=project, check=True, capture_output=True)
    info = json.loads((project / ".patchwork" / "daemon.json").read_text())
    api = Api(info["socket"])
    try:
        api.call("POST", "changes", {"title": "Bench", "author": "bench"})
        ours, theirs, listed, git_listed = [], [], [], []
        for number in range(ROUNDS):
            started = time.perf_counter()
            body = {"change_id": "bench", "agent_id": "bench"}
            workspace = api.call("POST", "workspaces", body)
            ours.append(time.perf_counter() - started)
            place = Path(info["mount"]) / "ws" / str(workspace["id"])
            tree = room / f"tree-{files}-{number}"
            if number < 3:
                listed.append(run(["ls", "-R", str(place)], room).seconds)
                add = ["git", "worktree", "add", "-q", "--detach", str(tree)]
                theirs.append(run(add, project))
                git_listed.append(run(["ls", "-R", str(tree)], room).seconds)
        _print(files, imported, ours, theirs, listed, git_listed, peak_mib(info["pid"]))
    finally:
        api.close()
        subprocess.run([str(PATCHWORK), "serve", "--stop"], cwd=project, check=True)


def _print(
    files: int,
    imported: Cost,
    ours: list[float],
    theirs: list[Cost],
    listed: list[float],
    git_listed: list[float],
    daemon_mib: float,
) -> None:
    add = statistics.median(cost.seconds for cost in theirs)
    git_mib = max(cost.peak_mib for cost in theirs)
    create = statistics.median(ours)
    first, git_first = statistics.median(listed), statistics.median(git_listed)
    print(f"{files:,} files")
    print(f"  {'step':34}{'patchwork':>12}{'git worktree':>14}{'ratio':>8}")
    rows = [
        ("import (once), s", imported.seconds, add),
        ("new workspace, s", create, add),
        ("first ls -R, s", first, git_first),
        ("new workspace and first ls -R, s", create + first, add + git_first),
        ("peak memory, import, MiB", imported.peak_mib, git_mib),
        ("peak memory, daemon, MiB", daemon_mib, git_mib),
    ]
    for name, mine, peer in rows:
        print(f"  {name:34}{mine:12.4f}{peer:14.4f}{mine / peer:8.2f}")
    print(f"  new workspaces, ms: {', '.join(f'{s * 1000:.1f}' for s in ours)}\n")


def main(_: Options) -> Ratios:
    """Measures a small and a large code base."""
    room = Path(tempfile.mkdtemp(prefix="patchwork-bench-"))
    try:
        for files in FILES:
            measure(files, room)
    finally:
        shutil.rmtree(room, ignore_errors=True)
    return {}
