"""A restart in place: the daemon's process runs the daemon's program anew, and keeps its descriptors.

The mount, every file that programs have open in it, and the listening sockets go on; requests wait
until the new program answers. What it needs to know is in a file without a name whose descriptor
stands on its command line.
"""

import contextlib
import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import msgspec
import trio

from pwfs.fs import handover
from pwfs.fs.attach import unmount
from pwfs.fs.handover import Handover
from pwfs.model.errors import HandoverRefused

_FIRST_FD = 3


class _Record(msgspec.Struct):
    mountpoint: str
    mount: bytes
    unix_fd: int
    tcp_fd: int


@dataclass(frozen=True, slots=True)
class Succession:
    """The mount, and the two listening sockets' descriptors; ``refused`` is why there is no mount."""

    mount: Handover | None
    unix_fd: int
    tcp_fd: int
    refused: HandoverRefused | None = None


class Stop:
    """The wish that the daemon ends, or restarts in place; the last one said is meant."""

    def __init__(self) -> None:
        self._event = trio.Event()
        self.is_restart = False

    def set(self, *, is_restart: bool) -> None:
        """Says so."""
        self.is_restart = is_restart
        self._event.set()

    def is_set(self) -> bool:
        """Whether it was said."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Returns once it was said."""
        await self._event.wait()


def run_anew(arguments: Sequence[str], succession: Succession | None) -> NoReturn:
    """Runs the daemon's program in this process; does not return.

    Without a succession it starts as any daemon does.
    """
    command = [sys.executable, "-P", "-m", "pwfs_daemon", *arguments]
    if succession is not None:
        command += ["--handover-fd", str(_write(succession))]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, command)


def _write(succession: Succession) -> int:
    assert succession.mount is not None
    record = _Record(
        mountpoint=succession.mount.mountpoint,
        mount=handover.encode(succession.mount),
        unix_fd=succession.unix_fd,
        tcp_fd=succession.tcp_fd,
    )
    descriptor = os.memfd_create("patchwork-handover", 0)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(msgspec.msgpack.encode(record))
    os.lseek(descriptor, 0, os.SEEK_SET)
    for inherited in (*succession.mount.descriptors(), succession.unix_fd, succession.tcp_fd):
        os.set_inheritable(inherited, True)
    return descriptor


def read(descriptor: int) -> Succession:
    """Reads what the program before this one left; nothing else may be open yet.

    From one of another version only the sockets are kept.
    """
    with os.fdopen(descriptor, "rb") as file:
        record = msgspec.msgpack.decode(file.read(), type=_Record)
    sockets = (record.unix_fd, record.tcp_fd)
    for inherited in sockets:
        os.set_inheritable(inherited, False)
    try:
        return Succession(handover.decode(record.mount), *sockets)
    except HandoverRefused as error:
        give_up(Path(record.mountpoint), but_for=sockets)
        return Succession(None, *sockets, error)


def give_up(mountpoint: Path, *, but_for: Collection[int] = ()) -> None:
    """Takes the mount away, with all that was inherited: programs in it get an error."""
    unmount(mountpoint)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) >= _FIRST_FD and int(name) not in but_for:
            with contextlib.suppress(OSError):
                os.close(int(name))
