"""What of a workspace is not logged yet, so that a killed daemon loses nothing.

An append-only file beside the working files, of MessagePack arrays, before each its length and
CRC-32, four bytes each:

- ``[id, paths, seen, process, mode]`` when a working file is made or its paths change;
- ``[id, path, entry, seen, process, is_tracked, other, noted_at, becomes]`` when what became of a name
  is held (`pwfs.fs.holding`); it takes the place of the working file's row;
- ``[id]`` when either is done with, ``[id, seq]`` when it was logged as that operation;
- ``[[...], [...]]`` for rows that count together or not at all.

A write(2) into it survives the process; `sync` makes it survive the machine. After a power failure
it ends where a row is not whole. An operation is not synced when it is logged, so a held name that
was synced counts as logged once the log has it.
"""

import contextlib
import errno
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pwfs.model.entries import FileEntry, Mode
from pwfs.model.errors import PatchworkError
from pwfs.model.ids import BlobHash, Seq
from pwfs.model.ops import Provenance
from pwfs.model.paths import RepoPath
from pwfs.repo.live import Seen

COMPACT_BYTES = 1 << 20
_FRAME = struct.Struct("<II")
_HELD_FIELDS_MIN = 7
_encoder = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A working file as the journal knows it."""

    id: str
    paths: tuple[RepoPath, ...]
    seen: Seen
    process: Provenance | None
    mode: Mode


@dataclass(frozen=True, slots=True)
class HeldName:
    """What became of one name, as `pwfs.fs.holding.Held` has it.

    ``noted_at`` is the log's head then. ``becomes`` is the name that the file is just being renamed
    to in the log: once that has it there, the file is here no more.
    """

    id: str
    path: RepoPath
    entry: FileEntry | None
    seen: Seen
    process: Provenance | None
    is_tracked: bool
    other: RepoPath | None
    noted_at: Seq
    becomes: RepoPath | None = None


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """What an earlier daemon did not log: open files, and names that it held, in their order."""

    files: list[OpenFile]
    names: list[HeldName]


class Journal:
    """The journal of one workspace, opened when first written to.

    ``sync_log`` makes durable what is logged.
    """

    def __init__(self, path: Path, sync_log: Callable[[], None]) -> None:
        self._path = path
        self._sync_log = sync_log
        self._fd: int | None = None
        self._live: dict[str, bytes] = {}
        self._durable: set[str] = set()
        self._moves = 0
        self._synced_moves = 0
        self._size_bytes = 0
        self._is_torn = False
        self._is_abandoned = False

    @property
    def is_behind(self) -> bool:
        """Whether names that were synced would come back with what is on disk, but are not held."""
        return self._synced_moves < self._moves

    def began(self, file: OpenFile) -> None:
        """Notes a working file before anything is written to it, unless it has no name any more.

        Raises:
            OSError, PatchworkError: it could not be noted.
        """
        if file.paths:
            self._note({file.id: _row(file)})

    def holds(self, *names: HeldName, durable: bool) -> None:
        """Notes what became of names, all or nothing, behind all that was noted before.

        With ``durable``, each counts as not logged until the log has it, whatever is noted.

        Raises:
            OSError, PatchworkError: it could not be noted; what was noted under these ids counts.
        """
        self._note({held.id: _held_row(held) for held in names})
        if durable:
            self._durable.update(held.id for held in names)

    def _note(self, rows: dict[str, bytes]) -> None:
        before = {id_: self._live.pop(id_) for id_ in rows if id_ in self._live}
        self._live.update(rows)
        try:
            self._append(_together(list(rows.values())))
        except BaseException:
            for id_ in rows:
                del self._live[id_]
            self._live.update(before)
            raise
        self._moved(*rows)

    def _moved(self, *ids: str) -> None:
        """Notes that what `sync` made durable of these is not what counts now."""
        self._moves += not self._durable.isdisjoint(ids)

    def changed(self, file: OpenFile) -> None:
        """Notes that a working file's paths or mode are others now; `mend` repeats what fails."""
        row = _row(file)
        self._live[file.id] = row
        with contextlib.suppress(OSError, PatchworkError):
            self._append(row)

    def held_changed(self, held: HeldName) -> None:
        """Notes that a held name is another now; `mend` repeats what fails."""
        row = _held_row(held)
        self._live[held.id] = row
        with contextlib.suppress(OSError, PatchworkError):
            self._append(row)
        self._moved(held.id)

    def ended(self, id_: str, logged_as: Seq | None = None) -> None:
        """Notes that a working file or a held name is done with; `mend` repeats what fails."""
        if self._live.pop(id_, None) is None:
            return
        is_durable = id_ in self._durable and logged_as is not None
        with contextlib.suppress(OSError, PatchworkError):
            self._append(_encoder.encode([id_, logged_as] if is_durable else [id_]))
            if self._size_bytes > COMPACT_BYTES:
                self._compact()
        self._moved(id_)

    def mend(self) -> None:
        """Writes anew what could not be written.

        Raises:
            OSError, PatchworkError: it still cannot.
        """
        if self._is_torn:
            self._compact()

    def sync(self) -> None:
        """Makes durable what is noted so far; any thread may call it."""
        moves = self._moves
        descriptors = [
            os.open(self._path, os.O_RDONLY | os.O_CLOEXEC),
            os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC),
        ]
        for fd in descriptors:
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        self._synced_moves = max(self._synced_moves, moves)

    def abandon(self) -> None:
        """Notes nothing any more: the workspace is gone, and its place may be another's."""
        self.close()
        self._is_abandoned = True

    def _append(self, row: bytes) -> None:
        if self._is_abandoned:
            return
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
        if self._durable:
            self._sync_log()
        with temporary.open("wb") as file:
            file.write(rows)
            if self._durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(self._path)
        self._moved(*self._durable)
        self._durable &= self._live.keys()
        self.close()
        # Not counted from the rows: many live ones must not mean compacting every time.
        self._size_bytes = 0
        self._is_torn = False

    def close(self) -> None:
        """Closes the file; the next note opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def left_behind(self, is_logged: Callable[[Seq], bool]) -> LeftBehind:
        """What an earlier daemon did not log; a torn last row is left out.

        ``is_logged`` tells whether the log has an operation.
        """
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return LeftBehind([], [])
        rows: dict[str, list[object]] = {}
        position = 0
        while position + _FRAME.size <= len(data):
            length, checksum = _FRAME.unpack_from(data, position)
            position += _FRAME.size
            row = data[position : position + length]
            position += length
            if not row or zlib.crc32(row) != checksum:
                break
            decoded = msgspec.msgpack.decode(row)
            for id_, *fields in decoded if isinstance(decoded[0], list) else [decoded]:
                if len(fields) > 1:
                    if _is_held(fields):
                        rows.pop(id_, None)
                    rows[id_] = fields
                elif not fields or is_logged(fields[0]):
                    rows.pop(id_, None)
        files = [_open_file(id_, row) for id_, row in rows.items() if not _is_held(row)]
        names = [_held_name(id_, row) for id_, row in rows.items() if _is_held(row)]
        return LeftBehind(files, names)

    def clear(self) -> None:
        """Forgets everything."""
        self.close()
        self._live.clear()
        self._durable.clear()
        self._synced_moves = self._moves
        self._size_bytes = 0
        self._is_torn = False
        self._path.unlink(missing_ok=True)


def _row(file: OpenFile) -> bytes:
    return _encoder.encode(
        [
            file.id,
            list(file.paths),
            _flat_seen(file.seen),
            _flat_process(file.process),
            file.mode.value,
        ]
    )


def _held_row(held: HeldName) -> bytes:
    return _encoder.encode(
        [
            held.id,
            held.path,
            _flat(held.entry),
            _flat_seen(held.seen),
            _flat_process(held.process),
            held.is_tracked,
            held.other,
            held.noted_at,
            held.becomes,
        ]
    )


def _together(rows: Sequence[bytes]) -> bytes:
    """Makes rows one, that is whole or torn with all of them."""
    return rows[0] if len(rows) == 1 else _encoder.encode([msgspec.Raw(row) for row in rows])


def _is_held(fields: Sequence[object]) -> bool:
    return len(fields) >= _HELD_FIELDS_MIN


def _framed(row: bytes) -> bytes:
    return _FRAME.pack(len(row), zlib.crc32(row)) + row


def _flat(entry: FileEntry | None) -> list[object] | None:
    return [entry.content_hash, entry.mode.value, entry.size] if entry else None


def _entry(flat: Sequence[object] | None) -> FileEntry | None:
    if flat is None:
        return None
    content_hash, mode, size = flat
    return FileEntry(BlobHash(str(content_hash)), Mode(int(str(mode))), int(str(size)))


def _flat_seen(seen: Seen) -> list[object]:
    return [_flat(seen.base), seen.base_seq, _flat(seen.current)]


def _seen(flat: object) -> Seen:
    assert isinstance(flat, list)
    base, base_seq, current = flat
    return Seen(_entry(base), Seq(base_seq), _entry(current))


def _flat_process(process: Provenance | None) -> list[object] | None:
    return [process.pid, process.command, process.uid] if process else None


def _process(flat: object) -> Provenance | None:
    if not isinstance(flat, list):
        return None
    pid, command, uid = flat
    return Provenance(pid=pid, command=command, uid=uid)


def _open_file(id_: str, fields: list[object]) -> OpenFile:
    paths, seen, process, mode = fields
    assert isinstance(paths, list)
    return OpenFile(
        id=id_,
        paths=tuple(RepoPath(path) for path in paths),
        seen=_seen(seen),
        process=_process(process),
        mode=Mode(int(str(mode))),
    )


def _held_name(id_: str, fields: list[object]) -> HeldName:
    # Daemons that were killed before there was ``becomes`` wrote none.
    path, entry, seen, process, is_tracked, other, noted_at, *rest = fields
    assert entry is None or isinstance(entry, list)
    return HeldName(
        id=id_,
        path=RepoPath(str(path)),
        entry=_entry(entry),
        seen=_seen(seen),
        process=_process(process),
        is_tracked=bool(is_tracked),
        other=None if other is None else RepoPath(str(other)),
        noted_at=Seq(int(str(noted_at))),
        becomes=RepoPath(str(rest[0])) if rest and rest[0] is not None else None,
    )
