"""Which files of a workspace are open and not logged yet, so that a killed daemon loses nothing.

An append-only file beside the working files: one MessagePack array ``[id, paths, seen, process,
mode]`` when a working file is made or its paths change, ``[id]`` when it is done with; before each
its length and CRC-32, four bytes each. A write(2) into it survives the process; what must survive
the machine is captured by fsync. After a power failure it ends where a row is not whole.
"""

import contextlib
import errno
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pwfs.model.entries import FileEntry, Mode
from pwfs.model.ids import BlobHash, Seq
from pwfs.model.ops import Provenance
from pwfs.model.paths import RepoPath
from pwfs.repo.live import Seen

COMPACT_BYTES = 1 << 20
_FRAME = struct.Struct("<II")
_encoder = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A working file as the journal knows it."""

    id: str
    paths: tuple[RepoPath, ...]
    seen: Seen
    process: Provenance | None
    mode: Mode


class Journal:
    """The journal of one workspace, opened when first written to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self._live: dict[str, bytes] = {}
        self._size_bytes = 0
        self._is_torn = False

    def began(self, file: OpenFile) -> None:
        """Notes a working file before anything is written to it.

        Raises:
            OSError: it could not be noted.
        """
        row = _row(file)
        self._live[file.id] = row
        try:
            self._append(row)
        except BaseException:
            del self._live[file.id]
            raise

    def changed(self, file: OpenFile) -> None:
        """Notes that a working file's paths or mode are others now; `mend` repeats what fails."""
        row = _row(file)
        self._live[file.id] = row
        with contextlib.suppress(OSError):
            self._append(row)

    def ended(self, working_id: str) -> None:
        """Notes that a working file is done with; that it is gone says the same."""
        if self._live.pop(working_id, None) is None:
            return
        with contextlib.suppress(OSError):
            self._append(_encoder.encode([working_id]))
            if self._size_bytes > COMPACT_BYTES:
                self._compact()

    def mend(self) -> None:
        """Writes anew what could not be written.

        Raises:
            OSError: it still cannot.
        """
        if self._is_torn:
            self._compact()

    def _append(self, row: bytes) -> None:
        if self._is_torn:
            self._compact()
            return
        framed = _framed(row)
        try:
            if self._fd is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._fd = os.open(self._path, flags, 0o600)
            if os.write(self._fd, framed) < len(framed):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            # A part of the row may be there, and nothing that came behind it would be read.
            self._is_torn = True
            raise
        self._size_bytes += len(framed)

    def _compact(self) -> None:
        """Writes the rows that count anew, among them what is just being noted."""
        rows = b"".join(_framed(row) for row in self._live.values())
        temporary = self._path.with_suffix(".new")
        temporary.write_bytes(rows)
        temporary.replace(self._path)
        self.close()
        # Not counted from the rows: many live ones must not mean compacting every time.
        self._size_bytes = 0
        self._is_torn = False

    def close(self) -> None:
        """Closes the file; the next note opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def left_behind(self) -> list[OpenFile]:
        """What an earlier daemon had open, first opened first."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return []
        files: dict[str, OpenFile] = {}
        position = 0
        while position + _FRAME.size <= len(data):
            length, checksum = _FRAME.unpack_from(data, position)
            position += _FRAME.size
            row = data[position : position + length]
            position += length
            if not row or zlib.crc32(row) != checksum:
                break
            fields = msgspec.msgpack.decode(row)
            if len(fields) == 1:
                files.pop(fields[0], None)
            else:
                files[fields[0]] = _open_file(fields)
        return list(files.values())

    def clear(self) -> None:
        """Forgets everything."""
        self.close()
        self._live.clear()
        self._size_bytes = 0
        self._is_torn = False
        self._path.unlink(missing_ok=True)


def _row(file: OpenFile) -> bytes:
    seen, process = file.seen, file.process
    return _encoder.encode(
        [
            file.id,
            list(file.paths),
            [_flat(seen.base), seen.base_seq, _flat(seen.current)],
            [process.pid, process.command, process.uid] if process else None,
            file.mode.value,
        ]
    )


def _framed(row: bytes) -> bytes:
    return _FRAME.pack(len(row), zlib.crc32(row)) + row


def _flat(entry: FileEntry | None) -> list[object] | None:
    return [entry.content_hash, entry.mode.value, entry.size] if entry else None


def _entry(flat: Sequence[object] | None) -> FileEntry | None:
    if flat is None:
        return None
    content_hash, mode, size = flat
    return FileEntry(BlobHash(str(content_hash)), Mode(int(str(mode))), int(str(size)))


def _open_file(fields: list[object]) -> OpenFile:
    working_id, paths, seen, process, mode = fields
    assert isinstance(paths, list)
    assert isinstance(seen, list)
    base, base_seq, current = seen
    who = None
    if isinstance(process, list):
        who = Provenance(pid=process[0], command=process[1], uid=process[2])
    return OpenFile(
        id=str(working_id),
        paths=tuple(RepoPath(path) for path in paths),
        seen=Seen(_entry(base), Seq(base_seq), _entry(current)),
        process=who,
        mode=Mode(int(str(mode))),
    )
