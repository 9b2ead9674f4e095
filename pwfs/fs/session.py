# Plain calls: this is about descriptors.
# ruff: noqa: PTH110, PTH115, PTH208
"""The session with the kernel: begun by mounting, or gone on with after a restart in place."""

import contextlib
import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pyfuse3

from pwfs.fs import attach as attaching
from pwfs.fs.native import library
from pwfs.fs.waiting import Waiting
from pwfs.model.errors import HandoverRefused, MountUnavailable

_THREADS = 2
"""How many take requests: while one reads from the disk the other answers."""


def prepare(mountpoint: Path) -> None:
    """Makes a place to mount at; what a dead daemon left there is taken away. Not for the loop.

    Raises:
        MountUnavailable: nothing can be mounted there.
    """
    if not os.path.exists("/dev/fuse"):
        raise MountUnavailable(
            reason="there is no /dev/fuse",
            advice="Load the fuse module, or give the container --device /dev/fuse.",
        )
    attaching.clear_dead(mountpoint)
    try:
        mountpoint.mkdir(parents=True, exist_ok=True)
        attaching.permit(mountpoint)
        attaching.cover(mountpoint)
    except OSError as error:
        raise MountUnavailable(
            reason=f"{mountpoint} cannot be made ({error.strerror})",
            advice="Choose another place with `patchwork serve --mount DIR`.",
        ) from error


def begin(operations: pyfuse3.Operations, mountpoint: Path) -> int:
    """Mounts; returns the descriptor of /dev/fuse, which pyfuse3 owns.

    Raises:
        MountUnavailable: the kernel, or fusermount3, refuses.
    """
    before = _fuse_descriptors()
    below = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        pyfuse3.init(operations, os.fspath(mountpoint), _options())
        attaching.forbid(below)
    except RuntimeError as error:
        attaching.uncover(mountpoint)
        raise MountUnavailable(
            reason=str(error),
            advice="In a container: --cap-add SYS_ADMIN --device /dev/fuse. "
            "Otherwise install fuse3, so that fusermount3 is there",
        ) from error
    finally:
        os.close(below)
    (fuse_fd,) = _fuse_descriptors() - before
    return fuse_fd


def resume(operations: pyfuse3.Operations, fuse_fd: int, connection: tuple[int, int, int]) -> None:
    """Goes on with a connection that this process began before it ran another program.

    libfuse takes a place of the form ``/dev/fd/N`` for a descriptor that is mounted already.

    Raises:
        HandoverRefused: that is not possible here.
    """
    os.set_inheritable(fuse_fd, False)
    pyfuse3.init(operations, f"/dev/fd/{fuse_fd}", _options())
    if not is_native() or library is None or not library.resume(connection):
        raise HandoverRefused(reason="libfuse does not go on with the session")


def _is_awaited(record: logging.LogRecord) -> bool:
    """Whether pyfuse3 complains of an answer that somebody waited for.

    The kernel says ENOENT to an answer when the request was taken back: its program was killed, or
    the mount is being taken away.
    """
    return not record.getMessage().endswith(f"failed with {os.strerror(errno.ENOENT)}")


def take_requests(fuse_fd: int, learn: Callable[[], None]) -> Waiting:
    """Has requests taken from the kernel, by threads of the library where it is there.

    ``learn`` is called before each that pyfuse3 takes.
    """
    ready = library.take(fuse_fd, _THREADS) if library is not None and is_native() else None
    waiting = Waiting(library, ready, learn) if ready is not None else Waiting(None, fuse_fd)
    waiting.install()
    logging.getLogger("pyfuse3").addFilter(_is_awaited)
    return waiting


def is_native() -> bool:
    """Whether the session was made through our library (see `pwfs.fs.native`)."""
    return library is not None and library.is_in_force


def _options() -> set[str]:
    options = {"default_permissions", "fsname=patchwork", "subtype=patchwork"}
    if os.geteuid() == 0 or _allows_other():
        options.add("allow_other")
    return options


def _allows_other() -> bool:
    try:
        text = Path("/etc/fuse.conf").read_text()
    except OSError:
        return False
    return any(line.strip() == "user_allow_other" for line in text.splitlines())


def _fuse_descriptors() -> set[int]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}") == "/dev/fuse":
                found.add(int(name))
    return found
