"""How far a repository is known to be on disk, so that a start after a crash checks the rest only.

One line in ``.patchwork/durable``: a sequence number, ``clean`` or ``open``, a checksum. Every
content that an operation or landing up to the number names is on disk. ``clean`` says that the
repository was closed in order. A line that cannot be read says that nothing is known.
"""

import os
import zlib
from pathlib import Path

from pwfs.model.ids import SEQ_ZERO, Seq
from pwfs.store.syncing import sync_directory

_LINE_BYTES = 48


class DurablePoint:
    """The file; `advance` may be called from any thread, one at a time."""

    def __init__(self, path: Path) -> None:
        is_new = not path.exists()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.seq, self.was_clean = _parse(os.pread(self._fd, _LINE_BYTES, 0))
        """What the file said when it was opened."""
        if is_new:
            self._write(SEQ_ZERO, "open")
            sync_directory(path.parent)

    def begin(self, seq: Seq) -> None:
        """Notes, before anything is written to the repository, that it is in use."""
        self._write(seq, "open")

    def advance(self, seq: Seq) -> None:
        """Notes that everything up to ``seq`` is on disk."""
        if seq > self.seq:
            self._write(seq, "open")

    def close(self, seq: Seq) -> None:
        """Notes that everything is on disk and nobody writes any more."""
        self._write(seq, "clean")
        self.abandon()

    def abandon(self) -> None:
        """Lets go of the file, which goes on saying that the repository is in use."""
        os.close(self._fd)

    def _write(self, seq: Seq, state: str) -> None:
        # The line is shorter than a disk's sector, which is written whole or not at all.
        os.pwrite(self._fd, _line(seq, state), 0)
        os.fsync(self._fd)
        self.seq = seq


def _line(seq: Seq, state: str) -> bytes:
    said = b"%020d %5s " % (seq, state.encode())
    return (said + b"%08x" % zlib.crc32(said)).ljust(_LINE_BYTES - 1) + b"\n"


def _parse(line: bytes) -> tuple[Seq, bool]:
    fields = line.split()
    if len(fields) == 3 and fields[0].isdigit():
        seq = Seq(int(fields[0]))
        for state in ("open", "clean"):
            if line == _line(seq, state):
                return seq, state == "clean"
    return SEQ_ZERO, False
