"""`patchwork serve`: run the daemon in the foreground; stop or restart the one that runs."""

import os
import sys
from typing import Annotated

import typer

from pwfs.model.errors import DaemonUnreachable
from pwfs_cli.locate import find_root
from pwfs_cli.output import show
from pwfs_cli.session import Json, resolve, session

STOP_TIMEOUT_MS = 30_000


def serve(
    addr: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Serve HTTP there. [default: 127.0.0.1:8080]"),
    ] = None,
    mount: Annotated[str | None, typer.Option(metavar="DIR", help="Mount there.")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the running daemon.")] = False,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Restart the running daemon; programs in the mount go on."),
    ] = False,
    json: Json = False,
) -> None:
    """Serve the repository in the foreground until interrupted; logs go to the terminal."""
    from pwfs_cli.starting import daemon_command, start_lock

    root = find_root(session().directory)
    if stop:
        _stop()
        return
    if restart:
        _restart()
        return
    with start_lock(root) as lock:
        # The daemon lets the lock go when it is ready; a command started meanwhile waits for it.
        os.set_inheritable(lock, True)
        arguments = ["--foreground", "--start-lock-fd", str(lock)]
        if addr is not None:
            arguments += ["--addr", addr]
        if mount is not None:
            arguments += ["--mount", resolve(mount)]
        sys.stdout.flush()
        os.execv(sys.executable, daemon_command(root, *arguments))


def _stop() -> None:
    import signal

    from pwfs_cli.starting import await_end, connect, peer_of

    connection = connect(find_root(session().directory))
    if connection is None:
        show({"stopped": False, "pid": None}, ["No daemon is running."])
        return
    pid = peer_of(connection)
    connection.close()
    _signal(pid, signal.SIGTERM)
    if not await_end(pid, STOP_TIMEOUT_MS):
        raise DaemonUnreachable(reason=f"it has not ended after {STOP_TIMEOUT_MS // 1000} s")
    show({"stopped": True, "pid": pid}, ["Daemon stopped."])


def _restart() -> None:
    import signal

    from pwfs_cli.api import client
    from pwfs_cli.starting import connect, peer_of

    connection = connect(find_root(session().directory))
    if connection is None:
        raise DaemonUnreachable(reason="it does not run, so there is nothing to restart")
    pid = peer_of(connection)
    _signal(pid, signal.SIGUSR2)
    # The daemon's last act before it restarts is to end this connection; a new one then waits
    # until requests are answered again.
    connection.settimeout(STOP_TIMEOUT_MS / 1000)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        raise DaemonUnreachable(reason="it does not restart") from None
    except ConnectionError:
        pass
    finally:
        connection.close()
    status = client().get("status")
    show({"restarted": True, "pid": status["daemon"]["pid"]}, ["Daemon restarted."])


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise DaemonUnreachable(reason="it belongs to another user") from None
