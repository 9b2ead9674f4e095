"""A large code base: import, a new workspace, its first listing and search, next to `git worktree`.

Peak memory is the daemon's VmHWM after everything, and the largest process's maximum resident set
for git. Each workspace is created through the HTTP API on the daemon's socket, so its time holds
the request, too.
"""

import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.options import Options
from bench.project import PATCHWORK, Cost, Project, make_checkout, run, serving
from bench.targets import WORKTREE, Ratios

FILES = (100, 60_000)
FILES_QUICK = (100, 3_000)
ROUNDS = 9
LOOKED_AT = 3
"""How many workspaces are listed, and how many others are searched."""

LIST = ("ls", "-R", ".")
GREP = ("sh", "-c", "grep -r --exclude-dir=.git -l 'nowhere to be found' .; test $? -eq 1")


@dataclass
class Found:
    """What one size took, in seconds: each list has an entry a workspace, or a worktree."""

    imported: Cost
    created: list[float] = field(default_factory=list)
    listed: list[float] = field(default_factory=list)
    searched: list[float] = field(default_factory=list)
    """Creating a workspace and its first search."""
    added: list[Cost] = field(default_factory=list)
    git_listed: list[float] = field(default_factory=list)
    git_searched: list[float] = field(default_factory=list)
    """Adding a worktree and its first search."""
    daemon_mib: float = 0.0

    @property
    def add_s(self) -> float:
        """What adding a worktree takes."""
        return statistics.median(cost.seconds for cost in self.added)

    def ratios(self) -> Ratios:
        """What the targets judge."""
        return {
            ("workspace", WORKTREE): statistics.median(self.created) / self.add_s,
            ("workspace-grep", WORKTREE): statistics.median(self.searched)
            / statistics.median(self.git_searched),
        }


def measure(files: int, room: Path) -> Found:
    """Measures one size: the first workspaces are listed, the next are searched."""
    directory = room / f"project-{files}"
    directory.mkdir()
    make_checkout(directory, files)
    subprocess.run(["sync"], check=True)
    found = Found(run([str(PATCHWORK), "init"], directory))
    with serving(directory) as project:
        change = project.create_change("Bench")
        for number in range(ROUNDS):
            created_s, workspace = _create(project, change)
            found.created.append(created_s)
            if number >= 2 * LOOKED_AT:
                continue
            worktree = room / f"tree-{files}-{number}"
            add = run(["git", "worktree", "add", "-q", "--detach", str(worktree)], directory)
            found.added.append(add)
            if number < LOOKED_AT:
                found.listed.append(run(LIST, workspace).seconds)
                found.git_listed.append(run(LIST, worktree).seconds)
            else:
                found.searched.append(created_s + run(GREP, workspace).seconds)
                found.git_searched.append(add.seconds + run(GREP, worktree).seconds)
        found.daemon_mib = project.memory_mib("VmHWM")
    return found


def _create(project: Project, change: str) -> tuple[float, Path]:
    started = time.perf_counter()
    path = project.create_workspace(change)["path"]
    return time.perf_counter() - started, Path(str(path))


def print_found(files: int, found: Found) -> None:
    """Prints the table of one size."""
    git_mib = max(cost.peak_mib for cost in found.added)
    create_s, add_s = statistics.median(found.created), found.add_s
    first_s, git_first_s = statistics.median(found.listed), statistics.median(found.git_listed)
    rows = [
        ("import (once), s", found.imported.seconds, add_s),
        ("new workspace, s", create_s, add_s),
        ("first ls -R, s", first_s, git_first_s),
        ("new workspace and first ls -R, s", create_s + first_s, add_s + git_first_s),
        ("new workspace and first grep -r, s", *_medians(found.searched, found.git_searched)),
        ("peak memory, import, MiB", found.imported.peak_mib, git_mib),
        ("peak memory, daemon, MiB", found.daemon_mib, git_mib),
    ]
    print(f"{files:,} files")
    print(f"  {'step':36}{'patchwork':>12}{'git worktree':>14}{'ratio':>8}")
    for name, mine, peer in rows:
        print(f"  {name:36}{mine:12.4f}{peer:14.4f}{mine / peer:8.4f}")
    print(f"  new workspaces, ms: {', '.join(f'{s * 1000:.1f}' for s in found.created)}\n")


def _medians(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    return statistics.median(ours), statistics.median(theirs)


def main(options: Options) -> Ratios:
    """Measures a small and a large code base; only the full size is judged."""
    room = Path(tempfile.mkdtemp(prefix="patchwork-bench-"))
    sizes = FILES_QUICK if options.quick else FILES
    try:
        found = {files: measure(files, room) for files in sizes}
    finally:
        shutil.rmtree(room, ignore_errors=True)
    for files, measured in found.items():
        print_found(files, measured)
    options.keep("worktree", {files: asdict(measured) for files, measured in found.items()})
    return {} if options.quick else found[FILES[-1]].ratios()
