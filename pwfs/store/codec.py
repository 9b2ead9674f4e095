"""How values become columns: microseconds, JSON inside a column, and the JSON shape of an op."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec

from pwfs.model.changes import TestResult
from pwfs.model.ejection import Ejection
from pwfs.model.entries import FileEntry, Mode
from pwfs.model.errors import Corrupt
from pwfs.model.ids import AgentId, BlobHash, ChangeId, Seq
from pwfs.model.ops import NewOp, Op, OpType, Provenance
from pwfs.model.paths import RepoPath
from pwfs.model.queue import Certificate, Closing, Jump, Member
from pwfs.model.views import Overlay

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MODES: dict[str | None, Mode] = {mode.text: mode for mode in Mode}
_TEXTS = {mode: mode.text for mode in Mode}
_OP_TYPES = {op_type.value: op_type for op_type in OpType}
_OP_TYPE_TEXTS = {op_type: op_type.value for op_type in OpType}

_encoder = msgspec.json.Encoder()


class EntryRecord(msgspec.Struct, frozen=True, gc=False):
    """A `FileEntry` as JSON shows it, its mode as git writes it."""

    content_hash: str
    mode: str
    size: int


class OpMetadata(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What an operation says beyond its columns; a key that is absent means none, or no.

    ``mode``, ``kind`` and ``size`` are the file's after the operation, absent for a deletion. The
    rest is `NewOp`'s.
    """

    mode: str | None = None
    kind: str | None = None
    size: int | None = None
    base: EntryRecord | None = None
    base_seq: int = 0
    replaced: EntryRecord | None = None
    directory_rename: tuple[str, str] | None = None
    process: Provenance | None = None
    recovered: bool = False
    moved_from: int | None = None


_metadata_decoder = msgspec.json.Decoder(OpMetadata)
_object_decoder = msgspec.json.Decoder(dict[str, object])
_runs_decoder = msgspec.json.Decoder(list[tuple[int, int]])
_entry_decoder = msgspec.json.Decoder(EntryRecord)
_provenance_decoder = msgspec.json.Decoder(Provenance)
_test_result_decoder = msgspec.json.Decoder(TestResult)
_certificate_decoder = msgspec.json.Decoder(Certificate)
_ejection_decoder = msgspec.json.Decoder(Ejection)
_jump_decoder = msgspec.json.Decoder(Jump)
_closing_decoder = msgspec.json.Decoder(Closing)
_members_decoder = msgspec.json.Decoder(tuple[Member, ...])
_overlays_decoder = msgspec.json.Decoder(tuple[Overlay, ...])
_ids_decoder = msgspec.json.Decoder(tuple[str, ...])


def encode_time(moment: datetime) -> int:
    """Counts the microseconds since 1970. A time without a zone is a TypeError."""
    return (moment - _EPOCH) // _MICROSECOND


@lru_cache(maxsize=64)
def decode_time(microseconds: int) -> datetime:
    """Reads microseconds since 1970 as a time in UTC. Kept: neighbouring rows share theirs."""
    return _EPOCH + timedelta(microseconds=microseconds)


def encode_optional_time(moment: datetime | None) -> int | None:
    """Keeps None."""
    return None if moment is None else encode_time(moment)


def decode_optional_time(microseconds: int | None) -> datetime | None:
    """Keeps None."""
    return None if microseconds is None else decode_time(microseconds)


def encode_json(value: object) -> str:
    """Writes a value as compact JSON text."""
    return _encoder.encode(value).decode()


def decode_object(text: str) -> dict[str, object]:
    """Reads a JSON object."""
    return _object_decoder.decode(text)


def encode_runs(numbers: Iterable[Seq]) -> str:
    """Writes numbers as runs of consecutive ones, in their order: ``[[1, 60000], [60007, 60007]]``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return encode_json(runs)


def decode_runs(text: str) -> list[tuple[int, int]]:
    """Reads the runs, first and last number of each."""
    return _runs_decoder.decode(text)


@lru_cache(maxsize=512)
def decode_numbers(text: str) -> tuple[Seq, ...]:
    """Reads runs as all their numbers. Kept: an imported code base is one run of many."""
    return tuple(Seq(n) for first, last in decode_runs(text) for n in range(first, last + 1))


def encode_entry(entry: FileEntry | None) -> str | None:
    """Writes a file entry as JSON text."""
    return None if entry is None else encode_json(_entry_record(entry))


def decode_entry(text: str | None) -> FileEntry | None:
    """Reads a file entry."""
    return None if text is None else _entry(_entry_decoder.decode(text))


def encode_provenance(process: Provenance | None) -> str | None:
    """Writes a process as JSON text."""
    return None if process is None else encode_json(_sayable(process))


def decode_provenance(text: str | None) -> Provenance | None:
    """Reads a process."""
    return None if text is None else _provenance_decoder.decode(text)


def encode_test_result(result: TestResult | None) -> str | None:
    """Writes a test's outcome as JSON text."""
    return None if result is None else encode_json(result)


def decode_test_result(text: str | None) -> TestResult | None:
    """Reads a test's outcome."""
    return None if text is None else _test_result_decoder.decode(text)


def decode_members(text: str) -> tuple[Member, ...]:
    """Reads an item's or a stack's members."""
    return _members_decoder.decode(text)


def encode_ejection(ejection: Ejection | None) -> str | None:
    """Writes an ejection as JSON text."""
    return None if ejection is None else encode_json(ejection)


def decode_ejection(text: str | None) -> Ejection | None:
    """Reads an ejection."""
    return None if text is None else _ejection_decoder.decode(text)


def encode_jump(jump: Jump | None) -> str | None:
    """Writes why an item jumped the queue as JSON text."""
    return None if jump is None else encode_json(jump)


def decode_jump(text: str | None) -> Jump | None:
    """Reads why an item jumped the queue."""
    return None if text is None else _jump_decoder.decode(text)


def decode_closing(text: str) -> Closing:
    """Reads why the tree is closed."""
    return _closing_decoder.decode(text)


def encode_certificate(certificate: Certificate) -> str:
    """Writes a certificate as JSON text, as it always was where it tells of no independence."""
    shown: dict[str, object] = msgspec.to_builtins(certificate)
    if certificate.independence is None:
        del shown["independence"]
    return encode_json(shown)


def decode_certificate(text: str) -> Certificate:
    """Reads a certificate."""
    return _certificate_decoder.decode(text)


def encode_targets(targets: Sequence[str] | None) -> str | None:
    """Writes targets as JSON text."""
    return None if targets is None else encode_json(targets)


def decode_targets(text: str | None) -> tuple[str, ...] | None:
    """Reads targets."""
    return None if text is None else _ids_decoder.decode(text)


def decode_overlays(text: str) -> tuple[Overlay, ...]:
    """Reads a view's overlays."""
    return _overlays_decoder.decode(text)


def decode_change_ids(text: str) -> tuple[ChangeId, ...]:
    """Reads a change's dependencies."""
    return tuple(ChangeId(change_id) for change_id in _ids_decoder.decode(text))


def op_metadata(op: Op | NewOp) -> dict[str, object]:
    """Returns an operation's ``metadata`` as JSON shows it, see `OpMetadata`."""
    metadata: dict[str, object] = msgspec.to_builtins(
        _metadata(op.new if isinstance(op, Op) else op)
    )
    return metadata


def op_record(op: Op) -> dict[str, object]:
    """Returns an operation as JSON shows it: the columns of the log, the time in RFC 3339."""
    return {
        "id": op.id,
        "timestamp": op.timestamp.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "agent_id": op.agent_id,
        "change_id": op.change_id,
        "version": op.version,
        "op_type": op.op_type.value,
        "path": op.path,
        "content_hash": op.content_hash,
        "diff_hash": op.new.diff_hash,
        "old_path": op.new.old_path,
        "parent_seq": op.parent_seq,
        "metadata": op_metadata(op),
    }


OP_COLUMNS = (
    "id, timestamp, agent_id, change_id, version, op_type, path, content_hash, diff_hash, "
    "old_path, parent_seq, metadata"
)
OpRow = tuple[int, int, str, str, int, str, str, str | None, str | None, str | None, int, str]
"""A row with `OP_COLUMNS`."""


def encode_op(op: Op, timestamp: int) -> OpRow:
    """Makes an operation's row; ``timestamp`` is its time, encoded once for many."""
    new = op.new
    return (
        op.id,
        timestamp,
        op.agent_id,
        op.change_id,
        op.version,
        _OP_TYPE_TEXTS[new.op_type],
        new.path,
        None if new.entry is None else new.entry.content_hash,
        new.diff_hash,
        new.old_path,
        op.parent_seq,
        _encoder.encode(_metadata(new)).decode(),
    )


def decode_ops(rows: Sequence[OpRow]) -> list[Op]:
    """Reads rows with `OP_COLUMNS`."""
    return [decode_op(row) for row in rows]


def decode_op(row: OpRow) -> Op:
    """Reads a row with `OP_COLUMNS`.

    Raises:
        Corrupt: nothing that Patchwork wrote looks like this.
    """
    try:
        return _decode_op(row)
    except (KeyError, msgspec.MsgspecError) as error:
        raise Corrupt(what=f"Operation {row[0]} cannot be read: {error}") from error


def _decode_op(row: OpRow) -> Op:
    (
        seq,
        timestamp,
        agent_id,
        change_id,
        version,
        op_type,
        path,
        content_hash,
        diff_hash,
        old_path,
        parent_seq,
        text,
    ) = row
    metadata = _metadata_decoder.decode(text)
    # By position, and with a test before each call: a log is read by the ten thousand.
    new = NewOp(
        _OP_TYPES[op_type],
        RepoPath(path),
        None
        if content_hash is None
        else FileEntry(BlobHash(content_hash), _MODES[metadata.mode], metadata.size or 0),
        None if old_path is None else RepoPath(old_path),
        None if metadata.base is None else _entry(metadata.base),
        Seq(metadata.base_seq),
        None if metadata.replaced is None else _entry(metadata.replaced),
        None if metadata.directory_rename is None else _directories(*metadata.directory_rename),
        metadata.process,
        metadata.recovered,
        None if metadata.moved_from is None else Seq(metadata.moved_from),
        None if diff_hash is None else BlobHash(diff_hash),
    )
    return Op(
        Seq(seq),
        decode_time(timestamp),
        AgentId(agent_id),
        ChangeId(change_id),
        version,
        Seq(parent_seq),
        new,
    )


def _metadata(new: NewOp) -> OpMetadata:
    entry = new.entry
    return OpMetadata(
        mode=None if entry is None else _TEXTS[entry.mode],
        kind=None if entry is None else entry.kind.value,
        size=None if entry is None else entry.size,
        base=None if new.base is None else _entry_record(new.base),
        base_seq=new.base_seq,
        replaced=None if new.replaced is None else _entry_record(new.replaced),
        directory_rename=new.directory_rename,
        process=None if new.process is None else _sayable(new.process),
        recovered=new.recovered,
        moved_from=new.moved_from,
    )


def _sayable(process: Provenance) -> Provenance:
    """Replaces what UTF-8 cannot say in a command's name: any program may call itself anything."""
    if process.command.isascii():
        return process
    command = process.command.encode("utf-8", "replace").decode()
    return Provenance(process.pid, command, process.uid)


def _entry_record(entry: FileEntry) -> EntryRecord:
    return EntryRecord(entry.content_hash, _TEXTS[entry.mode], entry.size)


def _entry(record: EntryRecord) -> FileEntry:
    return FileEntry(BlobHash(record.content_hash), _MODES[record.mode], record.size)


def _directories(old: str, new: str) -> tuple[RepoPath, RepoPath]:
    return RepoPath(old), RepoPath(new)
