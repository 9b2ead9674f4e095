"""What puts files and directories on disk."""

import ctypes
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
_START_WRITING = 2  # SYNC_FILE_RANGE_WRITE


def sync_file(path: Path) -> None:
    """Calls fsync(2) on a file; follows no symbolic link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def start_writing(path: Path) -> None:
    """Has the kernel begin to write a file; that is all. What fails, `sync_file` tells.

    Of files that were begun together the filesystem commits many at once when the first is synced.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    try:
        # It waits for nothing, so no error of writing is reported here, and lost there.
        _libc.sync_file_range(descriptor, 0, 0, _START_WRITING)
    finally:
        os.close(descriptor)


def sync_directory(directory: Path | str) -> None:
    """Calls fsync(2) on a directory: the names in it are on disk then."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_filesystem(directory: Path) -> None:
    """Calls syncfs(2), which Python does not have, on the filesystem of a directory."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)
