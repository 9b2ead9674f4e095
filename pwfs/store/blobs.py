"""Contents of files in a directory: ``ab/cdef…`` holds the bytes whose SHA-256 is ``abcdef…``.

A blob appears under its name whole, by a link or a rename, and never changes: it is read-only, and
may be a hard link to the file a program wrote. What is being written lies in ``tmp``; what a
killed process left there is removed when the store is opened, which is why only the holder of the
repository's lock may open it.

What was stored without being synced is remembered until `sync`, which whoever makes the log durable
calls first. What a killed process left unsynced is `sync_all`'s.
"""

import errno
import hashlib
import itertools
import os
import secrets
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pwfs.model.errors import (
    BlobDamaged,
    BlobMissing,
    Corrupt,
    NoSpace,
    StoreFailed,
    TooLarge,
)
from pwfs.model.ids import BlobHash, hash_blob, is_hash
from pwfs.store.syncing import start_writing, sync_directory, sync_file, sync_filesystem
from pwfs.store.verifying import DAMAGE, GoodFile, VerifiedFiles, check_file

if TYPE_CHECKING:
    from pwfs.store.protocols import BlobStore

_MODE = 0o444
_COPY_BYTES = 1 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT}
SYNCED_ONE_BY_ONE_MAX = 4
"""More blobs than that are synced with all of their filesystem, by one call."""
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
        self._verified = VerifiedFiles()
        self._unsynced: dict[BlobHash, None] = {}
        # Those whose fsync failed: the kernel may call their pages clean, so they are copied.
        self._unwritten: set[BlobHash] = set()
        self._unsynced_lock = threading.Lock()
        self._syncing = threading.Lock()
        with _refused_when_full("the blobs' directory"):
            if not self._root.is_dir():
                self._root.mkdir(parents=True, exist_ok=True)
                sync_directory(self._root.parent)
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
        with _refused_when_full(f"blob {blob_hash}"):
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if self._is_stored(blob_hash, os.fstat(descriptor).st_size, sync=sync):
                    return
                os.fchmod(descriptor, _MODE)
                if sync:
                    os.fsync(descriptor)
                if self._link(file, blob_hash, sync=sync):
                    self._entered(blob_hash, sync=sync)
                else:
                    self._copy(descriptor, blob_hash, sync=sync)
            finally:
                os.close(descriptor)

    def get(self, blob_hash: BlobHash) -> bytes:
        descriptor = self._open_file(blob_hash)
        try:
            with os.fdopen(descriptor, "rb", closefd=False, buffering=0) as file:
                content = file.read()
        except OSError as error:
            raise _damaged(error, blob_hash) from error
        finally:
            os.close(descriptor)
        if hash_blob(content) != blob_hash:
            reason = f"holds {len(content)} other bytes"
            raise BlobDamaged(blob_hash=blob_hash, reason=reason)
        return content

    def open(self, blob_hash: BlobHash) -> int:
        descriptor = self._open_file(blob_hash)
        try:
            status = os.fstat(descriptor)
            if not self._verified.has(blob_hash, status):
                check_file(descriptor, blob_hash, status)
                self._verified.add(blob_hash, self.path(blob_hash), status)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def verify(self, blob_hash: BlobHash) -> None:
        os.close(self.open(blob_hash))

    def is_verified(self, blob_hash: BlobHash) -> bool:
        try:
            status = os.lstat(self.path(blob_hash))
        except OSError:
            return False
        return self._verified.has(blob_hash, status)

    def good_file(self, blob_hash: BlobHash) -> GoodFile | None:
        return self._verified.get(blob_hash)

    def _open_file(self, blob_hash: BlobHash) -> int:
        # Something else may have taken its place: a link is not followed, a FIFO not waited for.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            return os.open(self.path(blob_hash), flags)
        except (FileNotFoundError, NotADirectoryError):
            raise BlobMissing(blob_hash=blob_hash) from None
        except OSError as error:
            raise _damaged(error, blob_hash) from error

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

    def sync(self) -> None:
        with self._synced() as pending:
            if len(pending) > SYNCED_ONE_BY_ONE_MAX and not self._unwritten:
                sync_filesystem(self._root)
            else:
                self._sync_each(pending)

    def sync_all(self) -> None:
        with self._synced():
            sync_filesystem(self._root)

    @contextmanager
    def _synced(self) -> Iterator[Collection[BlobHash]]:
        """Gives what is not synced; it counts as synced unless an error is raised."""
        # Whoever comes while another one syncs waits for it: what he stored may be among that.
        with self._syncing, _refused_when_full("the blobs"):
            with self._unsynced_lock:
                pending, self._unsynced = self._unsynced, {}
            try:
                yield pending
            except BaseException as error:
                with self._unsynced_lock:
                    self._unsynced = {**pending, **self._unsynced}
                if isinstance(error, OSError) and error.errno not in _FULL:
                    raise StoreFailed(what="blobs", reason=str(error.strerror)) from error
                raise

    def _sync_each(self, pending: Collection[BlobHash]) -> None:
        shards: dict[Path, None] = {}
        if len(pending) > 1:
            for blob_hash in pending:
                start_writing(self.path(blob_hash))
        for blob_hash in pending:
            target = self.path(blob_hash)
            try:
                self._sync_one(blob_hash, target)
            except FileNotFoundError:
                # Somebody removed it. Nothing that is done here brings it back; reading tells.
                continue
            shards[target.parent] = None
        for shard in shards:
            self._sync_shard(shard)

    def _sync_one(self, blob_hash: BlobHash, target: Path) -> None:
        if blob_hash in self._unwritten:
            descriptor = self._open_file(blob_hash)
            try:
                self._copy(descriptor, blob_hash, sync=True)
            finally:
                os.close(descriptor)
            self._unwritten.discard(blob_hash)
            return
        try:
            sync_file(target)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                self._unwritten.add(blob_hash)
            raise

    def _temporary_file(self) -> Path:
        return self._temporary / str(next(self._numbers))

    def _is_stored(self, blob_hash: BlobHash, size_bytes: int, *, sync: bool) -> bool:
        """Tells whether a blob is there and good, and makes it durable if asked.

        A damaged one is not: storing its content again replaces it. One that was never synced
        may come back from a power failure empty or short.
        """
        target = self.path(blob_hash)
        try:
            if target.lstat().st_size != size_bytes:
                return False
            self.verify(blob_hash)
            if sync:
                # Who put it before may not have synced it; where that happened this costs little.
                sync_file(target)
                self._sync_shard(target.parent)
        except (FileNotFoundError, NotADirectoryError, BlobMissing, BlobDamaged):
            return False
        return True

    def _entered(self, blob_hash: BlobHash, *, sync: bool) -> None:
        """After a blob got its name, its content synced already if ``sync``."""
        if sync:
            self._sync_shard(self.path(blob_hash).parent)
            return
        with self._unsynced_lock:
            self._unsynced[blob_hash] = None

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

    def _enter(
        self,
        temporary: Path,
        descriptor: int,
        blob_hash: BlobHash,
        *,
        sync: bool,
        replaces: bool = False,
    ) -> None:
        """Gives a finished temporary file its name, in place of a good blob only if it replaces it."""
        os.fchmod(descriptor, _MODE)
        if sync:
            os.fsync(descriptor)
        if replaces or not self._link(temporary, blob_hash, sync=sync):
            self._rename(temporary, self.path(blob_hash))
        self._entered(blob_hash, sync=sync)

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
            self._enter(temporary, descriptor, blob_hash, sync=sync, replaces=True)

    def _rename(self, temporary: Path, target: Path) -> None:
        try:
            temporary.rename(target)
        except FileNotFoundError:
            target.parent.mkdir(exist_ok=True)
            temporary.rename(target)
        except IsADirectoryError:
            self._set_aside(target)
            temporary.rename(target)

    def _link(self, source: Path, blob_hash: BlobHash, *, sync: bool) -> bool:
        """Gives a file a blob's name too; tells whether the disk has links for that.

        A blob that somebody stored meanwhile stays: it may be synced already, as this file is not.
        """
        target = self.path(blob_hash)
        try:
            _hard_link(source, target)
        except FileExistsError:
            if self._is_stored(blob_hash, source.lstat().st_size, sync=sync):
                return True
            temporary = self._temporary_file()
            temporary.hardlink_to(source)
            try:
                self._rename(temporary, target)
            finally:
                # Between two names of one file a rename does nothing, and says that it did.
                temporary.unlink(missing_ok=True)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            return False
        return True

    def _set_aside(self, directory: Path) -> None:
        """Moves away a directory that took a blob's place, with whatever is in it."""
        name = f"not-a-blob-{directory.parent.name}{directory.name}-{secrets.token_hex(3)}"
        directory.rename(self._root / name)

    def _sync_shard(self, shard: Path) -> None:
        """Makes names durable: in their directory, and that directory in the root."""
        sync_directory(shard)
        if shard not in self._durable_shards:
            sync_directory(self._root)
            self._durable_shards.add(shard)


def _hard_link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        target.parent.mkdir(exist_ok=True)
        target.hardlink_to(source)


def _write(descriptor: int, content: bytes) -> None:
    """Writes all of it; the kernel takes at most 2 GiB at once."""
    written = os.write(descriptor, content)
    while written < len(content):
        written += os.write(descriptor, memoryview(content)[written:])


def _damaged(error: OSError, blob_hash: BlobHash) -> OSError | BlobDamaged:
    """Says that a file is damaged, unless it is the process that lacks something."""
    if error.errno not in DAMAGE:
        return error
    return BlobDamaged(blob_hash=blob_hash, reason=f"cannot be read: {error.strerror}")


@contextmanager
def _refused_when_full(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoSpace(what=f"{what} could not be written") from error
        raise


if TYPE_CHECKING:

    def _implements(blobs: FileBlobStore) -> BlobStore:
        return blobs
