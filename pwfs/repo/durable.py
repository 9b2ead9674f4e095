"""How far a repository is known to be on disk, so that a start after a crash checks the rest only.

One line in ``.patchwork/durable``: a sequence number, ``clean`` or ``open``, the machine's boot, a
checksum. Every content that an operation or landing up to the number names is on disk. ``clean``
says that the repository was closed in order. If it was not, and the machine has been started again
since, then what was not synced may be damaged. A line that cannot be read says that nothing is known.
"""

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from pwfs.model.ids import SEQ_ZERO, Seq
from pwfs.store.syncing import sync_directory

_LINE_BYTES = 96
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Note:
    """What the file says; see the module."""

    seq: Seq
    is_clean: bool
    boot: str


class DurablePoint:
    """The file; `advance` may be called from any thread, one at a time."""

    def __init__(self, path: Path) -> None:
        is_new = not path.exists()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._boot = _BOOT.read_text().strip()
        found = parse(os.pread(self._fd, _LINE_BYTES, 0))
        self.seq = found.seq
        self.was_clean = found.is_clean
        """Whether the repository was closed in order."""
        self.has_lost_power = not found.is_clean and not is_new and found.boot != self._boot
        """Whether the machine went down while it was in use."""
        if is_new:
            self._write(SEQ_ZERO, is_clean=False)
            sync_directory(path.parent)

    def begin(self, seq: Seq) -> None:
        """Notes, before anything is written to the repository, that it is in use."""
        self._write(seq, is_clean=False)

    def advance(self, seq: Seq) -> None:
        """Notes that everything up to ``seq`` is on disk."""
        if seq > self.seq:
            self._write(seq, is_clean=False)

    def close(self, seq: Seq) -> None:
        """Notes that everything is on disk and nobody writes any more."""
        self._write(seq, is_clean=True)
        self.abandon()

    def abandon(self) -> None:
        """Lets go of the file, which goes on saying that the repository is in use."""
        os.close(self._fd)

    def _write(self, seq: Seq, *, is_clean: bool) -> None:
        # The line is shorter than a disk's sector, which is written whole or not at all.
        os.pwrite(self._fd, line(Note(seq, is_clean, self._boot)), 0)
        os.fsync(self._fd)
        self.seq = seq


def line(note: Note) -> bytes:
    """Writes a note as the file holds it."""
    state = "clean" if note.is_clean else "open"
    said = f"{note.seq:020d} {state} {note.boot} ".encode()
    return (said + b"%08x" % zlib.crc32(said)).ljust(_LINE_BYTES - 1) + b"\n"


def parse(found: bytes) -> Note:
    """Reads a line; what is torn or missing says nothing."""
    fields = found.decode("ascii", "replace").split()
    if len(fields) == 4 and fields[0].isdigit():
        note = Note(Seq(int(fields[0])), fields[1] == "clean", fields[2])
        if line(note) == found:
            return note
    return Note(SEQ_ZERO, is_clean=False, boot="")
