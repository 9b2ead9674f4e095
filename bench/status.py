"""What changed, in a large and in a small code base: `patchwork status` and `git status`.

Each workspace has ten changed files. `git status` runs in the same workspace, with the hook and
without, and in a checkout of the same files on the disk. Medians of whole processes; the API's
request is measured by itself.
"""

import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.options import Options
from bench.project import PATCHWORK, make_checkout, patchwork, run, serving
from bench.targets import Ratios
from bench.worktree import FILES

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


def measure(files: int, room: Path) -> dict[str, float]:
    """Measures one size; seconds by what was done."""
    directory = room / f"project-{files}"
    directory.mkdir()
    make_checkout(directory, files)
    patchwork(directory, "init")
    with serving(directory) as project:
        workspace = project.create_workspace(project.create_change("Bench"))
        place = Path(str(workspace["path"]))
        run(["git", "init", "-q"], place)
        objects = place / ".git" / "objects" / "info" / "alternates"
        objects.write_text(f"{directory / '.git' / 'objects'}\n")
        head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=directory, text=True)
        run(["git", "reset", "-q", head.strip()], place)
        run([str(PATCHWORK), "fsmonitor", "install"], place)
        run(["git", "config", "core.untrackedCache", "true"], place)
        for top in (place, directory):
            for number in range(CHANGED):
                changed = next(top.glob(f"part0/dir*/file{number * 7}.txt"))
                changed.write_text(f"changed {number}\n")
        status = git(place, "status", "--porcelain")
        status()
        status()
        address = f"workspaces/{workspace['id']}/status"
        return {
            "patchwork status": median_s(lambda: run([str(PATCHWORK), "status"], place)),
            "the API's request alone": median_s(lambda: project.request("GET", address)),
            "git status, asking": median_s(status),
            "git status, looking": median_s(git(place, *LOOKING, "status", "--porcelain")),
            "git status, on disk": median_s(git(directory, "status", "--porcelain")),
        }


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
