# Plain strings and calls: a request is answered in less time than Path objects take.
# ruff: noqa: PTH104
"""What the mount has the disk below do: sparse copies, allocating, finding holes.

All of it blocks; what is large belongs into a thread.
"""

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os

from pyfuse3 import StatvfsData

from pwfs.fs.errors import refusal
from pwfs.model.ids import BlobHash
from pwfs.model.paths import NAME_LENGTH_MAX_BYTES

KEEP_SIZE = 1
PUNCH_HOLE = 2
ZERO_RANGE = 16
_ALLOCATE_MODES = frozenset(
    {0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE}
)
_CHUNK_BYTES = 1 << 20
_AT_FDCWD = -100
_EXCHANGE = 2
# The disks that cannot copy inside the kernel, or not between these two files.
_NOT_COPIED = frozenset({errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def exchange_names(first: str, second: str, *, are_both: bool, is_first: bool) -> None:
    """Exchanges two names, or moves the only one that is there to the other name.

    Raises:
        OSError: as the disk answers; nothing has moved then.
    """
    if not are_both:
        source, target = (first, second) if is_first else (second, first)
        os.rename(source, target)
    elif _libc.renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def allocate(fd: int, mode: int, offset: int, length: int) -> None:
    """Does what fallocate(2) does.

    Raises:
        FUSEError: the mode is none that we know (EOPNOTSUPP).
        OSError: as the disk answers.
    """
    if mode not in _ALLOCATE_MODES:
        raise refusal(errno.EOPNOTSUPP)
    while _libc.fallocate(fd, mode, offset, length) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def is_read_write(fd: int) -> bool:
    """Whether a descriptor may be written to as well."""
    return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR


def without_atime(fd: int) -> None:
    """Has reading leave the time of access alone, where the daemon may say so."""
    with contextlib.suppress(PermissionError):
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NOATIME)


def write_all(fd: int, data: bytes, offset: int) -> int:
    """Writes all of the data; raises OSError when not even a part fits any more."""
    written = os.pwrite(fd, data, offset)
    total = written
    while total < len(data):
        written = os.pwrite(fd, memoryview(data)[total:], offset + total)
        if written == 0:
            raise refusal(errno.EIO)
        total += written
    return total


def copy_file(source: int, target: int, size: int) -> None:
    """Copies the first ``size`` bytes into an empty file; what is a hole there is one here.

    Raises:
        FUSEError: the source ends before (EIO).
    """
    if size > os.fstat(source).st_size:
        raise refusal(errno.EIO)
    position = 0
    while position < size:
        try:
            begin = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        end = min(os.lseek(source, begin, os.SEEK_HOLE), size)
        if begin >= size:
            break
        if copy_range(source, begin, target, begin, end - begin) != end - begin:
            raise refusal(errno.EIO)
        position = end
    os.ftruncate(target, size)


def copy_range(source: int, offset_in: int, target: int, offset_out: int, length: int) -> int:
    """Copies bytes from one file to another; returns how many, fewer where the source ends."""
    copied = 0
    while copied < length:
        left = length - copied
        try:
            count = os.copy_file_range(
                source, target, left, offset_in + copied, offset_out + copied
            )
        except OSError as error:
            if error.errno not in _NOT_COPIED:
                raise
            chunk = os.pread(source, min(_CHUNK_BYTES, left), offset_in + copied)
            count = write_all(target, chunk, offset_out + copied) if chunk else 0
        if count == 0:
            break
        copied += count
    return copied


def hash_file(fd: int, size: int) -> BlobHash:
    """Names a file's content.

    Raises:
        FUSEError: it is shorter than ``size`` bytes (EIO).
    """
    digest = hashlib.sha256()
    offset = 0
    while offset < size:
        chunk = os.pread(fd, min(_CHUNK_BYTES, size - offset), offset)
        if not chunk:
            raise refusal(errno.EIO)
        digest.update(chunk)
        offset += len(chunk)
    return BlobHash(digest.hexdigest())


def disk_usage(place: str) -> StatvfsData:
    """What the disk below says of its room, with the mount's own limit for names."""
    disk = os.statvfs(place)
    shown = StatvfsData()
    fields = ("bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail")
    for field in fields:
        setattr(shown, f"f_{field}", getattr(disk, f"f_{field}"))
    shown.f_namemax = NAME_LENGTH_MAX_BYTES
    return shown
