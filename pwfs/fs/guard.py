"""Cuts the connection of a mount whose daemon was killed.

A thread that tells the kernel of a name may wait in the kernel for a directory that a program holds,
which waits for the daemon's answer. If the daemon is killed then, neither ends: the thread keeps the
process, its locks and sockets, and nothing but aborting the connection helps. So a small process
beside the daemon does that whenever the daemon dies.

This file is that program too, run by its path; it needs the standard library only.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_MNT_FORCE = 1
_UMOUNT_NOFOLLOW = 8
_PF_EXITING = 4
_DISMISSED = b"."
_END_MS = 5000
_ABORTS = Path("/sys/fs/fuse/connections")


class Guard:
    """The process beside the daemon. Start it in the main thread: that one's death is noticed."""

    def __init__(self, pid: int, fd: int) -> None:
        self._pid = pid
        self._fd = fd

    @classmethod
    def start(cls, mountpoint: Path) -> "Guard":
        """Starts one."""
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, os.fspath(mountpoint), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        assert process.stdin is not None
        fd = os.dup(process.stdin.fileno())
        process.stdin.close()
        # From here on it is waited for by its number: it may outlive this program's memory.
        process.returncode = 0
        return cls(process.pid, fd)

    @classmethod
    def taken_over(cls, pid: int, fd: int) -> "Guard":
        """The one that guarded the mount before this process ran another program."""
        os.set_inheritable(fd, False)
        return cls(pid, fd)

    @property
    def kept(self) -> tuple[int, int]:
        """What `taken_over` needs."""
        return self._pid, self._fd

    def dismiss(self) -> None:
        """Ends it, the mount being in order."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._fd, _DISMISSED)
        os.close(self._fd)
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            ended = os.pidfd_open(self._pid)
            try:
                poll = select.poll()
                poll.register(ended, select.POLLIN)
                if not poll.poll(_END_MS):
                    os.kill(self._pid, signal.SIGKILL)
            finally:
                os.close(ended)
            os.waitpid(self._pid, 0)


def main() -> None:
    """Waits for the word, or for the daemon's death."""
    mountpoint, daemon = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    signals = {signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    # The pipe does not tell: the stuck thread keeps the daemon's descriptors. Its main thread's
    # death is told by a signal; here it interrupts the reading.
    signal.signal(signal.SIGTERM, lambda *_: _abort(libc, mountpoint))
    # One that comes before this is not told of, but seen below.
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    if os.getppid() != int(daemon) or _is_dying(daemon) or os.read(0, 1) != _DISMISSED:
        _abort(libc, mountpoint)


def _abort(libc: ctypes.CDLL, mountpoint: str) -> None:
    """Fails all requests; the dead mount stays for the next daemon to clear."""
    device = _device(mountpoint)
    if device is not None:
        try:
            (_ABORTS / device.partition(":")[2] / "abort").write_text("1")
        except OSError:
            # No such filesystem here, as in most containers. The place is busy, and aborted.
            libc.umount2(os.fsencode(mountpoint), _MNT_FORCE | _UMOUNT_NOFOLLOW)
    os._exit(0)


def _is_dying(daemon: str) -> bool:
    """Whether the daemon's main thread is gone; the process is there as long as any thread is."""
    try:
        stat = Path("/proc", daemon, "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    flags = stat.rpartition(")")[2].split()[6]
    return bool(int(flags) & _PF_EXITING)


def _device(mountpoint: str) -> str | None:
    """The device of our mount there; None if it is gone."""
    escaped = mountpoint.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011")
    found = None
    for line in os.fsdecode(Path("/proc/self/mountinfo").read_bytes()).splitlines():
        fields = line.split(" ")
        if fields[4] == escaped and fields[fields.index("-") + 1].startswith("fuse"):
            found = fields[2]
    return found


if __name__ == "__main__":
    main()
