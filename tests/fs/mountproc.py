"""A process with one mount, driven by JSON lines: a mistake in it must not hang the tests.

Each line in is ``[method, args, kwargs]`` of the repository (or ``barrier``, ``attach``, ``is_native``); each line
out is ``{"result": ...}`` or ``{"error": ...}``. The first line out says that the mount is ready.
"""

import functools
import json
import logging
import os
import signal
import struct
import sys
from pathlib import Path
from typing import Any

import msgspec
import structlog
import trio

from pwfs.fs import attach as attaching
from pwfs.fs import invalidate
from pwfs.fs.mount import Mount
from pwfs.fs.native import library
from pwfs.model.changes import ChangeStatus
from pwfs.model.errors import PatchworkError
from pwfs.model.ops import OpType
from pwfs.model.views import BaseType, ConflictPolicy, Overlay, ViewBase
from pwfs.repo import Repository
from pwfs.repo.checking import fsck
from pwfs.repo.edits import OpRequest
from tests.fs.faults import Faults, break_calls


def _say(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _arguments(kwargs: dict[str, object]) -> dict[str, object]:
    """Gives the few arguments that are not plain JSON their types."""
    made = dict(kwargs)
    if "policy" in made:
        made["policy"] = ConflictPolicy(str(made["policy"]))
    if "status" in made:
        made["status"] = ChangeStatus(str(made["status"]))
    if made.get("base") == "latest":
        made["base"] = ViewBase(BaseType.MAIN_AT_LATEST)
    overlays = made.get("overlays")
    if isinstance(overlays, list):
        made["overlays"] = [Overlay(change) for change in overlays]
    return made


@functools.cache
def _faults(repo: Repository) -> Faults:
    """What makes the process's steps fail, put in place when it is first wanted."""
    faults = Faults(os.fspath(repo.state_dir))
    faults.install()
    return faults


async def _do(
    repo: Repository, mount: Mount, method: str, args: list[Any], kwargs: dict[str, Any]
) -> object:
    if method == "barrier":
        await repo.settled()
        return None
    if method in ("attach", "detach"):
        await getattr(mount, method)(repo.workspace(args[0]))
        return None
    if method == "is_native":
        return mount.is_native
    if method == "fail":
        _faults(repo).arm(*args)
        return None
    if method == "heal":
        return _faults(repo).disarm()
    if method == "break":
        break_calls(*args)
        return None
    if method == "troubles":
        return [trouble.task for trouble in repo.health.troubles()]
    if method == "nodes":
        return len(mount._table)
    await repo.settled()
    if method == "files":
        live = repo.live(args[0])
        return {path: [e.content_hash, e.mode.text] for path, e in live.files()}
    if method == "read":
        return repo.read_file(args[0], args[1]).decode("latin-1")
    if method == "append":
        change, op_type, path, content_hash = args
        request = OpRequest(OpType(op_type), path, content_hash)
        repo.append_op(change, request, agent="tester")
        await repo.settled()
        return None
    if method == "fsck":
        return msgspec.to_builtins(fsck(repo))
    await repo.settled()
    result = getattr(repo, method)(*args, **_arguments(kwargs))
    await repo.settled()
    return msgspec.to_builtins(result, enc_hook=str)


async def _serve(repo: Repository, mount: Mount) -> None:
    stream = trio.lowlevel.FdStream(os.dup(0))
    pending = b""
    while data := await stream.receive_some(65536):
        pending += data
        *lines, pending = pending.split(b"\n")
        for line in lines:
            method, args, kwargs = json.loads(line)
            try:
                _say({"result": await _do(repo, mount, method, args, kwargs)})
            except PatchworkError as error:
                _say({"error": error.code, "message": str(error)})
            except Exception as error:
                logging.getLogger("control").exception("failed")
                _say({"error": type(error).__name__, "message": str(error)})


async def _main(repository: Path, mountpoint: Path) -> None:
    repo = Repository.open(repository)
    mount = Mount(repo, mountpoint)
    try:
        async with trio.open_nursery() as nursery:
            with trio.open_signal_receiver(signal.SIGTERM) as signals:
                await nursery.start(_run, mount)
                _say({"result": "ready"})
                nursery.start_soon(_serve, repo, mount)
                async for _ in signals:
                    nursery.cancel_scope.cancel()
    finally:
        attaching.uncover(mountpoint)
        repo.close()


async def _run(mount: Mount, task_status: trio.TaskStatus[None]) -> None:
    await mount.run(task_status=task_status)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    if "--no-epochs" in sys.argv:
        # What an older kernel says to it: it knows no such notification.
        invalidate.INC_EPOCH = struct.pack("IiQ", 16, 99, 0)
    if "--opendir" in sys.argv and library is not None:
        # What a kernel before 5.1 does.
        library.keep_opendir()
    trio.run(_main, Path(sys.argv[1]), Path(sys.argv[2]))
