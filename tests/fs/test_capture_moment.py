"""What is held for a moment: nobody who looks misses it, and nobody can lose it."""

import errno
import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.fs.conftest import MAIN_FILES, Mounted

pytestmark = pytest.mark.timeout(60)

README = "README.md"


def stored(mounted: Mounted) -> list[tuple[str, str]]:
    """What the log has, read from its file: nothing is captured for that."""
    database = f"file:{mounted.repository}/.patchwork/oplog.db?mode=ro"
    with closing(sqlite3.connect(database, uri=True)) as log:
        return log.execute(
            "SELECT op_type, path FROM ops WHERE change_id = 'work' ORDER BY id"
        ).fetchall()


def until_stored(mounted: Mounted, expected: list[tuple[str, str]]) -> None:
    """Waits until the log has something by itself."""
    deadline = time.monotonic() + 20
    while stored(mounted) != expected:
        assert time.monotonic() < deadline, stored(mounted)
        time.sleep(0.02)


def test_it_is_logged_after_a_moment(mounted: Mounted) -> None:
    """New, removed and renamed files, when nobody asks."""
    ws = mounted.workspace()
    (ws / "new").write_text("new")
    (ws / "run.sh").unlink()
    (ws / README).rename(ws / "README.md.old")
    until_stored(mounted, [("create", "new"), ("delete", "run.sh"), ("rename", "README.md.old")])


def test_whoever_looks_finds_it(mounted: Mounted) -> None:
    """By a door, by another view that was opened before, and by one that is opened now."""
    ws = mounted.workspace()
    (ws / "one").write_text("1")
    assert mounted.read("ws-work", "one") == b"1"
    (ws / "one").unlink()
    assert "one" not in mounted.files()
    (ws / "two").write_text("2")
    (ws / README).unlink()
    other = mounted.workspace_on("work")
    assert (other / "two").read_text() == "2"
    assert not (other / README).exists()
    (ws / "three").write_text("3")
    assert (other / "three").read_text() == "3"
    (ws / "two").unlink()
    assert not (other / "two").exists()


def test_what_comes_and_goes_within_it_is_nothing(mounted: Mounted) -> None:
    """Lock files, probes and swap files; but what somebody saw is in the log."""
    ws = mounted.workspace()
    for name in (".README.md.swp", "README.md~", "src/#app.py#"):
        (ws / name).write_text("kept beside a file")
        (ws / name).unlink()
    for name in ("lock", "4913"):
        (ws / name).touch()
        (ws / name).unlink()
    (ws / "d").mkdir()
    (ws / "d/f").touch()
    (ws / "d/f").unlink()
    (ws / "d").rmdir()
    assert mounted.ops() == []
    (ws / "README.md~").write_text("seen")
    assert "README.md~" in mounted.files()
    (ws / "README.md~").unlink()
    assert mounted.ops() == [("create", "README.md~"), ("delete", "README.md~")]


def test_a_file_of_its_own_is_never_nothing(mounted: Mounted) -> None:
    """With a name and content of its own it is in the log, though it was removed at once."""
    ws = mounted.workspace()
    (ws / "short").write_text("lived for a moment")
    (ws / "short").unlink()
    (ws / "other").write_text("x")
    (ws / "other").rename(ws / "another")
    assert mounted.ops() == [
        ("create", "short"),
        ("delete", "short"),
        ("create", "other"),
        ("rename", "another"),
    ]


def test_the_log_keeps_the_order(mounted: Mounted) -> None:
    """What is held is logged before what was saved after it."""
    ws = mounted.workspace()
    (ws / "one").write_text("1")
    (ws / "run.sh").unlink()
    (ws / "two").write_text("2")
    (ws / "README.md").write_text("three\n")
    (ws / "four").write_text("4")
    (ws / "five").symlink_to("four")
    order = ["one", "run.sh", "two", "README.md", "four", "five"]
    assert [path for _, path in stored(mounted)] == order
    assert [path for _, path in mounted.ops()] == order


def test_each_of_two_saves_is_logged(mounted: Mounted) -> None:
    """A new file that was closed and is written again, or replaced, was saved twice."""
    ws = mounted.workspace()
    (ws / "new").write_text("one")
    with (ws / "new").open("a") as file:
        file.write(" two")
    assert mounted.ops() == [("create", "new"), ("modify", "new")]
    (ws / "other").write_text("one")
    (ws / "tmp").write_text("two")
    (ws / "tmp").rename(ws / "other")
    assert mounted.ops()[2:] == [("create", "other"), ("modify", "other")]
    (ws / "third").write_text("one")
    os.truncate(ws / "third", 1)
    assert mounted.ops()[4:] == [("create", "third"), ("modify", "third")]


def test_a_mode_belongs_to_the_save(mounted: Mounted) -> None:
    """chmod +x right after a new file was closed."""
    ws = mounted.workspace()
    (ws / "tool").write_text("#!/bin/sh\n")
    (ws / "tool").chmod(0o755)
    (ws / "run.sh").unlink()
    (ws / "run.sh").write_text("#!/bin/sh\n")
    (ws / "run.sh").chmod(0o755)
    assert mounted.ops() == [("create", "tool"), ("modify", "run.sh")]
    assert mounted.files()["tool"][1] == mounted.files()["run.sh"][1] == "100755"


def test_a_move_and_back_is_nothing(mounted: Mounted) -> None:
    """A file that was set aside and put back is as it was, the same file."""
    ws = mounted.workspace()
    before = (ws / README).stat()
    (ws / README).rename(ws / "README.md.bak")
    (ws / "README.md.bak").rename(ws / README)
    assert mounted.ops() == []
    assert (ws / README).stat().st_ino == before.st_ino
    assert (ws / README).stat().st_mtime_ns == before.st_mtime_ns
    (ws / README).unlink()
    (ws / README).write_bytes(MAIN_FILES[README])
    assert mounted.ops() == []


def test_what_was_set_aside_goes_on(mounted: Mounted) -> None:
    """Written, renamed again, linked, exchanged: it is a rename, and what came then."""
    ws = mounted.workspace()
    (ws / README).rename(ws / "README.md.1")
    with (ws / "README.md.1").open("a") as file:
        file.write("more\n")
    assert mounted.ops() == [("rename", "README.md.1"), ("modify", "README.md.1")]
    (ws / "README.md.1").rename(ws / "README.md.1.2")
    (ws / "README.md.1.2").rename(ws / "elsewhere")
    assert mounted.ops()[2:] == [("rename", "README.md.1.2"), ("rename", "elsewhere")]
    (ws / "run.sh").rename(ws / "run.sh~")
    os.link(ws / "run.sh~", ws / "linked")
    assert mounted.ops()[4:] == [("rename", "run.sh~"), ("copy", "linked")]


def test_directories_take_along_what_is_held(mounted: Mounted) -> None:
    """Renamed, or removed with everything in them."""
    ws = mounted.workspace()
    (ws / "src/new.py").write_text("new\n")
    (ws / "src/app.py").unlink()
    (ws / "src").rename(ws / "code")
    ops = mounted.ops()
    assert ops[:2] == [("create", "src/new.py"), ("delete", "src/app.py")]
    assert sorted(ops[2:]) == [("rename", "code/lib/util.py"), ("rename", "code/new.py")]
    (ws / "code/new.py").unlink()
    (ws / "code/lib/util.py").unlink()
    (ws / "code/lib").rmdir()
    assert not (ws / "code/lib").exists()
    deletions = [("delete", "code/lib/util.py"), ("delete", "code/new.py")]
    assert sorted(mounted.ops()[4:]) == deletions
    assert (ws / "code").is_dir()
    (ws / "code").rmdir()


def test_a_file_makes_room_for_a_directory(mounted: Mounted) -> None:
    """And for a link, a FIFO, an ignored file."""
    ws = mounted.workspace()
    (ws / README).unlink()
    (ws / README).mkdir()
    (ws / README / "inside").write_text("inside")
    (ws / "run.sh").unlink()
    (ws / "run.sh").symlink_to(README)
    (ws / "src/app.py").unlink()
    os.mkfifo(ws / "src/app.py")
    assert sorted(mounted.ops()) == [
        ("create", "README.md/inside"),
        ("delete", README),
        ("delete", "src/app.py"),
        ("modify", "run.sh"),
    ]
    assert (ws / "src/app.py").is_fifo()


def test_ignore_rules_follow_at_once(mounted: Mounted) -> None:
    """What a new rule file says counts as soon as it is closed, and no longer once it is gone."""
    ws = mounted.workspace()
    (ws / "src/.gitignore").write_text("*.o\n")
    (ws / "src/a.o").write_text("ignored")
    (ws / "src/.gitignore").unlink()
    (ws / "src/b.o").write_text("logged")
    (ws / ".gitignore.tmp").write_text("*.tmp\n")
    (ws / ".gitignore.tmp").rename(ws / ".gitignore")
    (ws / "c.tmp").write_text("ignored")
    (ws / "d.log").write_text("logged")
    logged = {"src/.gitignore", "src/b.o", ".gitignore", "d.log"}
    assert {path for _, path in mounted.ops()} == logged


def test_a_tracked_file_stays_tracked(mounted: Mounted) -> None:
    """Removed and made again, though rules that came later ignore its name."""
    ws = mounted.workspace()
    (ws / ".gitignore").write_text("run.sh\n*~\n")
    (ws / "run.sh").unlink()
    (ws / "run.sh").write_text("#!/bin/sh\necho again\n")
    (ws / README).rename(ws / "README.md~")
    (ws / README).write_text("saved by way of an ignored backup\n")
    assert mounted.ops() == [("modify", ".gitignore"), ("modify", "run.sh"), ("modify", README)]
    assert (ws / "README.md~").read_bytes() == MAIN_FILES[README]


def killed(mounted: Mounted) -> None:
    """Kills the daemon and starts another."""
    mounted.kill()
    mounted.start()


def test_a_killed_daemon_loses_nothing_of_it(mounted: Mounted) -> None:
    """Closed is closed: logged at the next start, as what it was, and not as recovered."""
    ws = mounted.workspace()
    (ws / "new").write_text("new")
    (ws / "tool").write_text("#!/bin/sh\n")
    (ws / "tool").chmod(0o755)
    (ws / "b.tmp").write_text("moved\n")
    (ws / "b.tmp").rename(ws / "b")
    (ws / "README.md~").write_text("gone")
    (ws / "README.md~").unlink()
    (ws / "src/app.py").unlink()
    (ws / "src/app.py").write_text("again\n")
    (ws / "run.sh").unlink()
    (ws / README).rename(ws / "README.md.bak")
    assert stored(mounted) == []
    killed(mounted)
    assert sorted(mounted.ops()) == [
        ("create", "b"),
        ("create", "new"),
        ("create", "tool"),
        ("delete", "run.sh"),
        ("modify", "src/app.py"),
        ("rename", "README.md.bak"),
    ]
    rows = mounted.call("ops", change_id="work")
    assert not any(row["new"]["recovered"] for row in rows)
    assert {row["new"]["process"]["pid"] for row in rows} == {os.getpid()}
    assert (ws / "src/app.py").read_text() == "again\n"
    assert (ws / "tool").stat().st_mode & 0o111
    assert not (ws / "README.md~").exists()
    killed(mounted)
    assert mounted.call("ops", change_id="work") == rows


def test_killed_in_the_middle_of_a_save(mounted: Mounted) -> None:
    """The old file set aside, the new one half written: both are there, as what they are."""
    ws = mounted.workspace()
    (ws / README).rename(ws / "README.md~")
    file = (ws / README).open("wb", buffering=0)
    file.write(b"half of")
    assert stored(mounted) == []
    killed(mounted)
    with suppress(OSError):
        file.close()
    assert (ws / README).read_bytes() == b"half of"
    assert (ws / "README.md~").read_bytes() == MAIN_FILES[README]
    assert mounted.ops() == [("modify", README), ("create", "README.md~")]


def test_a_directory_keeps_its_time_when_that_is_logged(mounted: Mounted) -> None:
    """Names came and went when a program did it, not when the log was told."""
    ws = mounted.workspace()
    (ws / "src/app.py").unlink()
    (ws / "src/lib/util.py").unlink()
    for place in ("src", "src/lib"):
        os.utime(ws / place, ns=(7, 9))
    until_stored(mounted, [("delete", "src/app.py"), ("delete", "src/lib/util.py")])
    assert [(ws / place).stat().st_mtime_ns for place in ("src", "src/lib")] == [9, 9]


@pytest.mark.parametrize("again", [False, True])
def test_a_new_file_is_renamed_over_one_that_is_newer(mounted: Mounted, again: bool) -> None:
    """What was held of the other name is logged first, and this file with it: it has one name."""
    ws = mounted.workspace()
    for directory in ("one", "two"):
        (ws / directory).mkdir()
    if again:
        (ws / "one/a").write_text("before")
        mounted.ops()
        (ws / "one/a").unlink()
    (ws / "one/a").write_text("a")
    (ws / "two/b").write_text("b")
    number = (ws / "one/a").stat().st_ino
    (ws / "one/a").rename(ws / "two/b")
    assert not (ws / "one/a").exists()
    assert (ws / "two/b").stat().st_ino == number
    assert (ws / "two/b").read_text() == "a"
    assert [path for path in mounted.files() if path.startswith(("one/", "two/"))] == ["two/b"]


def test_a_slow_writer_is_waited_for(mounted: Mounted) -> None:
    """A file that is being written in the place of another is not logged as deleted meanwhile."""
    ws = mounted.workspace()
    (ws / README).unlink()
    file = (ws / README).open("wb", buffering=0)
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        file.write(b"slowly ")
        time.sleep(0.05)
    assert stored(mounted) == []
    file.close()
    assert mounted.ops() == [("modify", README)]


def test_many_names_at_once(mounted: Mounted) -> None:
    """More than are held at once, removed and made again, each of them one operation."""
    ws = mounted.workspace()
    (ws / "many").mkdir()
    for number in range(700):
        (ws / f"many/{number}").write_text(str(number))
    assert len(mounted.ops()) == 700
    for number in range(700):
        (ws / f"many/{number}").unlink()
        (ws / f"many/{number}").write_text(f"{number} again")
    assert mounted.ops()[700:] == [("modify", f"many/{number}") for number in range(700)]


def test_errors_are_those_of_any_file(mounted: Mounted) -> None:
    """What is held is a file, or none, to every system call."""
    ws = mounted.workspace()
    (ws / "new").write_text("new")
    (ws / README).unlink()
    (ws / "run.sh").rename(ws / "run.sh.old")
    for missing in (README, "run.sh"):
        with pytest.raises(FileNotFoundError):
            (ws / missing).stat()
        with pytest.raises(FileNotFoundError):
            (ws / missing).unlink()
    with pytest.raises(FileExistsError):
        os.close(os.open(ws / "new", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    with pytest.raises(NotADirectoryError):
        (ws / "new/below").write_text("")
    with pytest.raises(OSError, match="not empty") as full:
        (ws / "src").rmdir()
    assert full.value.errno == errno.ENOTEMPTY
    assert {path.name for path in ws.iterdir()} == {
        ".gitignore",
        "link",
        "new",
        "run.sh.old",
        "src",
    }
    assert Path(ws / "new").read_text() == "new"
