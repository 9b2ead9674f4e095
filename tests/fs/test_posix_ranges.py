# The system calls and their errno are what is tested.
# ruff: noqa: PT011
"""fallocate, SEEK_HOLE, copy_file_range: as on the disk, with the native library and without."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from tests.fs.conftest import Mounted, is_tracked
from tests.support.syscalls import (
    COLLAPSE_RANGE,
    INSERT_RANGE,
    KEEP_SIZE,
    PUNCH_HOLE,
    ZERO_RANGE,
    fallocate,
)

pytestmark = pytest.mark.timeout(60)

MIB = 1 << 20


@pytest.fixture
def pure(mounted: Mounted, monkeypatch: pytest.MonkeyPatch) -> Mounted:
    """The same mount without the native library."""
    monkeypatch.setenv("PATCHWORK_NATIVE", "0")
    mounted.stop()
    mounted.start()
    return mounted


def test_the_native_library_is_in_force(mounted: Mounted) -> None:
    """The tests of this file mean what they say: the library was built and pyfuse3 uses it."""
    assert mounted.call("is_native") is True


def test_fallocate_extends_or_keeps_the_size(mounted: Mounted, place: Path) -> None:
    """Mode 0 makes the file longer, by zeroes; KEEP_SIZE only takes room on the disk."""
    file = place / "f"
    file.write_bytes(b"begin")
    with file.open("r+b", buffering=0) as opened:
        fallocate(opened.fileno(), 0, 0, 10_000)
        assert os.fstat(opened.fileno()).st_size == 10_000
        fallocate(opened.fileno(), KEEP_SIZE, 0, MIB)
        status = os.fstat(opened.fileno())
        assert status.st_size == 10_000
        assert status.st_blocks * 512 >= MIB
        os.posix_fallocate(opened.fileno(), 0, 3 * MIB)
        assert os.fstat(opened.fileno()).st_size == 3 * MIB
        assert opened.read() == b"begin".ljust(3 * MIB, b"\0")
    assert file.stat().st_size == 3 * MIB
    assert file.read_bytes() == b"begin".ljust(3 * MIB, b"\0")
    if is_tracked(place):
        assert mounted.ops() == [("create", "kept/f"), ("modify", "kept/f")]
        assert mounted.read("ws-work", "kept/f") == b"begin".ljust(3 * MIB, b"\0")


@pytest.mark.parametrize("size", [8192, 4 * MIB])
def test_holes_are_punched_and_ranges_zeroed(mounted: Mounted, place: Path, size: int) -> None:
    """PUNCH_HOLE and ZERO_RANGE replace bytes by zeroes, also those that are cached already."""
    file = place / "f"
    file.write_bytes(b"x" * size)
    part = size // 4
    with file.open("r+b", buffering=0) as opened:
        assert opened.read() == b"x" * size
        fallocate(opened.fileno(), PUNCH_HOLE | KEEP_SIZE, part, part)
        fallocate(opened.fileno(), ZERO_RANGE, 3 * part + 5, size)
        expected = b"x" * part + b"\0" * part + b"x" * (part + 5) + b"\0" * size
        opened.seek(0)
        assert opened.read() == expected
        fallocate(opened.fileno(), ZERO_RANGE | KEEP_SIZE, len(expected), size)
        assert os.fstat(opened.fileno()).st_size == len(expected)
    assert file.read_bytes() == expected
    if is_tracked(place):
        assert mounted.read("ws-work", "kept/f") == expected


def test_fallocate_of_what_was_captured_leaves_the_blob_alone(mounted: Mounted) -> None:
    """An allocation is a write: main keeps its bytes, and a mere KEEP_SIZE is no operation."""
    ws = mounted.workspace()
    with (ws / "README.md").open("r+b", buffering=0) as opened:
        fallocate(opened.fileno(), KEEP_SIZE, 0, MIB)
    assert mounted.ops() == []
    with (ws / "README.md").open("r+b", buffering=0) as opened:
        fallocate(opened.fileno(), PUNCH_HOLE | KEEP_SIZE, 0, 2)
        os.fsync(opened.fileno())
        assert mounted.ops() == [("modify", "README.md")]
        fallocate(opened.fileno(), PUNCH_HOLE | KEEP_SIZE, 2, 2)
    assert mounted.read("ws-work", "README.md") == b"\0\0\0\0o\n"
    assert (mounted.main / "README.md").read_bytes() == b"hello\n"
    assert len(mounted.ops()) == 2


def test_what_fallocate_refuses(mounted: Mounted, place: Path) -> None:
    """COLLAPSE_RANGE and INSERT_RANGE are EOPNOTSUPP, a read-only descriptor is EBADF."""
    file = place / "f"
    file.write_bytes(b"x" * 16384)
    with file.open("r+b", buffering=0) as opened:
        for mode in (COLLAPSE_RANGE, INSERT_RANGE):
            with pytest.raises(OSError) as refused:
                fallocate(opened.fileno(), mode, 0, 4096)
            assert refused.value.errno == errno.EOPNOTSUPP
        with pytest.raises(OSError) as refused:
            fallocate(opened.fileno(), 0, 0, 1 << 62)
        assert refused.value.errno in (errno.EFBIG, errno.ENOSPC)
    for name in (file, mounted.main / "README.md"):
        with name.open("rb", buffering=0) as opened:
            with pytest.raises(OSError) as refused:
                fallocate(opened.fileno(), 0, 0, 4096)
            assert refused.value.errno == errno.EBADF
    assert file.read_bytes() == b"x" * 16384


def test_holes_are_found(place: Path) -> None:
    """SEEK_DATA and SEEK_HOLE, while a file is written and afterwards."""
    file = place / "f"
    with file.open("w+b", buffering=0) as opened:
        os.truncate(opened.fileno(), 4 * MIB)
        os.pwrite(opened.fileno(), b"data", MIB)
        for _ in range(2):
            assert os.lseek(opened.fileno(), 0, os.SEEK_DATA) == MIB
            assert os.lseek(opened.fileno(), 0, os.SEEK_HOLE) == 0
            hole = os.lseek(opened.fileno(), MIB, os.SEEK_HOLE)
            assert MIB < hole < 2 * MIB
            with pytest.raises(OSError) as refused:
                os.lseek(opened.fileno(), hole, os.SEEK_DATA)
            assert refused.value.errno == errno.ENXIO
            assert os.lseek(opened.fileno(), hole, os.SEEK_HOLE) == hole
            os.fsync(opened.fileno())
    with file.open("rb", buffering=0) as opened:
        assert os.lseek(opened.fileno(), 0, os.SEEK_DATA) == MIB
        assert os.lseek(opened.fileno(), 0, os.SEEK_END) == 4 * MIB


def test_a_sparse_file_above_four_gibibytes(mounted: Mounted, place: Path) -> None:
    """Its size is exact, and it takes the room of its data only; so does a copy of it."""
    size = 5 * (1 << 30) + 7
    file = place / "big"
    with file.open("w+b", buffering=0) as opened:
        opened.truncate(size)
        os.pwrite(opened.fileno(), b"end", size - 3)
        os.pwrite(opened.fileno(), b"middle", (1 << 32) - 2)
        status = os.fstat(opened.fileno())
        assert status.st_size == size
        assert status.st_blocks * 512 < MIB
    status = file.stat()
    assert (status.st_size, status.st_blocks * 512 < MIB) == (size, True)
    subprocess.run(["cp", file, place / "copy"], check=True)
    copy = (place / "copy").stat()
    assert (copy.st_size, copy.st_blocks * 512 < MIB) == (size, True)
    with (place / "copy").open("rb", buffering=0) as opened:
        assert os.pread(opened.fileno(), 6, (1 << 32) - 2) == b"middle"
        assert os.pread(opened.fileno(), 10, size - 3) == b"end"
        assert os.lseek(opened.fileno(), 0, os.SEEK_DATA) <= (1 << 32) - 2
    assert mounted.ops() == []


def test_ranges_are_copied_between_files(mounted: Mounted, place: Path) -> None:
    """copy_file_range: within a file, to another one, from main, and never past the end."""
    source, target = place / "source", place / "target"
    content = os.urandom(3 * MIB)
    source.write_bytes(content)
    target.write_bytes(b"-" * 100)
    with source.open("rb") as reading, target.open("r+b", buffering=0) as writing:
        assert writing.read() == b"-" * 100
        count = os.copy_file_range(reading.fileno(), writing.fileno(), 4 * MIB, 10, 50)
        assert count == 3 * MIB - 10
        writing.seek(0)
        assert writing.read() == b"-" * 50 + content[10:]
        assert os.copy_file_range(reading.fileno(), writing.fileno(), 10, 3 * MIB, 0) == 0
        assert os.copy_file_range(writing.fileno(), writing.fileno(), 50, 0, 50) == 50
    expected = b"-" * 100 + content[60:]
    assert target.read_bytes() == expected
    with (mounted.main / "README.md").open("rb") as reading, target.open("r+b") as writing:
        assert os.copy_file_range(reading.fileno(), writing.fileno(), 100, 0, 1) == 6
    expected = b"-hello\n" + expected[7:]
    assert target.read_bytes() == expected
    if is_tracked(place):
        assert mounted.read("ws-work", "kept/target") == expected
        with target.open("rb") as reading, target.open("rb") as other:
            with pytest.raises(OSError) as refused:
                os.copy_file_range(reading.fileno(), other.fileno(), 10)
            assert refused.value.errno == errno.EBADF


def test_many_ranges_at_once(place: Path) -> None:
    """Requests that take their time do not mix: several programs copy and punch at once."""
    content = os.urandom(8 * MIB)
    (place / "source").write_bytes(content)
    script = (
        "import os, sys\n"
        "with open('source', 'rb') as r, open(sys.argv[1], 'w+b') as w:\n"
        "    for at in range(0, 8 << 20, 2 << 20):\n"
        "        assert os.copy_file_range(r.fileno(), w.fileno(), 2 << 20, at, at) == 2 << 20\n"
        "        os.posix_fallocate(w.fileno(), at, 3 << 20)\n"
    )
    running = [
        subprocess.Popen(["python3", "-c", script, f"copy{number}"], cwd=place)
        for number in range(4)
    ]
    assert [process.wait() for process in running] == [0] * 4
    for number in range(4):
        assert (place / f"copy{number}").read_bytes() == content + b"\0" * MIB


def test_without_the_library_the_mount_works(pure: Mounted) -> None:
    """Then allocating is refused or imitated, every byte is data; what is written is the same."""
    assert pure.call("is_native") is False
    ws = pure.workspace()
    file = ws / "f"
    file.write_bytes(b"begin")
    with file.open("r+b", buffering=0) as opened:
        with pytest.raises(OSError) as refused:
            fallocate(opened.fileno(), 0, 0, 10_000)
        assert refused.value.errno == errno.EOPNOTSUPP
        os.posix_fallocate(opened.fileno(), 0, 10_000)
        assert os.lseek(opened.fileno(), 0, os.SEEK_HOLE) == 10_000
    (ws / "copy").write_bytes(b"")
    with file.open("rb") as reading, (ws / "copy").open("r+b") as writing:
        while os.copy_file_range(reading.fileno(), writing.fileno(), 20_000):
            pass
    assert (ws / "copy").read_bytes() == b"begin".ljust(10_000, b"\0")
    assert pure.read("ws-work", "copy") == b"begin".ljust(10_000, b"\0")
