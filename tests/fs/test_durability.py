# The system calls and their errno are what is tested.
# ruff: noqa: PT011, PT017
"""Promises 4 and 7: nothing that was written is lost, and whoever asks is told of it."""

import errno
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fs.conftest import Mounted, lazily_unmount, make_repository
from tests.support.syscalls import KEEP_SIZE, fallocate

pytestmark = pytest.mark.timeout(60)


def test_killed_with_files_closed_and_open(mounted: Mounted) -> None:
    """Closed saves are there; bytes of open files are recovered, and marked so."""
    ws = mounted.workspace()
    (ws / "closed").write_text("closed")
    (ws / "src/app.py").write_text("saved\n")
    opened = (ws / "open").open("wb", buffering=0)
    opened.write(b"not closed")
    versioned = (ws / "README.md").open("ab", buffering=0)
    versioned.write(b"appended\n")
    renamed = (ws / "before").open("wb", buffering=0)
    renamed.write(b"moved")
    (ws / "d").mkdir()
    (ws / "before").rename(ws / "d/after")
    renamed.write(b" on")
    gone = (ws / "gone").open("wb", buffering=0)
    gone.write(b"gone")
    (ws / "gone").unlink()
    mounted.kill()
    for file in (opened, versioned, renamed, gone):
        try:
            file.close()
        except OSError as error:
            assert error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    mounted.start()
    assert (ws / "closed").read_text() == "closed"
    assert (ws / "src/app.py").read_text() == "saved\n"
    assert (ws / "open").read_text() == "not closed"
    assert (ws / "README.md").read_text() == "hello\nappended\n"
    assert (ws / "d/after").read_text() == "moved on"
    assert not (ws / "gone").exists()
    rows = mounted.call("ops", change_id="work")
    recovered = {row["new"]["path"] for row in rows if row["new"]["recovered"]}
    assert recovered == {"open", "README.md", "d/after"}
    assert mounted.call("ops", change_id="work") == rows
    mounted.stop()
    mounted.start()
    assert mounted.call("ops", change_id="work") == rows


def test_killed_after_a_capture(mounted: Mounted) -> None:
    """What an fsync captured is recovered once, and what came after it too."""
    ws = mounted.workspace()
    file = (ws / "f").open("wb", buffering=0)
    file.write(b"one")
    os.fsync(file.fileno())
    assert mounted.ops() == [("create", "f")]
    file.write(b" two")
    mounted.kill()
    try:
        file.close()
    except OSError as error:
        assert error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    mounted.start()
    assert (ws / "f").read_text() == "one two"
    assert mounted.ops() == [("create", "f"), ("modify", "f")]


@pytest.mark.parametrize("name", ["README.md", "new"])
def test_killed_while_what_has_no_name_any_more_is_written(mounted: Mounted, name: str) -> None:
    """It is gone with the daemon, and keeps nothing else from being recovered."""
    ws = mounted.workspace()
    (ws / name).touch()
    file = (ws / name).open("r+b", buffering=0)
    file.write(b"one")
    os.fsync(file.fileno())
    mounted.ops()
    (ws / name).unlink()
    file.write(b" two")
    other = (ws / "other").open("wb", buffering=0)
    other.write(b"recovered")
    mounted.kill()
    for opened in (file, other):
        try:
            opened.close()
        except OSError as error:
            assert error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    mounted.start()
    assert not (ws / name).exists()
    assert (ws / "other").read_bytes() == b"recovered"


def test_what_is_open_is_captured_when_quiet_and_when_asked(mounted: Mounted) -> None:
    """A second of quiet, or a read through another door, logs what is written so far."""
    ws = mounted.workspace()
    with (ws / "f").open("wb", buffering=0) as file:
        file.write(b"asked")
        assert mounted.ops() == [("create", "f")]
        assert mounted.read("ws-work", "f") == b"asked"
        file.write(b" quiet")
        other = mounted.workspace_on("work")
        deadline = time.monotonic() + 10
        while (other / "f").read_bytes() != b"asked quiet":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        file.write(b" closed")
    assert (other / "f").read_bytes() == b"asked quiet closed"


def test_a_stop_captures_what_is_open(mounted: Mounted) -> None:
    """An orderly end loses nothing either."""
    ws = mounted.workspace()
    file = (ws / "f").open("wb", buffering=0)
    file.write(b"open")
    mounted.stop()
    try:
        file.close()
    except OSError as error:
        assert error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    mounted.start()
    assert (ws / "f").read_text() == "open"
    (row,) = mounted.call("ops", change_id="work")
    assert row["new"]["recovered"] is False


def test_large_files_are_captured_whole(mounted: Mounted) -> None:
    """Files that a thread hashes and copies, written to again meanwhile."""
    ws = mounted.workspace()
    block = bytes(range(256)) * 4096
    with (ws / "big").open("wb", buffering=0) as file:
        for _ in range(6):
            file.write(block)
        os.fsync(file.fileno())
        file.seek(0)
        file.write(b"changed")
    assert mounted.read("ws-work", "big") == b"changed" + (block * 6)[7:]
    with (ws / "big").open("r+b") as file:
        file.truncate(3 << 20)
        file.seek(0, os.SEEK_END)
        file.write(b"end")
    assert (ws / "big").read_bytes() == b"changed" + (block * 3)[7:] + b"end"
    with (ws / "sparse").open("wb") as file:
        file.seek(5 << 20)
        file.write(b"x")
    assert mounted.read("ws-work", "sparse") == bytes(5 << 20) + b"x"


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Mounted]:
    """A repository on a disk of four megabytes."""
    if os.geteuid() != 0:
        pytest.fail("making a tiny disk takes root; run these tests as root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
    mounted = Mounted(disk / "repo", tmp_path / "mnt")
    try:
        make_repository(disk / "repo")
        mounted.log = tmp_path / "mount.log"
        mounted.start()
        yield mounted
        mounted.stop()
    finally:
        lazily_unmount(mounted.mountpoint)
        if mounted.process is not None:
            mounted.kill()
        subprocess.run(["umount", "-l", str(disk)], check=False)


def test_room_is_allocated_or_refused(tiny: Mounted) -> None:
    """fallocate takes room from the disk at once: ENOSPC where there is none, and no byte changes."""
    ws = tiny.workspace()
    (ws / "f").write_text("begin")
    (ws / "build").mkdir()
    (ws / "build/f").write_text("begin")
    for name in ("f", "build/f"):
        free = os.statvfs(ws).f_bavail * os.statvfs(ws).f_frsize
        with (ws / name).open("r+b", buffering=0) as file:
            with pytest.raises(OSError) as full:
                fallocate(file.fileno(), 0, 0, free + (1 << 20))
            assert full.value.errno == errno.ENOSPC
            assert file.read() == b"begin"
            fallocate(file.fileno(), KEEP_SIZE, 0, free // 4)
            left = os.statvfs(ws).f_bavail * os.statvfs(ws).f_frsize
            assert left <= free - free // 4 + (1 << 16)
        assert (ws / name).read_text() == "begin"
    assert tiny.read("ws-work", "f") == b"begin"


def test_a_full_disk_reaches_the_writer(tiny: Mounted) -> None:
    """ENOSPC, nothing half-written in the log, and all goes on once there is room."""
    ws = tiny.workspace()
    with pytest.raises(OSError) as full:
        (ws / "big").write_bytes(b"x" * (16 << 20))
    assert full.value.errno == errno.ENOSPC
    assert (ws / "README.md").read_text() == "hello\n"
    (ws / "big").unlink()
    disk = str(tiny.repository.parent)
    subprocess.run(["mount", "-o", "remount,size=32m", disk], check=True)
    (ws / "small").write_text("fits again")
    assert tiny.read("ws-work", "small") == b"fits again"
