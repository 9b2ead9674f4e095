"""What changed, in a large and in a small code base: `patchwork status` and `git status`.

Each workspace has ten changed files. `git status` runs in the same workspace, with the hook and
without, and in a checkout of the same files on the disk. Medians of whole processes; the API's
request is measured by itself.
"""

import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.options import Options
from bench.targets import Ratios
from bench.worktree import FILES, PATCHWORK, Api, make_checkout, run

CHANGED = 10
ROUNDS = 15
LOOKING = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false")


def median_s(action: Callable[[], object]) -> float:
    """The median time of an action."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def git(directory: Path, *arguments: str) -> Callable[[], object]:
    """Runs git in a directory when called."""
    return lambda: run(["git", *arguments], directory)


def call(info: dict[str, str], method: str, path: str, body: object = None) -> dict[str, object]:
    """One request on a connection of its own: the daemon closes one that is long quiet."""
    api = Api(info["socket"])
    try:
        return api.call(method, path, body)
    finally:
        api.close()


def measure(files: int, room: Path) -> dict[str, float]:
    """Measures one size; seconds by what was done."""
    project = room / f"project-{files}"
    project.mkdir()
    make_checkout(project, files)
    run([str(PATCHWORK), "init"], project)
    run([str(PATCHWORK), "status"], project)
    info = json.loads((project / ".patchwork" / "daemon.json").read_text())
    try:
        call(info, "POST", "changes", {"title": "Bench", "author": "bench"})
        body = {"change_id": "bench", "agent_id": "bench"}
        workspace = call(info, "POST", "workspaces", body)
        place = Path(info["mount"]) / "ws" / str(workspace["id"])
        run(["git", "init", "-q"], place)
        objects = place / ".git" / "objects" / "info" / "alternates"
        objects.write_text(f"{project / '.git' / 'objects'}\n")
        head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=project, text=True)
        run(["git", "reset", "-q", head.strip()], place)
        run([str(PATCHWORK), "fsmonitor", "install"], place)
        run(["git", "config", "core.untrackedCache", "true"], place)
        for top in (place, project):
            for number in range(CHANGED):
                changed = next(top.glob(f"part0/dir*/file{number * 7}.txt"))
                changed.write_text(f"changed {number}\n")
        status = git(place, "status", "--porcelain")
        status()
        status()
        address = f"workspaces/{workspace['id']}/status"
        return {
            "patchwork status": median_s(lambda: run([str(PATCHWORK), "status"], place)),
            "the API's request alone": median_s(lambda: call(info, "GET", address)),
            "git status, asking": median_s(status),
            "git status, looking": median_s(git(place, *LOOKING, "status", "--porcelain")),
            "git status, on disk": median_s(git(project, "status", "--porcelain")),
        }
    finally:
        subprocess.run([str(PATCHWORK), "serve", "--stop"], cwd=project, check=True)


def main(_: Options) -> Ratios:
    """Measures a small and a large code base, and prints the ratio of the two."""
    room = Path(tempfile.mkdtemp(prefix="patchwork-bench-"))
    try:
        small, large = (measure(files, room) for files in FILES)
        print(f"  {CHANGED} changed files in{FILES[0]:>12,}{FILES[1]:>14,}   ratio")
        for name, few in small.items():
            many = large[name]
            print(f"  {name + ', ms':24}{few * 1000:12.1f}{many * 1000:14.1f}{many / few:8.2f}")
    finally:
        shutil.rmtree(room, ignore_errors=True)
    return {}
