"""What every `BlobStore` promises.

A store is tested by a class that inherits `BlobConformance` and overrides the fixture ``blobs``.
"""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pwfs.model.errors import BlobMissing, TooLarge
from pwfs.model.ids import BlobHash, hash_blob
from pwfs.store.protocols import BlobStore

# One store serves all examples, which only adds to the test; and the suite is run by several classes.
shared_test = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    max_examples=50,
)
ABSENT = hash_blob(b"nobody stored this")


class BlobConformance:
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> BlobStore:
        """A new, empty store."""
        raise NotImplementedError

    @shared_test
    @given(content=st.binary(max_size=5000), sync=st.booleans())
    def test_a_content_comes_back(self, blobs: BlobStore, content: bytes, sync: bool) -> None:
        """Through every way of reading, under its SHA-256."""
        name = blobs.put(content, sync=sync)
        assert name == hash_blob(content)
        assert blobs.get(name) == content
        assert blobs.has(name)
        assert blobs.size(name) == len(content)
        assert blobs.path(name).read_bytes() == content
        descriptor = blobs.open(name)
        try:
            assert os.pread(descriptor, 9999, 0) == content
        finally:
            os.close(descriptor)

    def test_putting_twice_keeps_one(self, blobs: BlobStore) -> None:
        """Whichever way it comes, with sync or without."""
        name = blobs.put(b"same")
        assert blobs.put(b"same", sync=True) == blobs.put(b"same") == name
        assert blobs.put_stream([b"sa", b"me"], size_bytes_max=4) == (name, 4)
        blobs.put(b"other")
        assert sorted(blobs.hashes()) == sorted([name, hash_blob(b"other")])

    def test_what_is_absent_is_missing(self, blobs: BlobStore) -> None:
        """Said by name; also of what is no hash, which must not name a place elsewhere."""
        assert not blobs.has(ABSENT)
        for name in (ABSENT, BlobHash("../../etc/passwd"), BlobHash("")):
            assert not blobs.has(name)
            for read in (blobs.get, blobs.open, blobs.size):
                with pytest.raises(BlobMissing) as missing:
                    read(name)
                assert missing.value.blob_hash == name

    @pytest.mark.parametrize("sync", [False, True])
    def test_a_stream_is_stored_whole(self, blobs: BlobStore, sync: bool) -> None:
        """Up to the limit exactly, empty pieces and no pieces too."""
        chunks = [b"a" * 1000, b"", b"b" * 24]
        name, size_bytes = blobs.put_stream(chunks, size_bytes_max=1024, sync=sync)
        assert size_bytes == 1024
        assert blobs.get(name) == b"".join(chunks)
        assert blobs.put_stream([], size_bytes_max=0) == (hash_blob(b""), 0)

    def test_a_stream_that_is_too_long_leaves_nothing(self, blobs: BlobStore) -> None:
        """It is refused as soon as it is too long, not when it ends."""

        def endless() -> Iterator[bytes]:
            while True:
                yield b"more"

        with pytest.raises(TooLarge) as refusal:
            blobs.put_stream(endless(), size_bytes_max=1001)
        assert refusal.value.size_bytes_max == 1001
        assert list(blobs.hashes()) == []

    def test_a_stream_that_breaks_leaves_nothing(self, blobs: BlobStore) -> None:
        """The sender's error passes through."""

        def broken() -> Iterator[bytes]:
            yield b"some"
            raise ConnectionError("gone")

        with pytest.raises(ConnectionError):
            blobs.put_stream(broken(), size_bytes_max=1001)
        assert list(blobs.hashes()) == []

    @pytest.mark.parametrize("sync", [False, True])
    def test_a_file_is_adopted(self, blobs: BlobStore, tmp_path: Path, sync: bool) -> None:
        """It becomes the blob, and its own name may go."""
        file = tmp_path / "working"
        file.write_bytes(b"written by a program")
        name = hash_blob(b"written by a program")
        blobs.adopt(file, name, sync=sync)
        blobs.adopt(file, name, sync=sync)
        file.unlink()
        assert blobs.get(name) == b"written by a program"
        assert list(blobs.hashes()) == [name]

    def test_adopting_what_is_known_keeps_it(self, blobs: BlobStore, tmp_path: Path) -> None:
        """The content is there already; the file is free to go."""
        name = blobs.put(b"known")
        file = tmp_path / "working"
        file.write_bytes(b"known")
        blobs.adopt(file, name)
        file.unlink()
        assert blobs.get(name) == b"known"

    def test_a_reader_keeps_what_it_opened(self, blobs: BlobStore) -> None:
        """Its descriptor stays good while others put the same content."""
        name = blobs.put(b"held")
        descriptor = blobs.open(name)
        try:
            blobs.put(b"held", sync=True)
            assert os.pread(descriptor, 10, 0) == b"held"
        finally:
            os.close(descriptor)

    def test_threads_may_put_at_once(self, blobs: BlobStore) -> None:
        """The same contents and different ones."""
        contents = [b"content %d" % number for number in range(60)]

        def put_all() -> None:
            for content in contents:
                blobs.put(content)

        threads = [threading.Thread(target=put_all) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(blobs.hashes()) == sorted(map(hash_blob, contents))
        assert [blobs.get(hash_blob(content)) for content in contents] == contents

    def test_everything_can_be_synced(self, blobs: BlobStore) -> None:
        """Empty or not."""
        for sync in (blobs.sync, blobs.sync_all):
            sync()
            blobs.put(b"some")
            sync()

    def test_a_content_is_verified_by_opening_it(self, blobs: BlobStore) -> None:
        """And one that is not there cannot be."""
        name = blobs.put(b"some")
        blobs.verify(name)
        assert blobs.is_verified(name)
        assert not blobs.is_verified(ABSENT)
        with pytest.raises(BlobMissing):
            blobs.verify(ABSENT)
