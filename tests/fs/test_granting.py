# The system calls and their errno are what is tested.
# ruff: noqa: PT011
"""Readers whose files the native library opens: they see what they would see without it."""

import errno
import os
import random
from pathlib import Path

import pytest

from tests.fs.conftest import MAIN_FILES, Mounted, is_tracked

pytestmark = pytest.mark.timeout(60)

LARGE = 300_000


def reader(path: Path) -> int:
    """A descriptor that the library made: the daemon was asked for the one before."""
    for _ in range(2):
        os.close(os.open(path, os.O_RDONLY))
    return os.open(path, os.O_RDONLY)


def read_anew(fd: int) -> bytes:
    """What a file has, from the mount and not from what the kernel remembers."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    return os.pread(fd, 1 << 20, 0)


def test_readers_see_what_is_written_later(place: Path) -> None:
    """In place, cut, and longer, by somebody who opened the file before or after them."""
    file = place / "f"
    file.write_bytes(b"first" * 1000)
    early = os.open(file, os.O_RDWR)
    fd = reader(file)
    assert read_anew(fd) == b"first" * 1000
    os.pwrite(early, b"FIRST", 0)
    assert read_anew(fd) == b"FIRST" + b"first" * 999
    os.close(early)
    assert read_anew(fd) == b"FIRST" + b"first" * 999
    again = reader(file)
    os.truncate(file, 5)
    assert read_anew(fd) == read_anew(again) == b"FIRST"
    with file.open("ab") as appending:
        appending.write(b" and more")
    assert read_anew(fd) == read_anew(again) == read_anew(reader(file)) == b"FIRST and more"
    file.write_bytes(b"anew")
    assert read_anew(fd) == read_anew(again) == b"anew"
    for each in (fd, again):
        os.close(each)


def test_readers_of_what_has_no_name_any_more(mounted: Mounted, place: Path) -> None:
    """Removed, replaced, or removed before the log was told of what was written to it."""
    for name in ("removed", "replaced", "rewritten"):
        (place / name).write_bytes(name.encode())
    mounted.files()
    removed, replaced, rewritten = (
        reader(place / name) for name in ("removed", "replaced", "rewritten")
    )
    (place / "removed").unlink()
    (place / "new").write_bytes(b"new")
    (place / "new").rename(place / "replaced")
    with (place / "rewritten").open("r+b", buffering=0) as file:
        file.write(b"REWR")
        (place / "rewritten").unlink()
    assert read_anew(removed) == b"removed"
    assert read_anew(replaced) == b"replaced"
    assert read_anew(rewritten) == b"REWRitten"
    assert (place / "replaced").read_bytes() == b"new"
    assert [os.fstat(fd).st_nlink for fd in (removed, replaced, rewritten)] == [0, 0, 0]
    for fd in (removed, replaced, rewritten):
        os.close(fd)
    if is_tracked(place):
        assert mounted.read("ws-work", f"{place.name}/replaced") == b"new"


def test_readers_of_a_file_that_moves_to_and_from_the_log(mounted: Mounted) -> None:
    """They go on with the same bytes, and see what is written under the new name."""
    ws = mounted.workspace()
    fd = reader(ws / "README.md")
    (ws / "README.md").rename(ws / "ignored.log")
    assert read_anew(fd) == MAIN_FILES["README.md"]
    (ws / "ignored.log").rename(ws / "again.md")
    assert read_anew(fd) == MAIN_FILES["README.md"]
    with (ws / "again.md").open("r+b", buffering=0) as file:
        file.write(b"HELLO")
    assert read_anew(fd)[:5] == b"HELLO"
    assert mounted.read("ws-work", "again.md")[:5] == b"HELLO"
    os.close(fd)


def test_more_files_than_descriptors_are_kept_for(
    place: Path, request: pytest.FixtureRequest
) -> None:
    """Whether the daemon or the library reads, the bytes are the file's."""
    chance = random.Random(int(request.config.getoption("hypothesis_seed")))
    contents = {f"f{n}": chance.randbytes(LARGE) for n in range(300)}
    for name, content in contents.items():
        (place / name).write_bytes(content)
    fds = {name: reader(place / name) for name in contents}
    for name in chance.choices(list(contents), k=1500):
        os.posix_fadvise(fds[name], 0, 0, os.POSIX_FADV_DONTNEED)
        offset = chance.randrange(LARGE)
        assert os.pread(fds[name], 4096, offset) == contents[name][offset : offset + 4096]
    for fd in fds.values():
        os.close(fd)


def test_nobody_opens_a_file_of_a_workspace_that_is_gone(mounted: Mounted) -> None:
    """Also by a way that was open before: the library is not asked any more."""
    ws = mounted.workspace()
    directory = os.open(ws, os.O_RDONLY)
    fd = reader(ws / "README.md")
    assert read_anew(fd) == MAIN_FILES["README.md"]
    mounted.call("destroy_workspace", "ws-work")
    with pytest.raises(OSError) as raised:
        os.close(os.open("README.md", os.O_RDONLY, dir_fd=directory))
    assert raised.value.errno in (errno.ESTALE, errno.ENOENT)
    os.close(fd)
    os.close(directory)
