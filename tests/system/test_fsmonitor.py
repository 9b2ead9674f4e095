"""Git's hook: what it says is exact, whoever changed a file, and git looks at nothing else."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from tests.system.gitwork import Checkout, checkout_in, edit_at_random, same, settle
from tests.system.people import Refused, System, is_running, until

STEPS = 40
ROUNDS = 3
STORES = """
import mmap, sys
with open(sys.argv[1], "r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
    print("mapped", flush=True)
    sys.stdin.readline()
    mapped[0:1] = b"x"
    print("stored", flush=True)
    sys.stdin.read()
"""
"""A program of its own: a child that is made closes what it inherits, which writes memory back."""


def end_daemon(system: System, number: signal.Signals) -> None:
    """Ends the daemon, and waits until it has ended."""
    system.disconnect()
    pid = system.project.kill(number)
    until(lambda: not is_running(pid), "the daemon ends")


@pytest.mark.parametrize("untracked_cache", [False, True])
def test_git_says_the_same_as_without_the_hook(
    system: System, tmp_path: Path, untracked_cache: bool
) -> None:
    """After each of many random edits by several writers, with git's other cache and without."""
    edit_at_random(system, tmp_path, STEPS, untracked_cache=untracked_cache)


def test_nothing_is_missed_while_everybody_writes(system: System, tmp_path: Path) -> None:
    """Git asks while others write; when they pause, what it says is right."""
    checkout, change = checkout_in(system, tmp_path / "checkout")
    checkout.git("config", "core.untrackedCache", "true")
    tops = [checkout.top, system.workspace(change)]
    for round_number in range(ROUNDS):
        pause = threading.Event()
        writers = [
            threading.Thread(target=write_without_end, args=(top, f"w{number}", pause))
            for number, top in enumerate(tops)
        ]
        for writer in writers:
            writer.start()
        try:
            other = system.change(f"Other {round_number}")
            for number in range(3):
                checkout.status()
                system.put(other, "create", f"busy/{round_number}/{number}", b"landed\n")
            system.land(other)
            checkout.status()
        finally:
            pause.set()
            for writer in writers:
                writer.join()
        assert same(checkout).asked


def write_without_end(top: Path, name: str, pause: threading.Event) -> None:
    """Makes, changes, moves and removes files of one writer's own until there is a pause."""
    number = 0
    while not pause.is_set():
        number += 1
        directory = top / "busy" / name / f"d{number % 3}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number % 5}").write_text(f"{number}\n")
        (directory / f"f{number % 5}").rename(directory / f"g{number % 2}")
        (directory / f"s{number % 4}.o").write_text("ignored\n")
        (top / "src" / f"{name}.py").write_text(f"{number}\n")
        if number % 7 == 0:
            with suppress(OSError):  # one of that name may not be empty
                directory.rename(directory.with_name(f"e{number % 2}"))
        if number % 11 == 0:
            shutil.rmtree(top / "busy" / name / "e0", ignore_errors=True)


def test_git_looks_only_at_what_was_touched(system: System, tmp_path: Path) -> None:
    """One edit in a hundred files makes git look at one; none, at none."""
    checkout, _ = checkout_in(system, tmp_path / "checkout")
    many = tmp_path / "checkout" / "many"
    many.mkdir()
    for number in range(100):
        (many / f"file{number}").write_text(f"{number}\n")
    checkout.git("add", "-A")
    checkout.git("commit", "-qm", "many")
    settle(checkout)
    assert same(checkout).lstats == 0
    (many / "file7").write_text("other\n")
    seen = same(checkout)
    assert (seen.lines, seen.lstats, seen.asked) == ([" M many/file7"], 1, True)


def test_directories_that_move_take_everything_along(system: System, tmp_path: Path) -> None:
    """Tracked files in them, ignored ones that git tracks, untracked ones; and back again."""
    checkout, _ = checkout_in(system, tmp_path / "checkout")
    top = checkout.top
    checkout.git("config", "core.untrackedCache", "true")
    (top / "src" / "deep" / "er").mkdir(parents=True)
    (top / "src" / "deep" / "er" / "forced.o").write_text("object\n")
    checkout.git("add", "-f", "src/deep/er/forced.o")
    checkout.git("commit", "-qm", "forced")
    (top / "src" / "deep" / "untracked").write_text("new\n")
    settle(checkout)
    (top / "src").rename(top / "moved")
    assert " D src/deep/er/forced.o" in same(checkout).lines
    (top / "src" / "deep").mkdir(parents=True)
    (top / "src" / "deep" / "other").write_text("other\n")
    assert "?? src/deep/other" in same(checkout).lines
    (top / "src").rename(top / "aside")
    (top / "moved").rename(top / "src")
    lines = same(checkout).lines
    assert "?? aside/deep/other" in lines
    assert "?? src/deep/other" not in lines
    assert " D src/deep/er/forced.o" not in lines


def test_a_large_scratch_directory_that_moves_makes_git_look_everywhere(
    system: System, tmp_path: Path
) -> None:
    """Naming thousands of ignored files is not worth the time; leaving them out is not right."""
    checkout, _ = checkout_in(system, tmp_path / "checkout")
    build = checkout.top / "build"
    build.mkdir()
    for number in range(2_100):
        (build / f"file{number}").touch()
    (build / "kept.o").write_text("kept\n")
    checkout.git("add", "-f", "build/kept.o")
    checkout.git("commit", "-qm", "kept")
    settle(checkout)
    build.rename(checkout.top / "src" / "build")
    assert " D build/kept.o" in same(checkout).lines


def test_modes_links_and_open_files(system: System, tmp_path: Path) -> None:
    """What has no new content, what is no regular file, and what nobody has closed yet."""
    checkout, _ = checkout_in(system, tmp_path / "checkout")
    top = checkout.top
    (top / "link").symlink_to("README.md")
    checkout.git("add", "-A")
    checkout.git("commit", "-qm", "link")
    settle(checkout)
    (top / "README.md").chmod(0o755)
    assert same(checkout).lines == [" M README.md"]
    (top / "README.md").chmod(0o644)
    assert same(checkout).lines == []
    (top / "link").unlink()
    (top / "link").symlink_to("data.bin")
    assert same(checkout).lines == [" M link"]
    checkout.git("checkout", "-q", "--", "link")
    with (top / "src" / "app.py").open("ab", buffering=0) as opened:
        opened.write(b"more\n")
        assert same(checkout).lines == [" M src/app.py"]
    os.truncate(top / "data.bin", 3)
    assert same(checkout).lines == [" M data.bin", " M src/app.py"]


def test_a_write_through_memory_is_told_while_the_file_is_open(
    system: System, tmp_path: Path
) -> None:
    """No request says when a program stores into a shared mapping, and no time changes by it.

    Git sees it, with the hook as without, when the kernel has written the page back.
    """
    checkout, _ = checkout_in(system, tmp_path / "checkout")
    with subprocess.Popen(
        [sys.executable, "-c", STORES, str(checkout.top / "data.bin")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mapped\n"
        settle(checkout)
        holder.stdin.write(b"store\n")
        token = system.get("workspaces/ws-git/touched")["token"]
        assert holder.stdout.readline() == b"stored\n"
        assert system.get("workspaces/ws-git/touched", token=token)["paths"] == ["data.bin"]
        assert same(checkout).lines == []
        holder.stdin.close()
    assert same(checkout).lines == [" M data.bin"]


def test_a_new_daemon_does_not_know_and_says_so(system: System, tmp_path: Path) -> None:
    """After a restart, in order, not in order or in place, git looks at everything once, and then asks again."""
    checkout, _ = checkout_in(system, tmp_path / "checkout")
    settle(checkout)
    for number in (signal.SIGTERM, signal.SIGKILL, None):
        if number is None:
            system.project.patchwork("serve", "--restart")
        else:
            end_daemon(system, number)
            system.start()
        (checkout.top / "build").mkdir(exist_ok=True)
        (checkout.top / "README.md").write_text(f"{number}\n")
        seen = same(checkout)
        assert (seen.lines, seen.asked) == ([" M README.md"], True)
        assert seen.lstats > 1
        assert same(checkout).lstats <= 1


def test_without_an_answer_git_looks_for_itself(system: System, tmp_path: Path) -> None:
    """Where no daemon can be asked, status is right, and so it is when one can again."""
    checkout, _ = checkout_in(system, tmp_path / "checkout")
    settle(checkout)
    registry = Path(system.project.whereabouts["socket"]).with_suffix(".json")
    hidden = registry.with_suffix(".hidden")
    registry.rename(hidden)
    (checkout.top / "README.md").write_text("nobody tells\n")
    seen = same(checkout)
    assert (seen.lines, seen.asked) == ([" M README.md"], False)
    (checkout.top / "data.bin").unlink()
    assert same(checkout).lines == [" D data.bin", " M README.md"]
    (checkout.top / "data.bin").write_text("back\n")
    hidden.rename(registry)
    seen = same(checkout)
    assert (seen.lines, seen.asked) == ([" M README.md", " M data.bin"], True)
    settle(checkout)


def test_what_a_killed_daemon_left_behind_is_in_nobodys_way(system: System, tmp_path: Path) -> None:
    """Its file may name the device number that a mount of ours was given."""
    checkout, _ = checkout_in(system, tmp_path / "checkout")
    settle(checkout)
    registry = Path(system.project.whereabouts["socket"]).with_suffix(".json")
    left = registry.with_name("0-left-behind.json")
    words = json.loads(registry.read_bytes()) | {"repository": str(tmp_path)}
    left.write_text(json.dumps(words, indent=2))
    os.utime(left, (0, 0))
    try:
        (checkout.top / "README.md").write_text("more\n")
        seen = same(checkout)
        assert (seen.lines, seen.asked) == ([" M README.md"], True)
        found = system.project.patchwork("status", "--repository", "--json", cwd=checkout.top)
        assert found.json["root"] == str(system.project.directory)
    finally:
        left.unlink()


def test_every_path_to_a_checkout_and_its_worktrees(system: System, tmp_path: Path) -> None:
    """The directory, the place in the mount, a worktree inside, and one that is elsewhere."""
    checkout, _ = checkout_in(system, tmp_path / "checkout")
    in_mount = Checkout(next((system.mount / "ws").glob("ws-git*")))
    inside = Checkout(checkout.top / "tree")
    elsewhere = Checkout(tmp_path / "elsewhere")
    for worktree in (inside, elsewhere):
        checkout.git("worktree", "add", "-q", "--detach", str(worktree.top))
    (inside.top / "README.md").write_text("in the worktree\n")
    assert same(inside).lines == [" M README.md"]
    settle(inside)
    (inside.top / "src" / "new").write_text("new\n")
    seen = same(inside)
    assert (seen.lines, seen.asked) == ([" M README.md", "?? src/new"], True)
    assert same(in_mount).lines == ["?? tree/"]
    (in_mount.top / "README.md").write_text("through the mount\n")
    for known in (checkout, in_mount):
        assert same(known).lines == [" M README.md", "?? tree/"]
        assert same(known).asked
    (elsewhere.top / "README.md").write_text("no workspace\n")
    seen = same(elsewhere)
    assert (seen.lines, seen.asked) == ([" M README.md"], False)


def test_it_is_set_up_and_taken_away(system: System, tmp_path: Path) -> None:
    """Only in a git checkout in a workspace, and never over a setting of somebody else's."""
    patchwork = system.project.patchwork
    checkout, change = checkout_in(system, tmp_path / "checkout")
    plain = system.workspace(change)
    patchwork("fsmonitor", "install", cwd=plain, status=3)
    disk = Checkout(tmp_path / "disk")
    disk.top.mkdir()
    disk.git("init", "-q")
    patchwork("fsmonitor", "install", cwd=disk.top, status=6)
    patchwork("fsmonitor", "install", cwd=checkout.top / "src")
    patchwork("fsmonitor", "uninstall", cwd=checkout.top)
    assert "fsmonitor" not in checkout.git("config", "--list").lower()
    patchwork("fsmonitor", "uninstall", cwd=checkout.top)
    checkout.git("config", "core.fsmonitor", "their-hook")
    patchwork("fsmonitor", "install", cwd=checkout.top, status=4)
    patchwork("fsmonitor", "uninstall", cwd=checkout.top)
    assert checkout.git("config", "core.fsmonitor") == "their-hook\n"


def test_tokens(system: System, tmp_path: Path) -> None:
    """What the API tells: the next token with the sequence number, and what moved since one."""
    change = system.change("Touch")
    place = system.workspace(change)
    first = system.get("workspaces/ws-touch/touched")
    assert (first["everything"], first["paths"]) == (True, [])
    (place / "src" / "new").write_text("new\n")
    (place / "build").mkdir()
    (place / "build" / "scratch").write_text("ignored\n")
    second = system.get("workspaces/ws-touch/touched", token=first["token"])
    assert second["everything"] is False
    assert set(second["paths"]) == {"src/new", "build", "build/scratch"}
    assert second["token"].split(":")[0] == str(system.get("head")["seq"])
    below = system.get("workspaces/ws-touch/touched", token=first["token"], below="build")
    assert below["everything"] is True, "the directory itself is new"
    below = system.get("workspaces/ws-touch/touched", token=first["token"], below="src")
    assert below["paths"] == ["new"]
    assert system.get("workspaces/ws-touch/touched", token=second["token"])["paths"] == []
    (place / "build").rename(place / "src" / "built")
    third = system.get("workspaces/ws-touch/touched", token=second["token"])
    assert {"build", "build/scratch", "src/built", "src/built/scratch"} <= set(third["paths"])
    for number in range(2_100):
        (place / "src" / "built" / f"{number}.o").touch()
    full = system.get("workspaces/ws-touch/touched", token=third["token"])
    assert len(full["paths"]) == 2_100
    (place / "src" / "built").rename(place / "build")
    assert system.get("workspaces/ws-touch/touched", token=full["token"])["everything"] is True
    other = first["token"].rpartition(":")[0] + ":0123456789abcdef"
    assert system.get("workspaces/ws-touch/touched", token=other)["everything"] is True
    with pytest.raises(Refused) as refused:
        system.get("workspaces/ws-touch/touched", token="yesterday")
    assert (refused.value.status, refused.value.problem["code"]) == (400, "invalid_argument")
