"""Blobs in files and in memory: the conformance suite, and what only files promise."""

import errno
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from pwfs.model.errors import BlobDamaged, BlobMissing, Corrupt, NoSpace, StoreFailed
from pwfs.model.ids import hash_blob
from pwfs.store.blobs import SYNCED_ONE_BY_ONE_MAX, FileBlobStore
from pwfs.store.protocols import BlobStore
from tests.store.conformance_blobs import BlobConformance
from tests.store.memory import MemoryBlobStore
from tests.support.damage import DAMAGES, damage

CONTENT = b"a content of some length"
NAME = hash_blob(CONTENT)


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobStore:
    return FileBlobStore(tmp_path / "blobs")


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were fsynced, in order."""
    paths: list[str] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        paths.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    return paths


def files_below(directory: Path) -> list[Path]:
    return [file for file in directory.rglob("*") if file.is_file()]


def working_file(directory: Path, content: bytes = CONTENT) -> Path:
    file = directory / "working"
    file.write_bytes(content)
    return file


def store(blobs: FileBlobStore, directory: Path, way: str) -> None:
    """Stores CONTENT one way or another."""
    if way == "put":
        blobs.put(CONTENT)
    elif way == "put_stream":
        blobs.put_stream([CONTENT], size_bytes_max=100)
    else:
        blobs.adopt(working_file(directory), NAME)


class TestFileBlobs(BlobConformance):
    """The suite, on files."""

    @pytest.fixture
    def blobs(self, tmp_path: Path) -> BlobStore:
        return FileBlobStore(tmp_path / "blobs")


class TestMemoryBlobs(BlobConformance):
    """The suite, on something that is no directory of files."""

    @pytest.fixture
    def blobs(self, tmp_path: Path) -> Iterator[BlobStore]:
        store = MemoryBlobStore()
        yield store
        store.close()


def test_a_blob_lies_under_its_name_and_is_read_only(blobs: FileBlobStore, tmp_path: Path) -> None:
    """Two digits of directory, the rest of file, mode 0444, and nothing beside it."""
    blobs.put(CONTENT)
    expected = tmp_path / "blobs" / NAME[:2] / NAME[2:]
    assert files_below(tmp_path) == [expected]
    assert expected == blobs.path(NAME)
    assert stat.S_IMODE(expected.stat().st_mode) == 0o444


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_the_mode_does_not_depend_on_the_umask(blobs: FileBlobStore, umask: int) -> None:
    """0444 whatever the caller's habits."""
    before = os.umask(umask)
    try:
        blobs.put(CONTENT)
    finally:
        os.umask(before)
    assert stat.S_IMODE(blobs.path(NAME).stat().st_mode) == 0o444


def test_a_store_is_found_again(blobs: FileBlobStore, tmp_path: Path) -> None:
    """What one instance put, another one has."""
    blobs.put(CONTENT)
    assert FileBlobStore(tmp_path / "blobs").get(NAME) == CONTENT


def test_threads_may_adopt_one_content_at_once(blobs: FileBlobStore, tmp_path: Path) -> None:
    """Also where the directory for its name is not there yet."""
    threads_count = 4
    for number in range(60):
        content = str(number).encode()
        shutil.rmtree(blobs.path(hash_blob(content)).parent, ignore_errors=True)
        files = [tmp_path / f"working{thread}" for thread in range(threads_count)]
        for file in files:
            file.write_bytes(content)
        together = Barrier(threads_count)

        def adopt(file: Path, content: bytes = content, together: Barrier = together) -> None:
            together.wait()
            blobs.adopt(file, hash_blob(content))

        with ThreadPoolExecutor(threads_count) as pool:
            list(pool.map(adopt, files))
        assert blobs.get(hash_blob(content)) == content


@pytest.mark.parametrize("way", ["put", "put_stream", "adopt"])
def test_a_blob_that_was_stored_meanwhile_stays(
    blobs: FileBlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """It is synced, as the file that would come in its place is not."""
    hard_link = Path.hardlink_to
    stored: list[int] = []

    def link_late(path: Path, source: Path) -> None:
        monkeypatch.undo()
        blobs.put(CONTENT, sync=True)
        stored.append(blobs.path(NAME).stat().st_ino)
        hard_link(path, source)

    monkeypatch.setattr(Path, "hardlink_to", link_late)
    store(blobs, tmp_path, way)
    assert [blobs.path(NAME).stat().st_ino] == stored
    assert blobs.get(NAME) == CONTENT
    assert files_below(tmp_path / "blobs" / "tmp") == []


def test_other_bytes_under_the_name_are_corrupt(blobs: FileBlobStore) -> None:
    """Reading says so, and names the blob."""
    blobs.put(CONTENT)
    file = blobs.path(NAME)
    file.chmod(0o600)
    file.write_bytes(CONTENT.upper())
    with pytest.raises(BlobDamaged, match=NAME):
        blobs.get(NAME)


@pytest.mark.parametrize("way", ["put", "put_stream", "adopt"])
def test_a_blob_cut_short_by_a_power_failure_is_written_anew(
    blobs: FileBlobStore, tmp_path: Path, way: str
) -> None:
    """A file that was never synced may come back empty; storing the content again mends it."""
    blobs.put(CONTENT)
    file = blobs.path(NAME)
    file.unlink()
    file.touch()
    store(blobs, tmp_path, way)
    assert blobs.get(NAME) == CONTENT
    assert files_below(tmp_path / "blobs" / "tmp") == []


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("known", [False, True], ids=["unread", "read before"])
def test_damage_is_never_given_out(blobs: FileBlobStore, kind: str, known: bool) -> None:
    """Whatever happened to a file, before it was read or after: reading refuses it."""
    blobs.put(CONTENT)
    if known:
        blobs.verify(NAME)
    damage(kind, blobs.path(NAME))
    assert not blobs.is_verified(NAME)
    for read in (blobs.open, blobs.get, blobs.verify):
        with pytest.raises(BlobMissing if kind == "gone" else BlobDamaged, match=NAME):
            read(NAME)


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("way", ["put", "put_stream", "adopt"])
def test_storing_a_damaged_content_again_mends_it(
    blobs: FileBlobStore, tmp_path: Path, kind: str, way: str
) -> None:
    """Though a file of that name, perhaps of that size, is there; also for good, on disk."""
    blobs.put(CONTENT)
    damage(kind, blobs.path(NAME))
    if way == "put":
        blobs.put(CONTENT, sync=True)
    elif way == "put_stream":
        blobs.put_stream([CONTENT], size_bytes_max=100)
    else:
        blobs.adopt(working_file(tmp_path), NAME)
    assert blobs.get(NAME) == CONTENT
    assert blobs.path(NAME).is_file()
    assert files_below(tmp_path / "blobs" / "tmp") == []
    assert list(blobs.hashes()) == [NAME]


def test_what_cannot_be_read_is_damaged(
    blobs: FileBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk's error while a content is read; a lack of descriptors is the process's own."""
    blobs.put(CONTENT)

    def broken(descriptor: int, size: int, offset: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", broken)
        with pytest.raises(BlobDamaged, match="cannot be read"):
            blobs.open(NAME)

    def exhausted(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", exhausted)
        with pytest.raises(OSError, match="open files"):
            blobs.open(NAME)


def test_a_content_is_read_once_to_be_verified(
    blobs: FileBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening it again costs no reading, as long as nobody changes the file."""
    blobs.put(CONTENT)
    os.close(blobs.open(NAME))

    def refused(*_: object) -> bytes:
        raise AssertionError("nothing is read")

    monkeypatch.setattr(os, "pread", refused)
    os.close(blobs.open(NAME))


@pytest.mark.parametrize("number", [1, SYNCED_ONE_BY_ONE_MAX + 1])
def test_what_was_put_without_sync_is_synced_later(
    blobs: FileBlobStore, tmp_path: Path, synced: list[str], number: int
) -> None:
    """One by one, or with the filesystem where they are many; each once."""
    contents = [b"%d" % index for index in range(number)]
    for content in contents:
        blobs.put(content)
    assert synced == []
    blobs.sync()
    files = {str(blobs.path(hash_blob(content))) for content in contents}
    assert (files <= set(synced)) == (number == 1)
    before = len(synced)
    blobs.sync()
    assert len(synced) == before


def test_a_blob_whose_fsync_failed_is_written_anew(
    blobs: FileBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may hold for clean what never reached the disk: the next sync copies it."""
    blobs.put(CONTENT)
    first = blobs.path(NAME).stat().st_ino

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        with pytest.raises(StoreFailed, match="Input/output"):
            blobs.sync()
    blobs.sync()
    assert blobs.path(NAME).stat().st_ino != first
    assert blobs.get(NAME) == CONTENT


def test_a_synced_blob_is_synced_with_its_directories(
    blobs: FileBlobStore, tmp_path: Path, synced: list[str]
) -> None:
    """The file before it has its name, then both directories (promise 2)."""
    blobs.put(CONTENT, sync=True)
    root = tmp_path / "blobs"
    assert synced[0].startswith(str(root / "tmp"))
    assert synced[1:] == [str(root / NAME[:2]), str(root)]


@pytest.mark.parametrize("way", ["put", "put_stream", "adopt"])
def test_a_blob_put_before_without_sync_is_synced_too(
    blobs: FileBlobStore, tmp_path: Path, synced: list[str], way: str
) -> None:
    """That it was there already does not mean that it was on disk."""
    blobs.put(CONTENT)
    assert synced == []
    if way == "put":
        blobs.put(CONTENT, sync=True)
    elif way == "put_stream":
        blobs.put_stream([CONTENT], size_bytes_max=100, sync=True)
    else:
        blobs.adopt(working_file(tmp_path), NAME, sync=True)
    root = tmp_path / "blobs"
    assert synced == [str(blobs.path(NAME)), str(root / NAME[:2]), str(root)]


def test_adopting_costs_no_copy(blobs: FileBlobStore, tmp_path: Path, synced: list[str]) -> None:
    """The file itself is the blob from then on, read-only, and synced when asked."""
    file = working_file(tmp_path)
    blobs.adopt(file, NAME, sync=True)
    assert blobs.path(NAME).samefile(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o444
    root = tmp_path / "blobs"
    assert synced == [str(file), str(root / NAME[:2]), str(root)]


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EMLINK, errno.EPERM])
def test_adopting_copies_where_it_cannot_link(
    blobs: FileBlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Another filesystem, too many links, a system that forbids it."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    file = working_file(tmp_path)
    monkeypatch.setattr(os, "link", refused)
    blobs.adopt(file, NAME, sync=True)
    assert not blobs.path(NAME).samefile(file)
    assert blobs.get(NAME) == CONTENT
    wrong = hash_blob(b"not what the file holds")
    with pytest.raises(Corrupt, match=wrong):
        blobs.adopt(file, wrong)
    assert list(blobs.hashes()) == [NAME]
    assert files_below(tmp_path / "blobs" / "tmp") == []


def test_a_symbolic_link_is_not_adopted(blobs: FileBlobStore, tmp_path: Path) -> None:
    """A blob that points elsewhere would change with it."""
    link = tmp_path / "link"
    link.symlink_to(working_file(tmp_path))
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        blobs.adopt(link, NAME)
    assert not blobs.has(NAME)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_leaves_nothing_behind(
    blobs: FileBlobStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
) -> None:
    """NoSpace, no blob, no temporary file, and it works again once there is room."""

    def full(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(NoSpace):
            blobs.put(CONTENT, sync=True)
        with pytest.raises(NoSpace):
            blobs.put_stream([CONTENT], size_bytes_max=100, sync=True)
    assert files_below(tmp_path / "blobs") == []
    blobs.put(CONTENT, sync=True)
    assert blobs.get(NAME) == CONTENT


def test_a_short_write_is_continued(blobs: FileBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may take less than it was given."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, content: write(fd, bytes(content[:5])))
    blobs.put(CONTENT)
    assert blobs.get(NAME) == CONTENT


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """When the store is opened next, and only that."""
    script = (
        "import os, sys; from pathlib import Path; from pwfs.store.blobs import FileBlobStore\n"
        "blobs = FileBlobStore(Path(sys.argv[1]))\n"
        "blobs.put(b'whole')\n"
        "def half():\n"
        "    yield b'half of it'\n"
        "    os.kill(os.getpid(), 9)\n"
        "blobs.put_stream(half(), size_bytes_max=100)\n"
    )
    root = tmp_path / "blobs"
    killed = subprocess.run([sys.executable, "-c", script, root], check=False, timeout=30)
    assert killed.returncode == -9
    assert len(files_below(root)) == 2
    blobs = FileBlobStore(root)
    assert list(blobs.hashes()) == [hash_blob(b"whole")]
    assert len(files_below(root)) == 1


def test_strangers_in_the_directory_are_not_blobs(blobs: FileBlobStore, tmp_path: Path) -> None:
    """Whatever lies about is not listed."""
    blobs.put(CONTENT)
    for stranger in ("README", "tmp/1", f"{NAME[:2]}/short", f"{NAME[:2]}/{'Z' * 62}"):
        (tmp_path / "blobs" / stranger).write_text("")
    assert list(blobs.hashes()) == [NAME]
