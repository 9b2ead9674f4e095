"""The targets that the benchmarks judge: Patchwork's time over a peer's, in one run, at most."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """What may take how many times as long as what."""

    work: str
    row: str
    """The name by which a benchmark tells what it measured."""
    peer: str
    at_most: float


DISK, OVERLAY, WORKTREE = "ext4", "fuse-overlayfs", "git worktree add"

TARGETS = (
    Target("warm stat", "stat", DISK, 1.3),
    Target("warm open+read+close", "open", DISK, 1.3),
    Target("warm find", "find", DISK, 1.3),
    Target("warm grep -r", "grep", DISK, 1.3),
    Target("warm git status", "git-status", DISK, 1.3),
    Target("cold open+read+close, whole tree", "open-cold", OVERLAY, 1.0),
    Target("create+write+close, captured as an op", "create-captured", OVERLAY, 1.5),
    Target("sequential write of a large file", "write-large", OVERLAY, 1.2),
    Target("sequential read of it, cold", "read-large-cold", OVERLAY, 1.2),
    Target("sequential read of it, warm", "read-large", OVERLAY, 1.2),
    Target("pip install, ignored files", "pip", DISK, 2.0),
    Target("npm install, ignored files", "npm", DISK, 2.0),
    Target("a project's test suite, second run", "tests", DISK, 1.1),
    Target("workspace ready to use, 60,000 files", "workspace", WORKTREE, 0.01),
    Target("its first full grep -r, creation included", "workspace-grep", WORKTREE, 0.8),
    Target("eight workspaces at once, warm reads", "together", DISK, 1.3),
    Target("p99 of a warm open, API at 500 requests/s", "open-p99-busy", "API idle", 2.0),
)

Ratios = Mapping[tuple[str, str], float]
"""Patchwork's time over the peer's, by row and peer."""


def print_verdicts(ratios: Ratios) -> None:
    """Prints each target that something was measured for, and whether it is met."""
    judged = [target for target in TARGETS if (target.row, target.peer) in ratios]
    if not judged:
        return
    print("\n| target | against | at most | measured | verdict |")
    print("| --- | --- | --- | --- | --- |")
    for target in judged:
        print(verdict(target, ratios[target.row, target.peer]))


def verdict(target: Target, measured: float) -> str:
    """A line of the table; a missed target says by which factor."""
    over = measured / target.at_most
    said = "met" if over <= 1 else f"missed, {over:.2f} times too slow"
    return f"| {target.work} | {target.peer} | {target.at_most:g} | {measured:.3g} | {said} |"
