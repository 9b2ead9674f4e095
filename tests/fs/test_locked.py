# The system calls and their errno are what is tested.
# ruff: noqa: PT011
"""Somebody else's hands on the database, and a disk that dies under the daemon."""

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fs.conftest import MAIN_FILES, Mounted
from tests.fs.test_power_loss import Machine

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def shell(mounted: Mounted) -> Iterator[sqlite3.Connection]:
    """A SQLite shell on the database, as somebody may leave open."""
    database = mounted.repository / ".patchwork/oplog.db"
    opened = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    yield opened
    opened.close()


@pytest.mark.parametrize("mode", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_database_locked_for_a_moment_is_waited_for(
    mounted: Mounted, shell: sqlite3.Connection, mode: str
) -> None:
    """Saving, renaming and removing take as long as the lock is held; reading goes on."""
    mounted.expected_log += ["an open file is not captured", "are not saved", "is not logged"]
    ws = mounted.workspace()
    (ws / "gone").write_bytes(b"x")
    mounted.call("barrier")
    shell.execute(f"BEGIN {mode}")
    release = threading.Timer(2.0, shell.execute, ["ROLLBACK"])
    slowest = [0.0]
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            started = time.monotonic()
            assert (mounted.main / "README.md").read_bytes() == MAIN_FILES["README.md"]
            slowest.append(time.monotonic() - started)

    reader = threading.Thread(target=read)
    reader.start()
    release.start()
    try:
        (ws / "README.md").write_bytes(b"saved\n")
        (ws / "src/app.py").rename(ws / "src/moved.py")
        (ws / "gone").unlink()
        (ws / "made").mkdir(mode=0o700)
    finally:
        is_over.set()
        reader.join()
        release.join()
    assert len(slowest) > 10
    assert mounted.read("ws-work", "README.md") == b"saved\n"
    assert "src/moved.py" in mounted.files()
    assert "gone" not in mounted.files()


def test_a_database_locked_for_ever_is_told_and_loses_nothing(
    mounted: Mounted, shell: sqlite3.Connection
) -> None:
    """EBUSY in the end; what was written stays readable, and is logged once the lock is gone."""
    mounted.expected_log += ["an open file is not captured", "are not saved", "is not logged"]
    ws = mounted.workspace()
    shell.execute("BEGIN EXCLUSIVE")
    descriptor = os.open(ws / "README.md", os.O_WRONLY)
    os.write(descriptor, b"HELLO")
    with pytest.raises(OSError) as refused:
        os.close(descriptor)
    assert refused.value.errno == errno.EBUSY
    with pytest.raises(OSError) as refused:
        (ws / "run.sh").chmod(0o600)
    assert refused.value.errno == errno.EBUSY
    assert (ws / "README.md").read_bytes() == b"HELLO\n"
    assert (ws / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (mounted.main / "README.md").read_bytes() == MAIN_FILES["README.md"]
    shell.execute("ROLLBACK")
    mounted.call("barrier")
    assert mounted.read("ws-work", "README.md") == b"HELLO\n"
    assert mounted.ops() == [("modify", "README.md")]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine of its own."""
    made = Machine(tmp_path)
    try:
        yield made
    finally:
        made.end()


def test_a_disk_that_dies_is_told_and_the_daemon_lives(machine: Machine) -> None:
    """Programs get EIO, the daemon answers and can be ended; what was fsynced is there afterwards."""
    mounted = machine.mounted
    mounted.start()
    ws = mounted.workspace()
    mounted.call("put_on_disk", mounted.call("head_seq"))
    with (ws / "kept").open("wb") as file:
        file.write(b"kept")
        file.flush()
        os.fsync(file.fileno())
    machine.disk.cut_power()
    told = set()
    for number in range(3):
        try:
            with (ws / f"lost{number}").open("wb", buffering=0) as file:
                file.write(b"lost")
                os.fsync(file.fileno())
        except OSError as error:
            told.add(error.errno)
    assert told <= {errno.EIO, errno.EROFS}
    assert told
    assert mounted.call("head_seq") > 0
    mounted.stop()
    machine.lose_power()
    machine.come_back()
    assert (ws / "kept").read_bytes() == b"kept"
    assert machine.mounted.call("fsck")["problems"] == []
