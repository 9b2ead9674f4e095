"""Runs one test command in a mounted tree, with a time limit, and nothing of it left afterwards.

The event loop never touches the mount, not even by a child's working directory: the command is
run by `pwfs_daemon.warden`, a process on the disk, which enters the tree in a child of its own.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
import trio

from pwfs.model.queue import AttemptState

log = structlog.get_logger(__name__)

WARDEN = Path(__file__).with_name("warden.py")
LOG_HALF_BYTES_MAX = 5_000_000
GRACE_S = 5.0
WARDEN_LIMIT_S = 15.0
"""How much longer than its grace the warden may take to end a test before it is killed itself."""
NOT_FOUND = 127
NOT_EXECUTABLE = 126


@dataclass(frozen=True, slots=True, kw_only=True)
class TestOrder:
    """What is to be run: ``command`` by a shell, in ``subdirectory`` of ``directory``.

    ``variables`` are the whole environment, to which HOME and TMPDIR are added, two directories
    that live as long as the test. The output goes to ``log``, of which the first and the last
    five megabytes are kept, or ``log_half_bytes_max`` each; with an ``error_log`` what goes to standard
    error goes there instead. ``open_files`` limits how many files a process of it may have open, None
    leaves it the daemon's limit. Its processes may have ``memory_mb`` together, 0 for any amount.
    """

    __test__ = False

    command: str
    directory: Path
    subdirectory: str
    variables: Mapping[str, str]
    log: Path
    time_limit_s: float
    grace_s: float = GRACE_S
    open_files: int | None = None
    memory_mb: int = 0
    error_log: Path | None = None
    log_half_bytes_max: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a test ended; ``detail`` says why, where the exit code does not say it all."""

    state: AttemptState
    exit_code: int | None = None
    detail: str = ""


def base_variables() -> dict[str, str]:
    """The environment that every test gets, before what names the change and the attempt."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "CI": "1"}


async def run_test(order: TestOrder) -> Ended:
    """Runs a test to its end or its time limit; cancelled, it ends the test before it returns.

    Raises:
        OSError: no process could be started.
    """
    process = await trio.lowlevel.open_process(
        [sys.executable, "-I", "-S", str(WARDEN)],
        stdin=-1,
        stdout=-1,
        cwd="/",
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    report = bytearray()
    try:
        with trio.move_on_after(order.time_limit_s) as limit:
            try:
                await process.stdin.send_all(_describe(order))
            except trio.BrokenResourceError:
                pass
            await _read(process.stdout, report)
    finally:
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()
            with trio.move_on_after(order.grace_s + WARDEN_LIMIT_S) as patience:
                await _read(process.stdout, report)
                await process.wait()
            if patience.cancelled_caught:
                log.error("a test's processes could not be ended", command=order.command)
                process.kill()
                await process.wait()
            await process.stdout.aclose()
    if limit.cancelled_caught:
        detail = f"the test was ended after its time limit of {order.time_limit_s:g} s"
        return Ended(AttemptState.TIMED_OUT, None, detail)
    return _understand(bytes(report), order)


async def _read(stream: trio.abc.ReceiveStream, into: bytearray) -> None:
    async for data in stream:
        into += data


def _describe(order: TestOrder) -> bytes:
    half_bytes_max = order.log_half_bytes_max or LOG_HALF_BYTES_MAX
    spec = {
        **asdict(order),
        "directory": str(order.directory),
        "log": str(order.log),
        "error_log": None if order.error_log is None else str(order.error_log),
        "variables": dict(order.variables),
        "head_bytes_max": half_bytes_max,
        "tail_bytes_max": half_bytes_max,
    }
    return json.dumps(spec).encode() + b"\n"


def _understand(report: bytes, order: TestOrder) -> Ended:
    if not report.endswith(b"\n"):
        return Ended(AttemptState.ERROR, None, "the process that watches the test was killed")
    answer = json.loads(report)
    if answer.get("leftover"):
        log.warning("processes of a test could not be killed", count=answer["leftover"])
    match answer["kind"]:
        case "exited":
            return _judge(answer["exit_code"], answer.get("signal"), order)
        case "no_directory":
            detail = f"the tree has no directory {order.subdirectory!r} to test in"
            return Ended(AttemptState.FAILED, None, detail)
        case "memory":
            detail = f"the test's processes had {answer['detail']} of memory together, "
            detail += f"more than the {order.memory_mb} MB that they may have"
            return Ended(AttemptState.FAILED, None, detail)
        case "unusable":
            detail = f"the test could not be started: {answer['detail']}"
            return Ended(AttemptState.ERROR, None, detail)
        case _:
            return Ended(AttemptState.ERROR, None, "the test was ended from outside")


def _judge(exit_code: int, signal_number: int | None, order: TestOrder) -> Ended:
    if exit_code == 0:
        return Ended(AttemptState.PASSED, 0)
    what = f"the test ended with exit code {exit_code}"
    if signal_number is not None:
        what = f"the test was killed by signal {signal_number}"
    elif exit_code == NOT_FOUND:
        what += f": a command was not found; the test command is {order.command!r}"
    elif exit_code == NOT_EXECUTABLE:
        what += f": a command cannot be executed; the test command is {order.command!r}"
    return Ended(AttemptState.FAILED, exit_code, what)
