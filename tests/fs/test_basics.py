# The system calls and their errno are what is tested.
# ruff: noqa: PT011, PTH102, PTH105, PTH109, PTH208
"""A mount shows main and workspaces, and what is written becomes operations at once."""

import errno
import mmap
import os
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fs.conftest import MAIN_FILES, Mounted

pytestmark = pytest.mark.timeout(60)


def test_main_shows_the_files_byte_for_byte(mounted: Mounted) -> None:
    """Promise 3 for main: names, contents, modes, links and sizes."""
    assert sorted(os.listdir(mounted.mountpoint)) == ["at", "main", "views", "ws"]
    for name, content in MAIN_FILES.items():
        path = mounted.main / name
        assert path.read_bytes() == content
        assert path.stat().st_size == len(content)
    assert (mounted.main / "link").readlink() == Path("README.md")
    assert (mounted.main / "run.sh").stat().st_mode == stat.S_IFREG | 0o755
    assert (mounted.main / "README.md").stat().st_mode == stat.S_IFREG | 0o644
    assert (mounted.main / "src").stat().st_nlink == 3
    with pytest.raises(FileNotFoundError):
        (mounted.main / "nothing").stat()


@pytest.mark.parametrize("where", ["main", "at/1"])
def test_what_is_read_only_answers_erofs(mounted: Mounted, where: str) -> None:
    """No door but a workspace writes."""
    top = mounted.mountpoint / where
    head = mounted.call("status")["head_seq"]
    top = mounted.mountpoint / where.replace("1", str(head))
    attempts: list[Callable[[], object]] = [
        lambda: (top / "README.md").write_text("x"),
        lambda: (top / "new").write_text("x"),
        lambda: (top / "README.md").unlink(),
        lambda: (top / "d").mkdir(),
        lambda: (top / "README.md").rename(top / "R"),
        lambda: (top / "README.md").chmod(0o755),
        lambda: (top / "l").symlink_to("x"),
        lambda: (top / "src").rmdir(),
        lambda: os.link(top / "README.md", top / "hard"),
        lambda: os.truncate(top / "README.md", 0),
    ]
    for attempt in attempts:
        with pytest.raises(OSError) as refused:
            attempt()
        assert refused.value.errno == errno.EROFS
    assert (top / "README.md").read_bytes() == MAIN_FILES["README.md"]


def test_a_save_is_one_operation(mounted: Mounted) -> None:
    """Create, modify, save without a change, delete: what the log says of each."""
    ws = mounted.workspace()
    (ws / "new.txt").write_text("one")
    assert mounted.ops() == [("create", "new.txt")]
    (ws / "README.md").write_text("changed\n")
    assert mounted.ops()[1:] == [("modify", "README.md")]
    (ws / "README.md").write_text("changed\n")
    with (ws / "README.md").open("r+") as file:
        file.write("changed")
    assert len(mounted.ops()) == 2
    (ws / "src/app.py").unlink()
    assert mounted.ops()[2:] == [("delete", "src/app.py")]
    assert mounted.read("ws-work", "README.md") == b"changed\n"
    assert (mounted.main / "README.md").read_bytes() == b"hello\n"
    assert sorted(os.listdir(ws / "src")) == ["lib"]


def test_an_operation_says_who_wrote(mounted: Mounted) -> None:
    """The process stands in the operation's provenance."""
    ws = mounted.workspace()
    subprocess.run(["tee", str(ws / "t")], input=b"x", check=True, capture_output=True)
    (row,) = mounted.call("ops", change_id="work")
    assert row["new"]["process"]["command"] == "tee"
    assert row["agent_id"] == "tester"


def test_saving_through_a_temporary_file_keeps_the_history(mounted: Mounted) -> None:
    """What editors do is a modification of the target."""
    ws = mounted.workspace()
    (ws / ".app.tmp").write_text("new\n")
    os.replace(ws / ".app.tmp", ws / "src/app.py")
    assert mounted.ops()[-1] == ("modify", "src/app.py")
    assert (ws / "src/app.py").read_text() == "new\n"
    assert ".app.tmp" not in mounted.files()


def test_names_and_bits_are_captured_when_they_happen(mounted: Mounted) -> None:
    """rename, symlink, chmod +x, truncate and link are operations of their own."""
    ws = mounted.workspace()
    (ws / "README.md").rename(ws / "READ.md")
    (ws / "l").symlink_to("READ.md")
    (ws / "src/app.py").chmod(0o755)
    (ws / "src/app.py").chmod(0o750)
    os.truncate(ws / "run.sh", 3)
    os.link(ws / "READ.md", ws / "copy.md")
    assert mounted.ops() == [
        ("rename", "READ.md"),
        ("create", "l"),
        ("modify", "src/app.py"),
        ("modify", "run.sh"),
        ("copy", "copy.md"),
    ]
    files = mounted.files()
    assert files["src/app.py"][1] == "100755"
    assert files["l"][1] == "120000"
    assert mounted.read("ws-work", "run.sh") == b"#!/"
    assert stat.S_IMODE((ws / "src/app.py").stat().st_mode) == 0o750


def test_renaming_a_directory_renames_its_files(mounted: Mounted) -> None:
    """One operation per file; numbers and open handles stay."""
    ws = mounted.workspace()
    before = (ws / "src/lib/util.py").stat().st_ino
    (ws / "src/empty").mkdir()
    with (ws / "src/app.py").open("r+") as file:
        (ws / "src").rename(ws / "code")
        file.seek(0, os.SEEK_END)
        file.write("more\n")
    assert sorted(os.listdir(ws / "code")) == ["app.py", "empty", "lib"]
    assert (ws / "code/lib/util.py").stat().st_ino == before
    assert not (ws / "src").exists()
    assert mounted.ops() == [
        ("rename", "code/app.py"),
        ("rename", "code/lib/util.py"),
        ("modify", "code/app.py"),
    ]
    assert mounted.read("ws-work", "code/app.py").endswith(b"more\n")


def test_open_unlinked_files_live_on(mounted: Mounted) -> None:
    """A versioned, a new and a replaced file stay readable and writable until closed."""
    ws = mounted.workspace()
    versioned = (ws / "README.md").open("rb")
    new = (ws / "new").open("w+b")
    new.write(b"abc")
    new.flush()
    (ws / "README.md").unlink()
    (ws / "new").unlink()
    assert versioned.read() == b"hello\n"
    new.write(b"def")
    new.seek(0)
    assert new.read() == b"abcdef"
    assert os.fstat(new.fileno()).st_nlink == 0
    versioned.close()
    new.close()
    assert mounted.ops() == [("delete", "README.md")]


def test_hard_links_share_one_file(mounted: Mounted) -> None:
    """What is written through one name is read, and logged, under both."""
    ws = mounted.workspace()
    os.link(ws / "README.md", ws / "other.md")
    first, second = (ws / "README.md").stat(), (ws / "other.md").stat()
    assert first.st_ino == second.st_ino
    assert first.st_nlink == 2
    (ws / "other.md").write_text("both\n")
    assert (ws / "README.md").read_text() == "both\n"
    assert mounted.read("ws-work", "README.md") == mounted.read("ws-work", "other.md")
    (ws / "README.md").unlink()
    assert (ws / "other.md").stat().st_nlink == 1
    assert (ws / "other.md").read_text() == "both\n"


def test_append_and_shared_memory(mounted: Mounted) -> None:
    """O_APPEND appends; a shared mapping's writes are captured."""
    ws = mounted.workspace()
    with (ws / "log.txt").open("ab") as first, (ws / "log.txt").open("ab") as second:
        for number in range(20):
            (first if number % 2 else second).write(b"%02d\n" % number)
            first.flush()
            second.flush()
    assert (ws / "log.txt").read_bytes() == b"".join(b"%02d\n" % n for n in range(20))
    with (ws / "src/app.py").open("r+b") as file:
        mapping = mmap.mmap(file.fileno(), 0)
        mapping[:3] = b"ONE"
        mapping.flush()
        mapping.close()
    assert mounted.read("ws-work", "src/app.py").startswith(b"ONE\n")


def test_ignored_and_special_files_are_scratch(mounted: Mounted) -> None:
    """They work as on disk, are not logged, and survive the daemon; tracked stays tracked."""
    ws = mounted.workspace()
    (ws / "build").mkdir()
    (ws / "build/out.o").write_bytes(b"\0" * 5000)
    (ws / "x.log").write_text("log")
    (ws / ".git").mkdir()
    (ws / ".git/HEAD").write_text("ref")
    (ws / "empty/deep").mkdir(parents=True)
    os.mkfifo(ws / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(ws)
        try:
            listener.bind("sock")
        finally:
            os.chdir(here)
    assert mounted.ops() == []
    (ws / ".gitignore").write_text("*.log\nbuild/\nREADME.md\n")
    (ws / "README.md").write_text("tracked")
    assert mounted.ops() == [("modify", ".gitignore"), ("modify", "README.md")]
    mounted.stop()
    mounted.start()
    assert (ws / "build/out.o").stat().st_size == 5000
    assert (ws / "x.log").read_text() == "log"
    assert (ws / "empty/deep").is_dir()
    assert (ws / "fifo").is_fifo()
    assert (ws / "sock").is_socket()
    assert (ws / "README.md").read_text() == "tracked"


def test_crossing_between_scratch_and_the_log(mounted: Mounted) -> None:
    """A rename out of an ignored name creates, one into it deletes."""
    ws = mounted.workspace()
    (ws / "a.log").write_text("logged")
    (ws / "a.log").rename(ws / "a.txt")
    assert mounted.ops() == [("create", "a.txt")]
    assert (ws / "a.txt").read_text() == "logged"
    with (ws / "a.txt").open("a") as file:
        (ws / "a.txt").rename(ws / "b.log")
        file.write(" more")
    assert mounted.ops()[1:] == [("delete", "a.txt")]
    assert (ws / "b.log").read_text() == "logged more"
    (ws / "build").mkdir()
    (ws / "build/x").write_text("x")
    (ws / "build").rename(ws / "dist")
    assert mounted.ops()[2:] == [("create", "dist/x")]
    assert (ws / "dist/x").read_text() == "x"


def test_errors_are_those_of_posix(mounted: Mounted) -> None:
    """The errno of what may not be done."""
    ws = mounted.workspace()
    cases: list[tuple[Callable[[], object], int]] = [
        (lambda: (ws / "src").rmdir(), errno.ENOTEMPTY),
        (lambda: (ws / "src").unlink(), errno.EISDIR),
        (lambda: (ws / "README.md").rmdir(), errno.ENOTDIR),
        (lambda: (ws / "README.md" / "x").write_text(""), errno.ENOTDIR),
        (lambda: (ws / "src").mkdir(), errno.EEXIST),
        (lambda: (ws / "src").write_text(""), errno.EISDIR),
        (lambda: (ws / ("n" * 256)).write_text(""), errno.ENAMETOOLONG),
        (lambda: os.mkdir(os.fsencode(ws) + b"/\xff"), errno.EILSEQ),
        (lambda: (ws / ".patchwork").mkdir(), errno.EPERM),
        (lambda: (ws / "src/.patchwork").write_text(""), errno.EPERM),
        (lambda: (ws / "src").rename(ws / "src/lib/in"), errno.EINVAL),
        (lambda: (ws / "README.md").rename(ws / "src"), errno.EISDIR),
        (lambda: (ws / "src").rename(ws / "README.md"), errno.ENOTDIR),
        (lambda: (ws / "README.md").rename(mounted.main / "x"), errno.EXDEV),
        (lambda: os.getxattr(ws / "README.md", "user.none"), errno.ENODATA),
        (lambda: (ws / "README.md").readlink(), errno.EINVAL),
    ]
    for attempt, expected in cases:
        with pytest.raises(OSError) as refused:
            attempt()
        assert refused.value.errno == expected, refused.value
    assert mounted.ops() == []


def test_attributes_are_kept(mounted: Mounted) -> None:
    """Modes, times and extended attributes stay with the workspace, across a restart."""
    ws = mounted.workspace()
    path = ws / "src/app.py"
    path.chmod(0o600)
    os.utime(path, ns=(1_000_000_001, 2_000_000_002))
    os.setxattr(path, "user.note", b"kept")
    (ws / "private").mkdir(mode=0o700)
    before = path.stat()
    assert (before.st_atime_ns, before.st_mtime_ns) == (1_000_000_001, 2_000_000_002)
    assert mounted.ops() == []
    mounted.stop()
    mounted.start()
    after = path.stat()
    assert stat.S_IMODE(after.st_mode) == 0o600
    assert (after.st_atime_ns, after.st_mtime_ns) == (1_000_000_001, 2_000_000_002)
    assert after.st_ino == before.st_ino
    assert os.listxattr(path) == ["user.note"]
    assert os.getxattr(path, "user.note") == b"kept"
    assert stat.S_IMODE((ws / "private").stat().st_mode) == 0o700
    os.removexattr(path, "user.note")
    assert os.listxattr(path) == []


def test_reading_a_directory_while_it_changes(mounted: Mounted) -> None:
    """Nothing is reported twice, nothing that stays is left out."""
    ws = mounted.workspace()
    (ws / "many").mkdir()
    names = {f"file-{number:04}" for number in range(600)}
    for name in names:
        (ws / "many" / name).touch()
    seen = []
    with os.scandir(ws / "many") as entries:
        for position, entry in enumerate(entries):
            seen.append(entry.name)
            if position % 50 == 0:
                (ws / "many" / f"new-{position}").touch()
                victim = ws / "many" / f"file-{position:04}"
                victim.unlink()
    assert len(seen) == len(set(seen))
    gone = {f"file-{position:04}" for position in range(0, 600, 50)}
    assert names - gone <= set(seen)


def test_special_attributes_of_the_mount(mounted: Mounted) -> None:
    """statfs answers with the disk's figures; blocks follow sizes."""
    ws = mounted.workspace()
    assert os.statvfs(ws).f_blocks == os.statvfs(mounted.repository).f_blocks
    (ws / "big").write_bytes(b"x" * 5000)
    assert (ws / "big").stat().st_blocks == 10


def test_a_file_too_large_for_the_log_stays_with_the_workspace(mounted: Mounted) -> None:
    """It is not logged, an event says so, and it is there after a restart."""
    mounted.call("set_setting", "max-blob-mb", 1)
    ws = mounted.workspace()
    (ws / "big").write_bytes(b"x" * (1 << 20))
    assert mounted.ops() == [("create", "big")]
    with (ws / "big").open("ab") as file:
        file.write(b"y")
    (ws / "huge").write_bytes(b"z" * (3 << 20))
    assert mounted.ops() == [("create", "big")]
    skipped = [e for e in mounted.call("events") if e["type"] == "file_skipped"]
    assert [e["payload"]["path"] for e in skipped] == ["big", "huge"]
    mounted.stop()
    mounted.start()
    assert (ws / "big").read_bytes()[-2:] == b"xy"
    assert (ws / "huge").stat().st_size == 3 << 20
    (ws / "big").unlink()
    assert mounted.ops()[-1] == ("delete", "big")
    assert not (ws / "big").exists()


def test_a_mode_is_shown_before_it_is_logged(mounted: Mounted) -> None:
    """chmod +x of a file being written is seen at once, and logged with the content."""
    ws = mounted.workspace()
    with (ws / "tool").open("w") as file:
        (ws / "tool").chmod(0o755)
        assert stat.S_IMODE((ws / "tool").stat().st_mode) == 0o755
        file.write("#!/bin/sh\n")
    assert mounted.ops() == [("create", "tool")]
    assert mounted.files()["tool"][1] == "100755"


def test_a_directory_replaces_an_empty_one(mounted: Mounted) -> None:
    """As rename(2) has it; a full one is in the way."""
    ws = mounted.workspace()
    (ws / "empty").mkdir()
    (ws / "full").mkdir()
    (ws / "full/x").write_text("x")
    with pytest.raises(OSError, match="not empty"):
        (ws / "src").rename(ws / "full")
    (ws / "src").rename(ws / "empty")
    assert sorted(os.listdir(ws / "empty")) == ["app.py", "lib"]
    assert not (ws / "src").exists()
    assert {"empty/app.py", "empty/lib/util.py", "full/x"} <= set(mounted.files())


def test_a_directory_that_is_emptied_stays(mounted: Mounted) -> None:
    """Also one that only the view had, whoever else changed something in it meanwhile."""
    workspace = mounted.workspace()
    (workspace / "src/lib/util.py").rename(workspace / "util.py")
    assert (workspace / "src/lib").is_dir()
    (workspace / "src/lib/again").write_text("again\n")
    (workspace / "src/lib").rename(workspace / "lib")
    (workspace / "src/app.py").unlink()
    assert list((workspace / "src").iterdir()) == []
    assert (workspace / "lib/again").read_text() == "again\n"
