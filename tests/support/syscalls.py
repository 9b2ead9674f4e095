"""System calls that Python's standard library does not have, with OSError for their errno."""

import ctypes
import os
from pathlib import Path

AT_FDCWD = -100

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
RENAME_WHITEOUT = 4

KEEP_SIZE = 1
PUNCH_HOLE = 2
COLLAPSE_RANGE = 8
ZERO_RANGE = 16
INSERT_RANGE = 32

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
_libc.renameat2.argtypes = [
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_uint,
]


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """Allocates, zeroes or frees a range of an open file."""
    _check(_libc.fallocate(fd, mode, offset, length))


def rename(old: Path, new: Path, flags: int) -> None:
    """Renames with flags."""
    _check(_libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags))


def exchange(one: Path, other: Path) -> None:
    """Exchanges two names."""
    rename(one, other, RENAME_EXCHANGE)
