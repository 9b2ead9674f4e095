"""Finds the running daemon, or starts it and waits for its word.

Two commands that start it at once are put in a row by a lock: the first starts it, the second
finds it running. The daemon answers on an inherited pipe, so nobody sleeps and looks again.
"""

import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pwfs.model.errors import DaemonUnreachable
from pwfs_cli.failures import ApiProblem
from pwfs_cli.locate import STATE_NAME

START_TIMEOUT_S = 60.0
LOCKED_TIMEOUT_S = 15.0
LOCKED_STEP_MS = 100
_CREDENTIALS = struct.Struct("iII")


def daemon_command(root: Path, *arguments: str) -> list[str]:
    """Returns the daemon's command line; ``-P`` keeps modules of the caller's directory out."""
    return [sys.executable, "-P", "-m", "pwfs_daemon", "--repo", os.fspath(root), *arguments]


def read_whereabouts(root: Path) -> dict[str, Any] | None:
    """Reads the daemon's `daemon.json`, None when there is none."""
    try:
        found = json.loads((root / STATE_NAME / "daemon.json").read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DaemonUnreachable(reason=f"daemon.json cannot be read: {error}") from error
    return found if isinstance(found, dict) else None


def connect(root: Path) -> socket.socket | None:
    """Connects to the running daemon, None when it is not running.

    Raises:
        DaemonUnreachable: it runs, and is not this user's to use.
    """
    whereabouts = read_whereabouts(root)
    if whereabouts is None:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(whereabouts["socket"])
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        raise DaemonUnreachable(reason=f"{whereabouts['socket']}: {error.strerror}") from error
    return connection


def peer_of(connection: socket.socket) -> int:
    """Tells the pid of the daemon at the other end. A file could name a process that ended."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, _, _ = _CREDENTIALS.unpack(credentials)
    return int(pid)


def connect_or_start(root: Path) -> socket.socket:
    """Connects to the daemon and starts it first when it does not run.

    Raises:
        ApiProblem: it refused to start, and said why.
        DaemonUnreachable: it did not start, and did not say why.
    """
    connection = connect(root)
    if connection is not None:
        return connection
    with start_lock(root):
        connection = connect(root)
        if connection is not None:
            return connection
        try:
            _start(root)
        except ApiProblem as problem:
            if problem.document["code"] != "repository_locked":
                raise
            _await_other(root, problem)
        connection = connect(root)
    if connection is None:
        raise DaemonUnreachable(reason="it started and ended again at once")
    return connection


@contextmanager
def start_lock(root: Path) -> Iterator[int]:
    """Keeps others from starting the daemon; yields the lock's descriptor.

    Raises:
        DaemonUnreachable: the repository is not this user's to write.
    """
    file = root / STATE_NAME / "start.lock"
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DaemonUnreachable(reason=f"{file}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _start(root: Path) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as answers:
        try:
            with (root / STATE_NAME / "daemon.log").open("ab") as log:
                process = subprocess.Popen(
                    daemon_command(root, "--ready-fd", str(writing)),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=(writing,),
                    cwd="/",
                )
        except OSError as error:
            raise DaemonUnreachable(reason=f"it cannot be started: {error}") from error
        finally:
            os.close(writing)
        line = _read_line(answers.fileno())
    if line == b"ready":
        # It outlives this process on purpose: nothing is to be waited for.
        process.returncode = 0
    elif line.startswith(b"{"):
        process.wait()
        raise ApiProblem(json.loads(line))
    else:
        raise DaemonUnreachable(reason=f"it ended while starting: {_last_line(root)}")


def _read_line(descriptor: int) -> bytes:
    content = b""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not content.endswith(b"\n"):
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not select.select([descriptor], [], [], remaining)[0]:
            raise DaemonUnreachable(reason=f"it was not ready after {START_TIMEOUT_S:.0f} s")
        chunk = os.read(descriptor, 65536)
        if not chunk:
            break
        content += chunk
    return content.strip()


def _last_line(root: Path) -> str:
    lines = (root / STATE_NAME / "daemon.log").read_text(errors="replace").splitlines()
    return lines[-1] if lines else "its log is empty"


def _await_other(root: Path, problem: ApiProblem) -> None:
    """Waits for a daemon that somebody else starts or stops, and starts one if it ended."""
    deadline = time.monotonic() + LOCKED_TIMEOUT_S
    while time.monotonic() < deadline:
        connection = connect(root)
        if connection is not None:
            connection.close()
            return
        pid = problem.document["fields"].get("pid")
        if not await_end(pid, LOCKED_STEP_MS) and pid:
            continue
        try:
            _start(root)
            return
        except ApiProblem as again:
            if again.document["code"] != "repository_locked":
                raise
            problem = again
            if not again.document["fields"].get("pid"):
                time.sleep(LOCKED_STEP_MS / 1000)
    raise problem


def await_end(pid: int | None, timeout_ms: int) -> bool:
    """Waits for a process to end; True when it has."""
    if not pid:
        return True
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(timeout_ms))
    finally:
        os.close(descriptor)
