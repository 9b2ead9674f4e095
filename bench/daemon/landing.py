"""Freezing and landing a change of many files, beside `git commit` and `git merge` of the same edits.

Both are done where main has moved meanwhile, in other files. When the API has answered, every view
and mount shows what landed; when `git merge` ends, one checkout does.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.options import Options
from bench.project import AUTHOR, Project, make_checkout, patchwork, run, serving
from bench.targets import Ratios

MOVED = 10
"""How many other files land first."""


@dataclass(frozen=True)
class Sizes:
    """How much is done in a round."""

    files: int = 10_000
    changed: int = 1_000
    rounds: int = 5


QUICK = Sizes(files=1_000, changed=100, rounds=3)


@dataclass
class Found:
    """Seconds, a number a round."""

    frozen: list[float] = field(default_factory=list)
    committed: list[float] = field(default_factory=list)
    landed: list[float] = field(default_factory=list)
    merged: list[float] = field(default_factory=list)


def main(room: Path, options: Options) -> Ratios:
    """Prints the table."""
    sizes = QUICK if options.quick else Sizes()
    found = measure(room, sizes, options.rounds)
    print(f"| {sizes.changed:,} files of {sizes.files:,}, ms | patchwork | git | ratio |")
    print("| --- | --- | --- | --- |")
    for step, ours, theirs in (
        ("version create / git add + commit", found.frozen, found.committed),
        ("land / git merge", found.landed, found.merged),
    ):
        mine_s, git_s = statistics.median(ours), statistics.median(theirs)
        print(f"| {step} | {mine_s * 1e3:.1f} | {git_s * 1e3:.1f} | {mine_s / git_s:.2f} |")
    options.keep("landing", asdict(found))
    return {}


def measure(room: Path, sizes: Sizes, rounds: int | None = None) -> Found:
    """Lands and merges the same edits, round by round."""
    directory, checkout = room / "project", room / "checkout"
    for place in (directory, checkout):
        place.mkdir()
        make_checkout(place, sizes.files)
    files = sorted(file.relative_to(checkout) for file in checkout.glob("part*/*/*"))
    changed, moved = files[: sizes.changed], files[-MOVED:]
    patchwork(directory, "init")
    found = Found()
    with serving(directory) as project:
        for number in range(rounds or sizes.rounds):
            land(project, number, changed, moved, found)
            merge(checkout, number, changed, moved, found)
    return found


def edit(place: Path, files: Sequence[Path], text: str) -> None:
    """Gives each file a line of its own behind a text."""
    for file in files:
        (place / file).write_text(f"{text}\n{file}\n")


def land(
    project: Project, number: int, changed: Sequence[Path], moved: Sequence[Path], found: Found
) -> None:
    """Lands other files, then the change."""
    work, other = (project.create_change(title) for title in ("Work", "Other"))
    for change, files in ((work, changed), (other, moved)):
        edit(Path(str(project.create_workspace(change)["path"])), files, f"round {number}")
    project.request("POST", f"changes/{other}/land", {})
    started = time.perf_counter()
    project.request("POST", f"changes/{work}/versions", {})
    found.frozen.append(time.perf_counter() - started)
    started = time.perf_counter()
    project.request("POST", f"changes/{work}/land", {})
    found.landed.append(time.perf_counter() - started)


def merge(
    checkout: Path, number: int, changed: Sequence[Path], moved: Sequence[Path], found: Found
) -> None:
    """Commits the edits on a branch, others on the first one, and merges."""
    branch = f"work{number}"
    git = ("git", *AUTHOR)
    run([*git, "checkout", "-q", "-b", branch], checkout)
    edit(checkout, changed, f"round {number}")
    started = time.perf_counter()
    run([*git, "add", "."], checkout)
    run([*git, "commit", "-qm", "Work"], checkout)
    found.committed.append(time.perf_counter() - started)
    run([*git, "checkout", "-q", "-"], checkout)
    edit(checkout, moved, f"round {number}")
    run([*git, "commit", "-qam", "Other"], checkout)
    found.merged.append(run([*git, "merge", "-q", "--no-edit", branch], checkout).seconds)
