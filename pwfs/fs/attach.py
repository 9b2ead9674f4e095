# Plain strings and calls: a request is answered in less time than Path objects take.
# ruff: noqa: PTH115, PTH116, PTH123
"""Puts a workspace where the user asked for it: a bind mount, or a symbolic link without root.

And keeps the place of our own mount from being written to while nothing is mounted there. These
calls walk into our own mount, so they run in threads while the event loop answers.
"""

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import stat
import subprocess
from pathlib import Path

from pwfs.model.errors import DirectoryNotEmpty

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_BIND = 4096
_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8
_COVER = "patchwork-unmounted"
_libc = ctypes.CDLL(None, use_errno=True)


def attach(source: Path, directory: Path) -> None:
    """Makes ``directory`` show ``source``.

    Raises:
        DirectoryNotEmpty: something is in it already.
    """
    clear_dead(directory)
    if os.geteuid() == 0:
        directory.mkdir(parents=True, exist_ok=True)
        if _shows(directory, source):
            return
        _check_empty(directory)
        _call("mount", os.fsencode(source), os.fsencode(directory), None, _MS_BIND, None)
        return
    if directory.is_symlink():
        if Path(os.readlink(directory)) == source:
            return
        raise DirectoryNotEmpty(directory=str(directory))
    if directory.exists():
        _check_empty(directory)
        directory.rmdir()
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.symlink_to(source)


def attach_again(source: Path, directory: Path) -> Path | None:
    """Makes ``directory`` show ``source``, as it did for an earlier daemon.

    While no daemon ran, programs that went on by its path wrote into the directory itself. That is
    moved aside whole; where to is returned.
    """
    try:
        attach(source, directory)
    except DirectoryNotEmpty:
        aside = _move_aside(directory)
        attach(source, directory)
        return aside
    return None


def _move_aside(directory: Path) -> Path:
    aside = directory.with_name(f"{directory.name}~{secrets.token_hex(3)}")
    directory.rename(aside)
    return aside


def empty(directory: Path) -> Path | None:
    """Moves a directory aside whole if anything but a mount is in it; where to is returned.

    That is what programs wrote there by its path while no daemon ran.
    """
    if is_mount(directory) or not directory.is_dir():
        return None
    try:
        _check_empty(directory)
    except DirectoryNotEmpty:
        return _move_aside(directory)
    return None


def cover(directory: Path) -> None:
    """Keeps programs from writing into a mount point while nothing is mounted over this.

    A program that goes on between two daemons would take the bare directory for its workspace, and
    the next mount would hide what it wrote. Root, whom no permission stops, finds a read-only
    filesystem there; without root see `forbid`.
    """
    if os.geteuid() != 0 or _COVER in _mounted(directory):
        return
    flags = _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    with contextlib.suppress(OSError):  # where only FUSE may be mounted
        _call("mount", _COVER.encode(), os.fsencode(directory), b"tmpfs", flags, b"mode=0555")


def uncover(directory: Path) -> None:
    """Undoes `cover`, and `forbid`."""
    mounted = _mounted(directory)
    if not mounted:
        permit(directory)
    elif os.geteuid() == 0 and mounted[-1] == _COVER:
        unmount(directory)


def forbid(directory: int) -> None:
    """Keeps its owner from making files in a directory; does nothing for root.

    fusermount3 mounts only where its user may write, so this comes after mounting, through a
    descriptor that was opened before. A directory that others may write to as well stays theirs.
    """
    mode = os.fstat(directory).st_mode
    if os.geteuid() != 0 and not mode & 0o022:
        os.fchmod(directory, stat.S_IMODE(mode) & ~0o200)


def permit(directory: Path) -> None:
    """Undoes `forbid`."""
    mode = directory.stat().st_mode
    if os.geteuid() != 0 and not mode & 0o222:
        directory.chmod(stat.S_IMODE(mode) | 0o200)


def detach(directory: Path) -> None:
    """Undoes `attach`, also when programs still use the directory."""
    if directory.is_symlink():
        directory.unlink()
    elif os.geteuid() == 0:
        unmount(directory)


def unmount(directory: Path) -> None:
    """Takes away a mount, if there is one, at once for new users and later for those there are."""
    if os.geteuid() == 0:
        try:
            _call("umount2", os.fsencode(directory), _MNT_DETACH | _UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):
                raise
        return
    fusermount = shutil.which("fusermount3")
    if fusermount is not None:
        subprocess.run(
            [fusermount, "-u", "-z", "-q", os.fspath(directory)], check=False, capture_output=True
        )


def clear_dead(directory: Path) -> None:
    """Takes away the mount of a daemon that died, if there is one."""
    for _ in range(16):
        try:
            # Attributes may be cached though nobody answers any more; statfs always asks.
            os.statvfs(directory)
        except OSError as error:
            if error.errno not in (errno.ENOTCONN, errno.EIO, errno.ECONNABORTED):
                return
            unmount(directory)
        else:
            return


def is_mount(directory: Path) -> bool:
    """Whether something is mounted there, without asking the mount."""
    return bool(_mounted(directory))


def _mounted(directory: Path) -> list[str]:
    """The sources of what is mounted at a place, the uppermost last."""
    wanted = os.fspath(directory)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        rows = [line.split(" ") for line in table]
    return [row[row.index("-") + 2] for row in rows if _unescaped(row[4]) == wanted]


def _unescaped(text: str) -> str:
    return text.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")


def _shows(directory: Path, source: Path) -> bool:
    if not is_mount(directory):
        return False
    return os.path.samestat(os.stat(directory), os.stat(source))


def _check_empty(directory: Path) -> None:
    with os.scandir(directory) as entries:
        if next(entries, None) is not None:
            raise DirectoryNotEmpty(directory=str(directory))


def _call(function: str, *args: bytes | int | None) -> None:
    ctypes.set_errno(0)
    if getattr(_libc, function)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), function)
