"""O_DIRECT, by write(2) and by Linux's asynchronous calls, beside readers that use the page cache."""

import ctypes
import mmap
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fs.conftest import Mounted, is_tracked

pytestmark = pytest.mark.timeout(60)

SIZE_BYTES = 65_536
WRITES = 500
_IO_SETUP, _IO_DESTROY, _IO_GETEVENTS, _IO_SUBMIT = 206, 207, 208, 209  # x86-64
_PWRITE = 1
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class Ring:
    """A context of io_setup(2) for one write at a time."""

    def __init__(self) -> None:
        self._context = ctypes.c_ulong(0)
        self._call(_IO_SETUP, 1, ctypes.byref(self._context))
        self._memory = mmap.mmap(-1, SIZE_BYTES)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))

    def write(self, descriptor: int, content: bytes) -> int:
        """Submits a write at the beginning of a file and waits for its result."""
        self._memory[: len(content)] = content
        block = ctypes.create_string_buffer(
            struct.pack(
                "=QIIHhIQQqQII",
                *(0, 0, 0, _PWRITE, 0, descriptor, self._address, len(content), 0, 0, 0, 0),
            )
        )
        blocks = (ctypes.c_void_p * 1)(ctypes.addressof(block))
        self._call(_IO_SUBMIT, self._context, ctypes.c_long(1), blocks)
        event = ctypes.create_string_buffer(32)
        one = ctypes.c_long(1)
        self._call(_IO_GETEVENTS, self._context, one, one, event, None)
        result: int = struct.unpack("=QQqq", event.raw)[2]
        return result

    def close(self) -> None:
        """Ends the context."""
        self._call(_IO_DESTROY, self._context)

    def _call(self, number: int, *arguments: object) -> None:
        if _libc.syscall(number, *arguments) < 0:
            raise OSError(ctypes.get_errno(), f"system call {number}")


@pytest.fixture
def ring() -> Iterator[Ring]:
    made = Ring()
    yield made
    made.close()


@contextmanager
def reading_all_the_time(file: Path) -> Iterator[int]:
    """A reader by the page cache, and another descriptor for whoever wants to look."""
    descriptor = os.open(file, os.O_RDONLY)
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            os.pread(descriptor, SIZE_BYTES, 0)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield descriptor
    finally:
        is_over.set()
        reader.join()
        os.close(descriptor)


def test_an_asynchronous_direct_write_is_seen_by_cached_readers(place: Path, ring: Ring) -> None:
    """As soon as it is complete, whatever a reader had the kernel cache while it was on its way."""
    file = place / "f"
    file.write_bytes(bytes(SIZE_BYTES))
    direct = os.open(file, os.O_RDWR | os.O_DIRECT)
    try:
        with reading_all_the_time(file) as cached:
            for number in range(WRITES):
                content = bytes([number % 255 + 1]) * SIZE_BYTES
                assert ring.write(direct, content) == SIZE_BYTES
                assert os.pread(cached, SIZE_BYTES, 0) == content
    finally:
        os.close(direct)


def test_a_direct_write_is_captured(mounted: Mounted, place: Path) -> None:
    """It is in the log when its file is closed."""
    file = place / "f"
    with mmap.mmap(-1, SIZE_BYTES) as memory:
        memory[:] = b"d" * SIZE_BYTES
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o644)
        assert os.write(descriptor, memory) == SIZE_BYTES
        os.close(descriptor)
    assert file.read_bytes() == b"d" * SIZE_BYTES
    if is_tracked(place):
        assert mounted.read("ws-work", f"{place.name}/f") == b"d" * SIZE_BYTES
