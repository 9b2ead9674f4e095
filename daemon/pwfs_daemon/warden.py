"""The parent of one test's processes: keeps them together, and ends them together.

A program of its own, standard library only, run by its path. It is the subreaper of everything
the test starts, so a process that leaves its session is found all the same; and as it holds the
other end of a pipe from the daemon, the test ends even when the daemon is killed. It stands on
the disk, outside the mount: only its child, which the daemon never waits for, steps into it.

It reads one line of JSON from its standard input (see `main`), and stops the test when that input
ends. It answers with one line of JSON on its standard output when no process of the test is left:
``kind`` is ``exited`` (with ``exit_code`` or ``signal``), ``stopped``, ``memory`` (its processes had
more than they may together, and were killed), ``unusable`` (the tree could not be entered) or
``no_directory`` (the tree lacks the directory to test in).
"""

import ctypes
import json
import os
import resource
import selectors
import shutil
import signal
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
SHELL = "/bin/sh"
CHUNK_BYTES = 65536
LEFTOVER_GRACE_S = 2.0
KILL_LIMIT_S = 10.0
POLL_S = 0.02
MEMORY_LOOK_S = 0.25
"""The kernel tells nobody how much memory several processes have together: it is looked at so often."""


class BoundedLog:
    """A file that keeps the beginning as it comes, and at the end the end, of an output."""

    def __init__(self, path: str, head_bytes_max: int, tail_bytes_max: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._head_left = head_bytes_max
        self._tail_max = tail_bytes_max
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._dropped = 0

    def write(self, data: bytes) -> None:
        """Adds output."""
        if self._head_left:
            head, data = data[: self._head_left], data[self._head_left :]
            self._head_left -= len(head)
            self._append(head)
        if data:
            self._tail.append(data)
            self._tail_bytes += len(data)
        while self._tail_bytes > self._tail_max:
            oldest = self._tail.popleft()
            rest = oldest[self._tail_bytes - self._tail_max :]
            if rest:
                self._tail.appendleft(rest)
            self._tail_bytes -= len(oldest) - len(rest)
            self._dropped += len(oldest) - len(rest)

    def close(self) -> None:
        """Adds the end, and says how much is missing before it."""
        if self._dropped:
            self._append(f"\n[... {self._dropped} bytes are left out here ...]\n".encode())
        for data in self._tail:
            self._append(data)
        os.close(self._file)

    def _append(self, data: bytes) -> None:
        # A full disk costs output, not the test's result.
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError:
            self._head_left = 0


class Ward:
    """The test's processes and its output."""

    def __init__(self, spec: dict[str, object], temporary: str) -> None:
        limits = int(str(spec["head_bytes_max"])), int(str(spec["tail_bytes_max"]))
        error_log = spec["error_log"]
        self._grace_s = float(str(spec["grace_s"]))
        self._wakeup, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        self._memory_bytes_max = int(str(spec["memory_mb"])) << 20
        self._memory_bytes = 0
        self._looked_at = time.monotonic()
        self._is_stopped = False
        self._status: int | None = None
        self._complaint = b""
        reading, output = os.pipe2(os.O_CLOEXEC)
        self._errors, errors = os.pipe2(os.O_CLOEXEC)
        self._logs = {reading: BoundedLog(str(spec["log"]), *limits)}
        error_output = output
        if error_log is not None:
            apart, error_output = os.pipe2(os.O_CLOEXEC)
            self._logs[apart] = BoundedLog(str(error_log), *limits)
        variables = spec["variables"]
        assert isinstance(variables, dict)
        environment = {str(name): str(value) for name, value in variables.items()}
        for name, place in (("HOME", "home"), ("TMPDIR", "tmp")):
            directory = Path(temporary, place)
            directory.mkdir(0o700)
            environment[name] = str(directory)
        self._pid = os.fork()
        if self._pid == 0:
            become_test(spec, environment, (output, error_output), errors)
        for descriptor in {output, error_output, errors}:
            os.close(descriptor)
        self._selector = selectors.DefaultSelector()
        for descriptor in (*self._logs, self._errors):
            os.set_blocking(descriptor, False)
        for descriptor in (0, self._wakeup, *self._logs, self._errors):
            self._selector.register(descriptor, selectors.EVENT_READ)

    def run(self) -> dict[str, object]:
        """Waits until the test ended or is stopped, then until nothing of it is left."""
        while self._status is None and not self._is_stopped and not self._takes_too_much():
            self._turn(MEMORY_LOOK_S if self._memory_bytes_max else None)
        was_stopped = self._status is None
        grace_s = self._grace_s if was_stopped else LEFTOVER_GRACE_S
        leftover = self._end_all(0.0 if self._takes_too_much() else grace_s)
        for descriptor in (*self._logs, self._errors):
            while self._read(descriptor):
                pass
        for log in self._logs.values():
            log.close()
        return {**self._result(was_stopped), "leftover": leftover}

    def _takes_too_much(self) -> bool:
        """Whether the processes have more memory together than they may; found once, it stays so."""
        if not self._memory_bytes_max:
            return False
        if (
            self._memory_bytes <= self._memory_bytes_max
            and time.monotonic() - self._looked_at >= MEMORY_LOOK_S
        ):
            self._memory_bytes = sum(map(memory_bytes, descendants()))
            self._looked_at = time.monotonic()
        return self._memory_bytes > self._memory_bytes_max

    def _result(self, was_stopped: bool) -> dict[str, object]:
        if self._complaint:
            kind, _, detail = self._complaint.decode(errors="replace").partition(" ")
            return {"kind": kind, "detail": detail}
        if was_stopped and self._takes_too_much():
            return {"kind": "memory", "detail": f"{self._memory_bytes >> 20} MB"}
        if was_stopped or self._status is None:
            return {"kind": "stopped"}
        code = os.waitstatus_to_exitcode(self._status)
        if code < 0:
            return {"kind": "exited", "exit_code": 128 - code, "signal": -code}
        return {"kind": "exited", "exit_code": code}

    def _on_signal(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD:
            self._is_stopped = True

    def _turn(self, timeout_s: float | None) -> bool:
        """Handles what happens next; returns whether a process of the test is left."""
        for ready, _ in self._selector.select(timeout_s):
            if not self._read(ready.fd):
                self._selector.unregister(ready.fd)
                self._is_stopped |= ready.fd == 0
        return self._reap()

    def _read(self, descriptor: int) -> bytes:
        """Reads what is there; nothing at the end, or when asked without need."""
        try:
            data = os.read(descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return b""
        if descriptor in self._logs:
            self._logs[descriptor].write(data)
        elif descriptor == self._errors:
            self._complaint += data
        return data

    def _reap(self) -> bool:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._pid:
                self._status = status

    def _end_all(self, grace_s: float) -> int:
        """Asks all processes to end, then kills them; returns how many could not be killed."""
        if not self._reap():
            return 0
        signal_all(signal.SIGTERM)
        begin = time.monotonic()
        while time.monotonic() - begin < grace_s:
            if not self._turn(POLL_S):
                return 0
        begin = time.monotonic()
        while time.monotonic() - begin < KILL_LIMIT_S:
            signal_all(signal.SIGKILL)
            if not self._turn(POLL_S):
                return 0
        return len(descendants())


def become_test(
    spec: dict[str, object], environment: dict[str, str], outputs: tuple[int, int], errors: int
) -> None:
    """Turns the forked child into the test; what prevents it goes to ``errors``.

    ``outputs`` become its standard output and standard error.
    """
    kind = "unusable"
    try:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        # Python ignores these two, and exec would hand that on.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in zip((null, *outputs), range(3), strict=True):
            os.dup2(source, target)
        if spec["open_files"] is not None:
            _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (int(str(spec["open_files"])), hard))
        if memory_mb := int(str(spec["memory_mb"])):
            # Private memory that may be written: what is only reserved does not count.
            limit_bytes = memory_mb << 20
            resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
        os.chdir(str(spec["directory"]))
        kind = "no_directory"
        os.chdir(str(spec["subdirectory"]))
        kind = "unusable"
        os.execve(SHELL, [SHELL, "-c", str(spec["command"])], environment)
    except OSError as error:
        os.write(errors, f"{kind} {error}".encode())
    finally:
        os._exit(127)


def descendants() -> list[int]:
    """All processes below this one, by a walk over ``/proc``."""
    children: dict[int, list[int]] = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                fields = (process / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(process.name))
    found: list[int] = []
    pending = [os.getpid()]
    while pending:
        below = children.get(pending.pop(), [])
        found.extend(below)
        pending.extend(below)
    return found


def memory_bytes(pid: int) -> int:
    """A process's memory that is on no disk; of what several share, its part."""
    try:
        rows = Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines()
    except OSError:
        return 0
    found = [row.split() for row in rows if row.startswith((b"Pss_Anon:", b"Pss_Shmem:"))]
    return sum(int(fields[1]) for fields in found) << 10


def signal_all(number: int) -> None:
    """Sends a signal to all processes below this one."""
    for pid in descendants():
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def prctl(option: int, value: int) -> None:
    """Calls prctl(2)."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def main() -> None:
    """Runs the test that the first line of the input describes.

    It holds ``command``, ``directory`` and in it ``subdirectory``, ``variables`` of the
    environment (HOME and TMPDIR are added), ``log``, ``error_log`` (a path or null: the same),
    ``head_bytes_max``, ``tail_bytes_max`` of each,
    ``grace_s``, the time between SIGTERM and SIGKILL, and ``open_files``, a limit or null.
    """
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return
        line += byte
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    temporary = tempfile.mkdtemp(prefix="patchwork-test-")
    try:
        report = Ward(json.loads(line), temporary).run()
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    try:
        os.write(1, json.dumps(report).encode() + b"\n")
    except BrokenPipeError:
        sys.exit(1)


if __name__ == "__main__":
    main()
