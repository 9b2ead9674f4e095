"""The operations in SQLite."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from pwfs.model.errors import NotFound
from pwfs.model.ids import SEQ_ZERO, AgentId, ChangeId, Seq
from pwfs.model.ops import NewOp, Op, OpType
from pwfs.model.paths import RepoPath, split
from pwfs.store.codec import (
    OP_COLUMNS,
    decode_op,
    decode_ops,
    decode_runs,
    encode_op,
    encode_time,
)
from pwfs.store.sqlite_connection import SqliteConnection, Value
from pwfs.store.sqlite_events import EventTable

HEAD_SEQ = (
    "SELECT max(coalesce((SELECT max(id) FROM ops), 0), "
    "coalesce((SELECT max(seq) FROM landings), 0))"
)
_INSERT = f"INSERT INTO ops ({OP_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SELECT = f"SELECT {OP_COLUMNS} FROM ops"
_HAS_OPS = "SELECT EXISTS (SELECT 1 FROM ops WHERE change_id = ?)"
_HAS_LANDINGS = "SELECT EXISTS (SELECT 1 FROM landings)"
_LAST_OF_CHANGE = (
    "SELECT max("
    "coalesce((SELECT max(id) FROM ops WHERE path = :path AND change_id = :change), 0), "
    "coalesce((SELECT max(id) FROM ops "
    "WHERE op_type <> 'copy' AND old_path = :path AND change_id = :change), 0))"
)
# The first landing may have no rows in `touched`; its operations are found by its change.
_LAST_LANDED = (
    "SELECT coalesce("
    "(SELECT op FROM touched WHERE directory = :directory AND name = :name AND landing <= :until "
    "ORDER BY landing DESC LIMIT 1), "
    "(SELECT max(ops.id) FROM ops, (SELECT * FROM landings ORDER BY seq LIMIT 1) AS first "
    "WHERE ops.path = :path AND ops.change_id = first.change_id "
    "AND ops.version <= first.version AND first.seq <= :until), 0)"
)
_RENAMES_BETWEEN = f"{_SELECT} WHERE op_type = 'rename' AND id BETWEEN ? AND ? ORDER BY id"


class OpTable:
    """Implements `pwfs.store.protocols.OpLog`."""

    def __init__(self, connection: SqliteConnection, events: EventTable) -> None:
        self._connection = connection
        self._events = events

    def head_seq(self) -> Seq:
        row = self._connection.remembered_row(HEAD_SEQ)
        assert row is not None
        return Seq(row[0])

    def append_ops(
        self,
        change_id: ChangeId,
        version: int,
        agent_id: AgentId,
        ops: Sequence[NewOp],
        timestamp: datetime,
    ) -> list[Op]:
        if not ops:
            return []
        microseconds = encode_time(timestamp)
        with self._connection.transaction():
            first = self.head_seq() + 1
            numbered = [
                Op(Seq(first + index), timestamp, agent_id, change_id, version, parent, new)
                for index, (new, parent) in enumerate(
                    zip(ops, self._parents(change_id, ops, first), strict=True)
                )
            ]
            if len(numbered) == 1:
                self._connection.execute(_INSERT, encode_op(numbered[0], microseconds))
            else:
                self._connection.execute_many(
                    _INSERT, [encode_op(op, microseconds) for op in numbered]
                )
            self._events.append_ops_event(Seq(first), len(numbered), microseconds)
        return numbered

    def _parents(self, change_id: ChangeId, ops: Sequence[NewOp], first: int) -> Iterable[Seq]:
        """Yields each operation's parent; those before it in ``ops`` count."""
        connection = self._connection
        has_ops = connection.is_true_for_good(_HAS_OPS, change_id)
        has_landings = connection.is_true_for_good(_HAS_LANDINGS)
        earlier: dict[RepoPath, Seq] = {}
        for index, op in enumerate(ops):
            follows_source = op.op_type in (OpType.RENAME, OpType.COPY)
            source = op.old_path if follows_source and op.old_path is not None else op.path
            parent = earlier.get(source, SEQ_ZERO)
            if not parent and has_ops:
                row = connection.row(_LAST_OF_CHANGE, {"path": source, "change": change_id})
                assert row is not None
                parent = Seq(row[0])
            if not parent and has_landings:
                parent = self._last_landed(source, Seq(first))
            yield parent
            seq = Seq(first + index)
            earlier[op.path] = seq
            if op.op_type is not OpType.COPY and op.old_path is not None:
                earlier[op.old_path] = seq

    def _last_landed(self, path: RepoPath, until: Seq) -> Seq:
        directory, name = split(path)
        row = self._connection.row(
            _LAST_LANDED, {"path": path, "directory": directory, "name": name, "until": until}
        )
        assert row is not None
        return Seq(row[0])

    def op(self, seq: Seq) -> Op | None:
        row = self._connection.row(f"{_SELECT} WHERE id = ?", (seq,))
        return None if row is None else decode_op(row)

    def ops(
        self,
        *,
        change_id: ChangeId | None = None,
        path: RepoPath | None = None,
        since: Seq = SEQ_ZERO,
        until: Seq | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[Op]:
        conditions = ["id > ?"]
        values: list[Value] = [since]
        if until is not None:
            conditions.append("id <= ?")
            values.append(until)
        if change_id is not None:
            # The "+" keeps SQLite from reading all of a change's operations to find a path's few.
            conditions.append("change_id = ?" if path is None else "+change_id = ?")
            values.append(change_id)
        if path is not None:
            conditions.append("(path = ? OR (op_type <> 'copy' AND old_path = ?))")
            values += [path, path]
        order = "DESC" if newest_first else "ASC"
        values.append(-1 if limit is None else limit)  # -1 is SQLite's "no limit"
        return decode_ops(
            self._connection.rows(
                f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY id {order} LIMIT ?", values
            )
        )

    def ops_numbered(self, seqs: Sequence[Seq]) -> list[Op]:
        found: list[Op] = []
        start = 0
        while start < len(seqs):
            end = start + 1
            while end < len(seqs) and seqs[end] == seqs[end - 1] + 1:
                end += 1
            run = decode_ops(
                self._connection.rows(
                    f"{_SELECT} WHERE id BETWEEN ? AND ? ORDER BY id", (seqs[start], seqs[end - 1])
                )
            )
            if len(run) != end - start:
                missing = min(set(seqs[start:end]) - {op.id for op in run})
                raise NotFound(kind="operation", id=str(missing))
            found += run
            start = end
        return found

    def draft_ops(self, change_id: ChangeId, after_version: int) -> list[Op]:
        return decode_ops(
            self._connection.rows(
                f"{_SELECT} WHERE change_id = ? AND version > ? ORDER BY id",
                (change_id, after_version),
            )
        )

    def last_op_on(self, path: RepoPath, *, landed_until: Seq) -> Op | None:
        seq = self._last_landed(path, landed_until)
        return self.op(seq) if seq else None

    def renames_landed(self, since: Seq, until: Seq) -> list[Op]:
        landed = self._connection.rows(
            "SELECT versions.operations FROM landings JOIN versions "
            "ON versions.change_id = landings.change_id AND versions.number = landings.version "
            "WHERE landings.seq > ? AND landings.seq <= ? ORDER BY landings.seq",
            (since, until),
        )
        return [
            decode_op(row)
            for (operations,) in landed
            for run in decode_runs(operations)
            for row in self._connection.rows(_RENAMES_BETWEEN, run)
        ]
