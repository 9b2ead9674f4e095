"""Contents of files in a directory: ``ab/cdef…`` holds the bytes whose SHA-256 is ``abcdef…``.

A blob appears under its name whole, by a link or a rename, and never changes: it is read-only, and
may be a hard link to the file a program wrote. What is being written lies in ``tmp``; what a
killed process left there is removed when the store is opened, which is why only the holder of the
repository's lock may open it.
"""

import ctypes
import errno
import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pwfs.model.errors import BlobMissing, Corrupt, NoSpace, TooLarge
from pwfs.model.ids import BlobHash, hash_blob, is_hash

if TYPE_CHECKING:
    from pwfs.store.protocols import BlobStore

_MODE = 0o444
_COPY_BYTES = 1 << 20
# The file cannot have another name there: another filesystem, too many names already, or a kernel
# (fs.protected_hardlinks) or filesystem that does not allow it.
_NO_LINK = {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP}


class FileBlobStore:
    """Implements `pwfs.store.protocols.BlobStore` in the directory ``root``, made if missing."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._shards = {f"{number:02x}": self._root / f"{number:02x}" for number in range(256)}
        self._temporary = self._root / "tmp"
        self._numbers = itertools.count()
        # The subdirectories known to be on disk in the root, so that it is fsynced once for each.
        self._durable_shards: set[Path] = set()
        with _refused_when_full("the blobs' directory"):
            if not self._root.is_dir():
                self._root.mkdir(parents=True, exist_ok=True)
                _sync_directory(self._root.parent)
            self._temporary.mkdir(exist_ok=True)
            for leftover in self._temporary.iterdir():
                leftover.unlink()

    def put(self, content: bytes, *, sync: bool = False) -> BlobHash:
        blob_hash = hash_blob(content)
        if not self._is_stored(blob_hash, len(content), sync=sync):
            with self._new_file(blob_hash, len(content)) as (temporary, descriptor):
                _write(descriptor, content)
                self._enter(temporary, descriptor, blob_hash, sync=sync)
        return blob_hash

    def put_stream(
        self, chunks: Iterable[bytes], *, size_bytes_max: int, sync: bool = False
    ) -> tuple[BlobHash, int]:
        digest = hashlib.sha256()
        size_bytes = 0
        with self._new_file("a content", None) as (temporary, descriptor):
            for chunk in chunks:
                size_bytes += len(chunk)
                if size_bytes > size_bytes_max:
                    raise TooLarge(size_bytes=size_bytes, size_bytes_max=size_bytes_max)
                digest.update(chunk)
                _write(descriptor, chunk)
            blob_hash = BlobHash(digest.hexdigest())
            if not self._is_stored(blob_hash, size_bytes, sync=sync):
                self._enter(temporary, descriptor, blob_hash, sync=sync)
        return blob_hash, size_bytes

    def adopt(self, file: Path, blob_hash: BlobHash, *, sync: bool = False) -> None:
        target = self.path(blob_hash)
        with _refused_when_full(f"blob {blob_hash}"):
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if self._is_stored(blob_hash, os.fstat(descriptor).st_size, sync=sync):
                    return
                os.fchmod(descriptor, _MODE)
                if sync:
                    os.fsync(descriptor)
                try:
                    self._link(file, target)
                except OSError as error:
                    if error.errno not in _NO_LINK:
                        raise
                    self._copy(descriptor, blob_hash, sync=sync)
                    return
                if sync:
                    self._sync_directories(target)
            finally:
                os.close(descriptor)

    def get(self, blob_hash: BlobHash) -> bytes:
        try:
            content = self.path(blob_hash).read_bytes()
        except FileNotFoundError:
            raise BlobMissing(blob_hash=blob_hash) from None
        if hash_blob(content) != blob_hash:
            raise Corrupt(what=f"Blob {blob_hash} holds other bytes than its name says")
        return content

    def open(self, blob_hash: BlobHash) -> int:
        try:
            return os.open(self.path(blob_hash), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise BlobMissing(blob_hash=blob_hash) from None

    def path(self, blob_hash: BlobHash) -> Path:
        if not is_hash(blob_hash):  # it must not name a place outside the store
            raise BlobMissing(blob_hash=blob_hash)
        return self._shards[blob_hash[:2]] / blob_hash[2:]

    def has(self, blob_hash: BlobHash) -> bool:
        return is_hash(blob_hash) and self.path(blob_hash).exists()

    def size(self, blob_hash: BlobHash) -> int:
        try:
            return self.path(blob_hash).stat().st_size
        except FileNotFoundError:
            raise BlobMissing(blob_hash=blob_hash) from None

    def hashes(self) -> Iterator[BlobHash]:
        for prefix, shard in self._shards.items():
            if shard.is_dir():
                for file in shard.iterdir():
                    if is_hash(prefix + file.name):
                        yield BlobHash(prefix + file.name)

    def sync_all(self) -> None:
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with _refused_when_full("the blobs"):
                _sync_filesystem(descriptor)
        finally:
            os.close(descriptor)

    def _temporary_file(self) -> Path:
        return self._temporary / str(next(self._numbers))

    def _is_stored(self, blob_hash: BlobHash, size_bytes: int, *, sync: bool) -> bool:
        """Tells whether a blob is there, and makes it durable if asked.

        One that was never synced may come back from a power failure empty or short. The size
        shows that, and it is then written anew.
        """
        target = self.path(blob_hash)
        try:
            if target.stat().st_size != size_bytes:
                return False
            if sync:
                # Who put it before may not have synced it; where that happened this costs little.
                descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                self._sync_directories(target)
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def _new_file(self, what: str, size_bytes: int | None) -> Iterator[tuple[Path, int]]:
        """Opens a temporary file that is gone at the end, unless `_enter` gave it its name."""
        said = what if size_bytes is None else f"blob {what} of {size_bytes} bytes"
        temporary = self._temporary_file()
        with _refused_when_full(said):
            descriptor = os.open(
                temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
            )
            try:
                yield temporary, descriptor
            finally:
                os.close(descriptor)
                temporary.unlink(missing_ok=True)

    def _enter(self, temporary: Path, descriptor: int, blob_hash: BlobHash, *, sync: bool) -> None:
        """Gives a finished temporary file its name."""
        os.fchmod(descriptor, _MODE)
        if sync:
            os.fsync(descriptor)
        target = self.path(blob_hash)
        self._rename(temporary, target)
        if sync:
            self._sync_directories(target)

    def _copy(self, source: int, blob_hash: BlobHash, *, sync: bool) -> None:
        digest = hashlib.sha256()
        with self._new_file(blob_hash, os.fstat(source).st_size) as (temporary, descriptor):
            offset = 0
            while chunk := os.pread(source, _COPY_BYTES, offset):
                digest.update(chunk)
                _write(descriptor, chunk)
                offset += len(chunk)
            if digest.hexdigest() != blob_hash:
                raise Corrupt(what=f"The file to become blob {blob_hash} holds other bytes")
            self._enter(temporary, descriptor, blob_hash, sync=sync)

    def _rename(self, temporary: Path, target: Path) -> None:
        try:
            temporary.rename(target)
        except FileNotFoundError:
            target.parent.mkdir(exist_ok=True)
            temporary.rename(target)

    def _link(self, source: Path, target: Path) -> None:
        """Gives a file the target's name too, in place of a damaged blob if there is one."""
        try:
            target.hardlink_to(source)
        except FileNotFoundError:
            target.parent.mkdir(exist_ok=True)
            target.hardlink_to(source)
        except FileExistsError:
            temporary = self._temporary_file()
            temporary.hardlink_to(source)
            temporary.rename(target)
            # Between two names of one file a rename does nothing, and says that it did.
            temporary.unlink(missing_ok=True)

    def _sync_directories(self, target: Path) -> None:
        """Makes a blob's name durable: in its directory, and that directory in the root."""
        shard = target.parent
        _sync_directory(shard)
        if shard not in self._durable_shards:
            _sync_directory(self._root)
            self._durable_shards.add(shard)


def _write(descriptor: int, content: bytes) -> None:
    """Writes all of it; the kernel takes at most 2 GiB at once."""
    written = os.write(descriptor, content)
    while written < len(content):
        written += os.write(descriptor, memoryview(content)[written:])


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_libc = ctypes.CDLL(None, use_errno=True)


def _sync_filesystem(descriptor: int) -> None:
    """Calls syncfs(2), which Python does not have."""
    if _libc.syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextmanager
def _refused_when_full(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(what=f"{what} could not be written") from error
        raise


if TYPE_CHECKING:

    def _implements(blobs: FileBlobStore) -> BlobStore:
        return blobs
