"""``python -m pwfs_daemon``: serves one repository until it is told to stop."""

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import structlog
import trio

from pwfs.fs.mount import default_mountpoint
from pwfs.model.errors import HandoverRefused, PatchworkError
from pwfs.model.exits import EXIT_CODES, ExitCode
from pwfs.model.paths import RESERVED_NAME
from pwfs_daemon.logs import LOG_NAME, configure_logs
from pwfs_daemon.open_files import OpenFiles
from pwfs_daemon.readiness import Readiness
from pwfs_daemon.succession import give_up, read, run_anew
from pwfs_daemon.supervisor import Options, supervise
from pwfs_daemon.whereabouts import Whereabouts

log = structlog.get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the daemon; returns its exit status."""
    options = _parser().parse_args(arguments)
    directory = options.repo.absolute()
    taken = read(options.handover_fd) if options.handover_fd is not None else None
    readiness = Readiness(options.ready_fd)
    open_files = OpenFiles()
    state_dir = directory / RESERVED_NAME
    configure_logs(state_dir / LOG_NAME if not options.foreground and state_dir.is_dir() else None)

    def announce(whereabouts: Whereabouts) -> None:
        if options.start_lock_fd is not None:
            os.close(options.start_lock_fd)
        if options.foreground:
            _greet(whereabouts)
        readiness.ready()

    try:
        if taken is not None and taken.refused is not None:
            _warn(taken.refused)
        chosen = Options(
            directory=directory,
            address=options.addr,
            mountpoint=options.mount,
            succession=taken,
            open_files=open_files.limit,
        )
        end = trio.run(partial(supervise, chosen, announce))
    except HandoverRefused as error:
        _warn(error)
        give_up(options.mount or default_mountpoint(directory))
        open_files.restore()
        run_anew(_again(options), None)
    except PatchworkError as error:
        readiness.failed(error)
        sys.stderr.write(f"error: {error}\n")
        return EXIT_CODES[error.category]
    if end.is_restart:
        open_files.restore()
        run_anew(_again(options), end.succession)
    return ExitCode.OK


def _warn(refused: HandoverRefused) -> None:
    log.warning("programs in the mount get an error", reason=str(refused))


def _again(options: argparse.Namespace) -> list[str]:
    """The arguments of a daemon that goes on with the same."""
    arguments = ["--repo", str(options.repo)]
    if options.addr is not None:
        arguments += ["--addr", options.addr]
    if options.mount is not None:
        arguments += ["--mount", str(options.mount)]
    if options.foreground:
        arguments += ["--foreground"]
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pwfs_daemon", description=__doc__)
    parser.add_argument("--repo", type=Path, required=True, metavar="DIR")
    parser.add_argument("--addr", metavar="HOST:PORT", help="serve HTTP there, or not at all")
    parser.add_argument("--mount", type=Path, metavar="DIR", help="mount there")
    parser.add_argument("--foreground", action="store_true", help="log to the terminal")
    parser.add_argument("--ready-fd", type=int, metavar="FD", help=argparse.SUPPRESS)
    parser.add_argument("--handover-fd", type=int, metavar="FD", help=argparse.SUPPRESS)
    parser.add_argument("--start-lock-fd", type=int, metavar="FD", help=argparse.SUPPRESS)
    return parser


def _greet(whereabouts: Whereabouts) -> None:
    sys.stdout.write(
        f"Serving {whereabouts.repository}\n"
        f"HTTP: {whereabouts.http}/api/ (token in {RESERVED_NAME}/token)\n"
        f"Mount: {whereabouts.mount}\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
