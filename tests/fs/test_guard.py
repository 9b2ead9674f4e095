"""The process that cuts the connection of a mount is told of the daemon's death at any moment."""

import ctypes
import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pwfs.fs.guard import Guard

ROOT = Path(__file__).resolve().parents[2]
SYS_EXIT = 60 if os.uname().machine == "x86_64" else 93


def die_with_a_thread_left(mountpoint: Path) -> None:
    """Starts a guard and ends the main thread at once; another one keeps the process."""
    guard = Guard.start(mountpoint)
    threading.Thread(target=sys.stdin.read).start()
    os.write(1, b"%d\n" % guard.kept[0])
    ctypes.CDLL(None).syscall(SYS_EXIT, 0)


@pytest.mark.timeout(60)
def test_a_death_before_it_listens_is_noticed(tmp_path: Path) -> None:
    """A daemon killed right after its start, with a thread stuck in the kernel, is as dead."""
    daemon = subprocess.Popen(
        [sys.executable, "-m", "tests.fs.test_guard", tmp_path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert daemon.stdout is not None
    guard = os.pidfd_open(int(daemon.stdout.readline()))
    try:
        poll = select.poll()
        poll.register(guard, select.POLLIN)
        assert poll.poll(20_000), "the guard still waits"
    finally:
        os.close(guard)
        daemon.communicate(timeout=20)


if __name__ == "__main__":
    die_with_a_thread_left(Path(sys.argv[1]))
