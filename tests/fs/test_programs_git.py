# The names in a directory, as the kernel lists them, are what is tested.
# ruff: noqa: PTH208
"""git in a workspace works as on disk, and does not look again at what did not change."""

import os
from pathlib import Path

import pytest

from tests.fs.conftest import MAIN_FILES, Mounted
from tests.fs.running import run
from tests.support.inotify import OPEN, watching

pytestmark = pytest.mark.timeout(60)


def test_everyday_commands(mounted: Mounted) -> None:
    """init, add, commit, branch, checkout, mv, status, gc, fsck, clone."""
    ws = mounted.workspace()
    run("git", "init", "-q", "-b", "main", cwd=ws)
    run("git", "add", ".", cwd=ws)
    run("git", "commit", "-qm", "first", cwd=ws)
    assert run("git", "status", "--porcelain", cwd=ws) == ""
    run("git", "checkout", "-qb", "side", cwd=ws)
    (ws / "README.md").write_text("side\n")
    run("git", "mv", "src", "code", cwd=ws)
    run("git", "commit", "-qam", "second", cwd=ws)
    run("git", "checkout", "-q", "main", cwd=ws)
    assert (ws / "README.md").read_bytes() == MAIN_FILES["README.md"]
    assert run("git", "status", "--porcelain", cwd=ws) == ""
    assert sorted(os.listdir(ws / "src")) == ["app.py", "lib"]
    run("git", "gc", "-q", cwd=ws)
    run("git", "fsck", cwd=ws)
    run("git", "clone", "-q", ".", "clone.log", cwd=ws)
    assert not any(path.startswith((".git/", "clone.log")) for path in mounted.files())


def files_below(top: Path) -> list[Path]:
    """The versioned files that git may look at; it reads the rules in .gitignore each time."""
    return [
        path
        for path in top.rglob("*")
        if path.is_file() and ".git" not in path.parts and path.name != ".gitignore"
    ]


def test_status_reads_nothing_twice(mounted: Mounted) -> None:
    """The index fits what the mount shows: times, sizes and inode numbers stand still.

    A file whose time is that of the index, or later, is read once more, on disk too; so all have
    an earlier one here. After a restart of the daemon nothing is read either.
    """
    ws = mounted.workspace()
    for number in range(40):
        (ws / f"src/f{number}").write_text(f"{number}\n")
    run("git", "init", "-q", cwd=ws)
    for path in files_below(ws):
        os.utime(path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)
    run("git", "add", ".", cwd=ws)
    run("git", "commit", "-qm", "first", cwd=ws)
    for _ in range(2):
        assert run("git", "status", "--porcelain", cwd=ws) == ""
        index = (ws / ".git/index").read_bytes()
        with watching(*files_below(ws), mask=OPEN) as watch:
            assert run("git", "diff-files", cwd=ws) == ""
            assert run("git", "status", "--porcelain", cwd=ws) == ""
            assert watch.rest() == []
        assert (ws / ".git/index").read_bytes() == index
        mounted.stop()
        mounted.start()
    (ws / "src/f7").write_text("8\n")
    assert run("git", "diff-files", "--name-only", cwd=ws) == "src/f7\n"
    with watching(*files_below(ws), mask=OPEN) as watch:
        assert run("git", "status", "--porcelain", cwd=ws) == " M src/f7\n"
        assert {event.watched.name for event in watch.rest()} == {"f7"}


def test_a_landing_is_a_change_to_git(mounted: Mounted) -> None:
    """What comes from elsewhere shows as modified, and nothing else does."""
    ws = mounted.workspace()
    run("git", "init", "-q", cwd=ws)
    run("git", "add", ".", cwd=ws)
    run("git", "commit", "-qm", "first", cwd=ws)
    other = mounted.workspace("Other")
    (other / "README.md").write_text("from elsewhere\n")
    mounted.call("land", "other", agent="other")
    assert run("git", "status", "--porcelain", cwd=ws) == " M README.md\n"
    run("git", "checkout", "-q", "README.md", cwd=ws)
    assert mounted.ops() == [("modify", "README.md")]
    assert run("git", "status", "--porcelain", cwd=ws) == ""


def test_worktrees_in_an_ignored_directory(mounted: Mounted) -> None:
    """git worktree add, commit, merge, remove: all of it scratch but what is merged."""
    ws = mounted.workspace()
    run("git", "init", "-q", "-b", "main", cwd=ws)
    run("git", "add", ".", cwd=ws)
    run("git", "commit", "-qm", "first", cwd=ws)
    run("git", "worktree", "add", "-q", "-b", "side", "build/side", cwd=ws)
    side = ws / "build/side"
    assert (side / "README.md").read_bytes() == MAIN_FILES["README.md"]
    (side / "README.md").write_text("from the worktree\n")
    run("git", "commit", "-qam", "second", cwd=side)
    assert run("git", "status", "--porcelain", cwd=side) == ""
    assert mounted.ops() == []
    run("git", "merge", "-q", "side", cwd=ws)
    assert mounted.ops() == [("modify", "README.md")]
    run("git", "worktree", "remove", "build/side", cwd=ws)
    run("git", "gc", "-q", "--prune=now", cwd=ws)
    run("git", "fsck", "--strict", cwd=ws)
    assert not side.exists()
