# Plain strings and calls, as everywhere that system calls are what is tested.
# ruff: noqa: PTH115, PTH118, PTH123
"""What a mounted directory shows, and the tree hash of it, by nothing but system calls.

The encoding of trees is written down here a second time, from docs/on-disk-format.md and not from
the code, so that what the code records can be compared with something that is not the code.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

CHUNK_BYTES = 1 << 20
FILE, EXECUTABLE, SYMLINK, DIRECTORY = 0o100644, 0o100755, 0o120000, 0o040000


@dataclass(frozen=True, slots=True)
class Shown:
    """One name: what is versioned of it. A directory has no digest, nor has a special file."""

    mode: int
    digest: str = ""
    size: int = 0

    @property
    def is_versionable(self) -> bool:
        """Whether the log could have it."""
        return self.mode in (FILE, EXECUTABLE, SYMLINK)


def walk(top: str, *, large_bytes: int | None = None) -> Iterator[tuple[str, Shown]]:
    """Yields everything below a directory but the directories, by path.

    A file that may not be opened (EIO) has no digest; nor has, unread, one above ``large_bytes``.

    Raises:
        AssertionError: a file's bytes are not as many as ``stat`` said before and after.
    """
    for name, path, status in _entries(top):
        if stat.S_ISDIR(status.st_mode):
            for below, shown in walk(path, large_bytes=large_bytes):
                yield f"{name}/{below}", shown
        elif large_bytes is not None and status.st_size > large_bytes:
            yield name, Shown(_versioned(status.st_mode), "", status.st_size)
        else:
            yield name, look(path, status)


def root_hash(top: str) -> str:
    """The hash of the tree that a directory shows, computed from the names and bytes alone."""
    rows = []
    for name, path, status in _entries(top):
        if stat.S_ISDIR(status.st_mode):
            rows.append((name.encode(), DIRECTORY, 0, bytes.fromhex(root_hash(path))))
        else:
            shown = look(path, status)
            rows.append((name.encode(), shown.mode, shown.size, bytes.fromhex(shown.digest)))
    encoded = _head(len(rows), 0x90, 16, (0xDC, 0xDD))
    for row_name, mode, size, digest in sorted(rows):
        encoded += b"\x94" + _text(row_name) + _number(mode) + _number(size) + _bytes(digest)
    return hashlib.sha256(encoded).hexdigest()


def look(path: str, status: os.stat_result) -> Shown:
    """Reads one file or symbolic link."""
    mode = _versioned(status.st_mode)
    if mode == SYMLINK:
        target = os.fsencode(os.readlink(path))
        assert len(target) == status.st_size, (
            f"{path}: a link of {status.st_size} bytes: {target!r}"
        )
        return Shown(mode, hashlib.sha256(target).hexdigest(), len(target))
    if mode == 0:
        return Shown(mode)
    digest, size = hashlib.sha256(), 0
    try:
        with open(path, "rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
            after = os.fstat(file.fileno()).st_size
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return Shown(mode, "", status.st_size)
    assert size == status.st_size == after, f"{path}: {status.st_size}, {size} read, then {after}"
    return Shown(mode, digest.hexdigest(), size)


def _entries(top: str) -> Iterator[tuple[str, str, os.stat_result]]:
    for name in sorted(os.listdir(top)):  # noqa: PTH208
        path = os.path.join(top, name)
        yield name, path, os.lstat(path)


def _versioned(bits: int) -> int:
    if stat.S_ISLNK(bits):
        return SYMLINK
    if stat.S_ISREG(bits):
        return EXECUTABLE if bits & 0o100 else FILE
    return 0


# MessagePack, as far as trees need it.


def _head(count: int, small: int, small_max: int, tags: tuple[int, int]) -> bytes:
    if count < small_max:
        return bytes([small | count])
    if count < 1 << 16:
        return bytes([tags[0]]) + count.to_bytes(2)
    return bytes([tags[1]]) + count.to_bytes(4)


def _text(text: bytes) -> bytes:
    if len(text) < 32:
        return bytes([0xA0 | len(text)]) + text
    return b"\xd9" + bytes([len(text)]) + text


def _bytes(data: bytes) -> bytes:
    return b"\xc4" + bytes([len(data)]) + data


def _number(number: int) -> bytes:
    if number < 128:
        return bytes([number])
    for tag, width in ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)):
        if number < 1 << 8 * width:
            return bytes([tag]) + number.to_bytes(width)
    raise OverflowError(number)
