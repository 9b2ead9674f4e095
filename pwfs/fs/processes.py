"""Which process makes a request: the kernel tells the thread; the log keeps the process.

A process's name is read while it waits for the answer, so that it can be told however long after,
when a file is captured that a process left behind. That costs a read from ``/proc`` with each
request that writes, so the descriptors of the latest processes stay open: one read then gives the
name as it is now, after an exec too, and fails if the process is gone, whoever has its number by
then.
"""

import os
from collections import OrderedDict
from dataclasses import dataclass

from pyfuse3 import RequestContext

from pwfs.fs.content import Handle
from pwfs.model.ops import Provenance

KEPT_MAX = 64
_NAME_BYTES_MAX = 64
_TGID = b"\nTgid:\t"
_STATUS_BYTES = 4096


@dataclass(frozen=True, slots=True)
class _Process:
    """A process as long as ``name_fd`` can be read; ``thread_fd``, if it asked by another thread."""

    pid: int
    name_fd: int
    thread_fd: int | None

    def name(self) -> str | None:
        """What it is called now; None when it, or its thread, is gone."""
        try:
            if self.thread_fd is not None:
                os.pread(self.thread_fd, 1, 0)
            name = os.pread(self.name_fd, _NAME_BYTES_MAX, 0)
        except OSError:
            return None
        return name.rstrip(b"\n").decode("utf-8", "replace")

    def close(self) -> None:
        """Lets go of the descriptors."""
        os.close(self.name_fd)
        if self.thread_fd is not None:
            os.close(self.thread_fd)


class Processes:
    """The processes that asked last. Belongs to the trio thread."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, _Process] = OrderedDict()

    def of(self, tid: int, uid: int) -> Provenance:
        """Names the process of a thread that waits for an answer.

        The number is 0, and the name empty, of a process in a PID namespace that the daemon cannot
        see into; its user is known all the same.
        """
        if tid <= 0:
            return Provenance(pid=0, command="", uid=uid)
        known = self._known.get(tid)
        name = known.name() if known is not None else None
        if known is None or name is None:
            self._forget(tid)
            known = _look(tid)
            name = known.name() if known is not None else None
            if known is None or name is None:
                return Provenance(pid=tid, command="", uid=uid)
            self._known[tid] = known
            if len(self._known) > KEPT_MAX:
                self._forget(next(iter(self._known)))
        else:
            self._known.move_to_end(tid)
        return Provenance(pid=known.pid, command=name, uid=uid)

    def again(self, tid: int, process: Provenance) -> Provenance:
        """Names a process that asked before, by what it is called since; unchanged if it is gone.

        A shell opens the file of a redirection, and then becomes the program that writes.
        """
        known = self._known.get(tid)
        name = known.name() if known is not None else None
        if known is None or not name or known.pid != process.pid:
            return process
        return Provenance(pid=process.pid, command=name, uid=process.uid)

    def _forget(self, tid: int) -> None:
        known = self._known.pop(tid, None)
        if known is not None:
            known.close()


def _look(tid: int) -> _Process | None:
    """Finds the process of a thread; None when it is gone."""
    try:
        pid = _process_of(tid)
        name_fd = os.open(f"/proc/{pid}/comm", os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    if pid == tid:
        return _Process(pid, name_fd, None)
    try:
        return _Process(pid, name_fd, os.open(f"/proc/{tid}/comm", os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        os.close(name_fd)
        return None


def _process_of(tid: int) -> int:
    fd = os.open(f"/proc/{tid}/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.read(fd, _STATUS_BYTES)
    finally:
        os.close(fd)
    start = status.index(_TGID) + len(_TGID)
    return int(status[start : status.index(b"\n", start)])


PROCESSES = Processes()
"""Those of this mount; a process has one."""


def caller(ctx: RequestContext) -> Provenance:
    """Names the process that makes a request."""
    return PROCESSES.of(ctx.pid, ctx.uid)


def writes(handle: Handle) -> Provenance | None:
    """Notes that something is written through an open file; names the process."""
    if not handle.has_written:
        handle.has_written = True
        if handle.process is not None:
            handle.process = PROCESSES.again(handle.pid, handle.process)
    return handle.process
