"""Whether a blob's file holds what its name says, found out by reading it once.

A file is known by its inode number, size and times: whoever changes it through the filesystem
changes one of them, and it is read again. What a disk does to it below the filesystem shows only
when it is read for the first time after a start, or by `patchwork fsck`, which reads everything.
"""

import errno
import hashlib
import itertools
import os
import stat
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from pwfs.model.errors import BlobDamaged
from pwfs.model.ids import BlobHash

KNOWN_MAX = 65_536
_CHUNK_BYTES = 1 << 20
_Identity = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class GoodFile:
    """A blob's file that was found good.

    ``number`` is no other's, from 1. ``identity`` is what it had then: device, inode number, size
    in bytes, and mtime and ctime in nanoseconds.
    """

    number: int
    path: Path
    identity: _Identity

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        return self.identity[2]


DAMAGE = frozenset(
    {
        errno.EACCES,
        errno.EBADMSG,  # ext4: a checksum is wrong
        errno.EIO,
        errno.EISDIR,
        errno.ELOOP,  # a symbolic link, which O_NOFOLLOW refuses
        errno.ENXIO,
        errno.EPERM,
        errno.EUCLEAN,  # the filesystem's structure is damaged
    }
)
"""What opening or reading a file fails with when it, not the process, is at fault."""


class VerifiedFiles:
    """The blobs whose files were found good, the least recently used forgotten; for all threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[BlobHash, GoodFile] = OrderedDict()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def has(self, blob_hash: BlobHash, status: os.stat_result) -> bool:
        """Whether this very file was found good and is as it was then."""
        with self._lock:
            good = self._known.get(blob_hash)
            if good is None or good.identity != _identity(status):
                return False
            self._known.move_to_end(blob_hash)
            return True

    def get(self, blob_hash: BlobHash) -> GoodFile | None:
        """The file that was found good; who uses it sees for himself whether it is as it was."""
        return self._known.get(blob_hash)

    def add(self, blob_hash: BlobHash, path: Path, status: os.stat_result) -> None:
        """Notes that a file, as it was before it was read, holds what its name says."""
        with self._lock:
            good = GoodFile(next(self._numbers), path, _identity(status))
            self._known[blob_hash] = good
            if len(self._known) > KNOWN_MAX:
                self._known.popitem(last=False)


def check_file(descriptor: int, blob_hash: BlobHash, status: os.stat_result) -> None:
    """Reads a blob's file and compares it with its name; ``status`` is its.

    Raises:
        BlobDamaged: it is no file, cannot be read, or holds other bytes.
    """
    if not stat.S_ISREG(status.st_mode):
        raise BlobDamaged(blob_hash=blob_hash, reason="is not a file")
    digest = hashlib.sha256()
    size_bytes = 0
    try:
        while chunk := os.pread(descriptor, _CHUNK_BYTES, size_bytes):
            digest.update(chunk)
            size_bytes += len(chunk)
    except OSError as error:
        if error.errno not in DAMAGE:
            raise
        reason = f"cannot be read: {error.strerror}"
        raise BlobDamaged(blob_hash=blob_hash, reason=reason) from error
    if digest.hexdigest() != blob_hash:
        raise BlobDamaged(blob_hash=blob_hash, reason=f"holds {size_bytes} other bytes")


def _identity(status: os.stat_result) -> _Identity:
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
