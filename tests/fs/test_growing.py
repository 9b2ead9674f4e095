"""Large files are hashed while they are written; whatever is done to them, the hash is theirs."""

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pwfs.fs import growing
from pwfs.fs.content import Content
from pwfs.fs.growing import Growth
from tests.fs.conftest import Mounted

pytestmark = pytest.mark.timeout(60)

STEP_BYTES = 3 * 4096
MIB = 1 << 20


@pytest.fixture
def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Content]:
    """An empty working file, hashed in small steps."""
    monkeypatch.setattr(growing, "STEP_BYTES", STEP_BYTES)
    working = tmp_path / "working"
    fd = os.open(working, os.O_RDWR | os.O_CREAT)
    found = Content(fd, working, growth=Growth())
    yield found
    found.close()


def hashed(content: Content) -> str:
    """The hash of what is in the file, read as a whole."""
    return hashlib.sha256(os.pread(content.fd, content.size, 0)).hexdigest()


def is_growing(content: Content) -> bool:
    """Whether a part of it is hashed already."""
    return content.growth is not None and content.size >= STEP_BYTES


def test_what_is_written_in_order_is_hashed_meanwhile(content: Content) -> None:
    """The rest is read at the end."""
    for number in range(50):
        data = random.Random(number).randbytes(1000 + number)
        assert content.write(data, content.size) == len(data)
    growth = content.growth
    assert growth is not None
    assert growth.finish(content.fd, content.size) == hashed(content)


def test_whatever_order(content: Content, request: pytest.FixtureRequest) -> None:
    """Written at its end, before and behind it, cut and begun anew: the hash is that of the bytes."""
    chance = random.Random(int(request.config.getoption("hypothesis_seed")))
    ways = {"hashed meanwhile": 0, "read again": 0}
    for _ in range(300):
        os.ftruncate(content.fd, 0)
        content.growth = Growth()
        for _ in range(chance.randrange(12)):
            offset = content.size
            if chance.random() < 0.05:
                offset = max(0, offset + chance.randrange(-20_000, 20_000))
            content.write(chance.randbytes(chance.randrange(1, 9_000)), offset)
        ways["hashed meanwhile" if is_growing(content) else "read again"] += 1
        assert content.hash(content.size) == hashed(content)
        assert content.growth is None
    assert min(ways.values()) > 50, ways


def test_a_file_that_is_shorter_than_was_hashed_is_read_again(content: Content) -> None:
    """As one that cannot be read to its end."""
    content.write(bytes(4 * STEP_BYTES), 0)
    os.ftruncate(content.fd, 100)
    assert content.hash(100) == hashed(content)


def _plain(file: Path, data: bytes) -> None:
    file.write_bytes(data)


def _then_changed(file: Path, data: bytes) -> None:
    with file.open("w+b", buffering=0) as opened:
        opened.write(data)
        opened.seek(MIB)
        opened.write(b"changed")


def _then_cut_and_grown(file: Path, data: bytes) -> None:
    with file.open("w+b", buffering=0) as opened:
        opened.write(data)
        opened.truncate(20 * MIB)
        opened.seek(0, os.SEEK_END)
        opened.write(b"end")


def _emptied_and_written_again(file: Path, data: bytes) -> None:
    with file.open("w+b", buffering=0) as opened:
        opened.write(data)
        opened.truncate(0)
        opened.seek(0)
        opened.write(data[::-1])


def _then_punched(file: Path, data: bytes) -> None:
    with file.open("w+b", buffering=0) as opened:
        opened.write(data)
        os.posix_fallocate(opened.fileno(), 0, len(data) + 5)


def _synced_and_written_on(file: Path, data: bytes) -> None:
    with file.open("w+b", buffering=0) as opened:
        opened.write(data)
        os.fsync(opened.fileno())
        opened.write(data)


@pytest.mark.parametrize(
    "write",
    [
        _plain,
        _then_changed,
        _then_cut_and_grown,
        _emptied_and_written_again,
        _then_punched,
        _synced_and_written_on,
    ],
)
def test_what_a_mount_stores(mounted: Mounted, write: Callable[[Path, bytes], None]) -> None:
    """The content of a file of 40 MiB is what a program reads of it, and so is its name."""
    file = mounted.workspace() / "large"
    write(file, random.Random(1).randbytes(40 * MIB))
    expected = file.read_bytes()
    assert mounted.read("ws-work", "large") == expected
    blob = hashlib.sha256(expected).hexdigest()
    stored = mounted.repository / ".patchwork/blobs" / blob[:2] / blob[2:]
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == blob
