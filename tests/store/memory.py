"""Contents in memory: a store of another kind, which shows that the protocol asks for no directory."""

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from pwfs.model.errors import BlobMissing, TooLarge
from pwfs.model.ids import BlobHash, hash_blob
from pwfs.store.protocols import BlobStore
from pwfs.store.verifying import GoodFile


class MemoryBlobStore:
    """Keeps each content in an anonymous file (memfd_create) until `close`."""

    def __init__(self) -> None:
        self._descriptors: dict[BlobHash, int] = {}
        self._lock = threading.Lock()

    def put(self, content: bytes, *, sync: bool = False) -> BlobHash:
        blob_hash = hash_blob(content)
        with self._lock:
            if blob_hash not in self._descriptors:
                descriptor = os.memfd_create(blob_hash)
                os.write(descriptor, content)
                self._descriptors[blob_hash] = descriptor
        return blob_hash

    def put_stream(
        self, chunks: Iterable[bytes], *, size_bytes_max: int, sync: bool = False
    ) -> tuple[BlobHash, int]:
        content = bytearray()
        for chunk in chunks:
            content += chunk
            if len(content) > size_bytes_max:
                raise TooLarge(size_bytes=len(content), size_bytes_max=size_bytes_max)
        return self.put(bytes(content)), len(content)

    def adopt(self, file: Path, blob_hash: BlobHash, *, sync: bool = False) -> None:
        assert self.put(file.read_bytes()) == blob_hash

    def get(self, blob_hash: BlobHash) -> bytes:
        return os.pread(self._descriptor(blob_hash), self.size(blob_hash), 0)

    def open(self, blob_hash: BlobHash) -> int:
        return os.open(self.path(blob_hash), os.O_RDONLY)

    def good_file(self, blob_hash: BlobHash) -> GoodFile | None:
        return None

    def path(self, blob_hash: BlobHash) -> Path:
        return Path(f"/proc/{os.getpid()}/fd/{self._descriptor(blob_hash)}")

    def has(self, blob_hash: BlobHash) -> bool:
        return blob_hash in self._descriptors

    def size(self, blob_hash: BlobHash) -> int:
        return os.fstat(self._descriptor(blob_hash)).st_size

    def hashes(self) -> Iterator[BlobHash]:
        yield from self._descriptors

    def verify(self, blob_hash: BlobHash) -> None:
        os.close(self.open(blob_hash))

    def is_verified(self, blob_hash: BlobHash) -> bool:
        return self.has(blob_hash)

    def sync(self) -> None:
        """Nothing here outlives the process."""

    def sync_all(self) -> None:
        """Nothing here outlives the process."""

    def close(self) -> None:
        """Gives the memory back."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def _descriptor(self, blob_hash: BlobHash) -> int:
        try:
            return self._descriptors[blob_hash]
        except KeyError:
            raise BlobMissing(blob_hash=blob_hash) from None


def as_blob_store(blobs: MemoryBlobStore) -> BlobStore:
    """Holds the class to the protocol, for the type checker."""
    return blobs
