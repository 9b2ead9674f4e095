"""The submit queue in SQLite."""

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec

from pwfs.model.errors import Corrupt, NotFound
from pwfs.model.ids import AgentId, AttemptId, ItemId, Seq
from pwfs.model.queue import (
    Attempt,
    AttemptState,
    Certificate,
    Closing,
    EjectReason,
    ItemState,
    Member,
    QueueItem,
    StoredCertificate,
    TestKey,
)
from pwfs.store.codec import (
    decode_certificate,
    decode_closing,
    decode_ejection,
    decode_jump,
    decode_members,
    decode_optional_time,
    decode_time,
    encode_certificate,
    encode_ejection,
    encode_json,
    encode_jump,
    encode_optional_time,
    encode_time,
)
from pwfs.store.sqlite_connection import Row, SqliteConnection, Value

_ITEM = (
    "id, members, state, priority, agent_id, entered_at, finished_at, retries, reason, detail, "
    "resubmits, ejection, share, jump"
)
_ATTEMPT = (
    "id, item_id, base_seq, stack, root, command, environment_hash, state, started_at, ended_at, "
    "exit_code, output_hash, detail, rests_on"
)


class QueueTable:
    """Implements `pwfs.store.records.QueueStore`."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection

    def insert_item(
        self,
        members: Sequence[Member],
        *,
        priority: int,
        agent_id: AgentId,
        entered_at: datetime,
        resubmits: int = 0,
        share: int = 0,
    ) -> QueueItem:
        # Rows are never deleted, so that the number SQLite chooses, the largest plus one, is new.
        cursor = self._connection.execute(
            "INSERT INTO queue_items "
            "(members, state, priority, agent_id, entered_at, retries, detail, resubmits, share) "
            "VALUES (?, ?, ?, ?, ?, 0, '', ?, ?)",
            (
                encode_json(members),
                ItemState.QUEUED.value,
                priority,
                agent_id,
                encode_time(entered_at),
                resubmits,
                share,
            ),
        )
        assert cursor.lastrowid is not None
        return QueueItem(
            id=ItemId(cursor.lastrowid),
            members=tuple(members),
            state=ItemState.QUEUED,
            priority=priority,
            agent_id=agent_id,
            entered_at=entered_at,
            resubmits=resubmits,
            share=share,
        )

    def update_item(self, item: QueueItem) -> None:
        updated = self._connection.execute(
            "UPDATE queue_items SET members = ?, state = ?, priority = ?, agent_id = ?, "
            "entered_at = ?, finished_at = ?, retries = ?, reason = ?, detail = ?, "
            "resubmits = ?, ejection = ?, share = ?, jump = ? WHERE id = ?",
            (
                encode_json(item.members),
                item.state.value,
                item.priority,
                item.agent_id,
                encode_time(item.entered_at),
                encode_optional_time(item.finished_at),
                item.retries,
                None if item.reason is None else item.reason.value,
                item.detail,
                item.resubmits,
                encode_ejection(item.ejection),
                item.share,
                encode_jump(item.jump),
                item.id,
            ),
        )
        if not updated.rowcount:
            raise NotFound(kind="queue item", id=str(item.id))

    def item(self, item_id: ItemId) -> QueueItem | None:
        row = self._connection.row(f"SELECT {_ITEM} FROM queue_items WHERE id = ?", (item_id,))
        return None if row is None else _item(row)

    def items(self, states: Collection[ItemState] | None = None) -> list[QueueItem]:
        condition, values = _in_states(states)
        rows = self._connection.rows(
            f"SELECT {_ITEM} FROM queue_items WHERE {condition} ORDER BY id", values
        )
        return [_item(row) for row in rows]

    def decided_items(self, limit: int) -> list[QueueItem]:
        condition, values = _in_states([ItemState.LANDED, ItemState.EJECTED])
        rows = self._connection.rows(
            f"SELECT {_ITEM} FROM queue_items WHERE {condition} ORDER BY id DESC LIMIT ?",
            [*values, limit],
        )
        return [_item(row) for row in reversed(list(rows))]

    def landed_times(self, since: datetime) -> list[datetime]:
        rows = self._connection.rows(
            "SELECT finished_at FROM queue_items WHERE state = 'landed' AND finished_at > ? "
            "ORDER BY finished_at",
            (encode_time(since),),
        )
        return [decode_time(moment) for (moment,) in rows]

    def insert_attempt(
        self,
        item_id: ItemId,
        *,
        base_seq: Seq,
        stack: Sequence[Member],
        key: TestKey,
        started_at: datetime,
    ) -> Attempt:
        cursor = self._connection.execute(
            "INSERT INTO attempts (item_id, base_seq, stack, root, command, environment_hash, "
            "state, started_at, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '')",
            (
                item_id,
                base_seq,
                encode_json(stack),
                key.root,
                key.command,
                key.environment_hash,
                AttemptState.RUNNING.value,
                encode_time(started_at),
            ),
        )
        assert cursor.lastrowid is not None
        return Attempt(
            id=AttemptId(cursor.lastrowid),
            item_id=item_id,
            base_seq=base_seq,
            stack=tuple(stack),
            key=key,
            state=AttemptState.RUNNING,
            started_at=started_at,
        )

    def update_attempt(self, attempt: Attempt) -> None:
        updated = self._connection.execute(
            "UPDATE attempts SET item_id = ?, base_seq = ?, stack = ?, root = ?, command = ?, "
            "environment_hash = ?, state = ?, started_at = ?, ended_at = ?, exit_code = ?, "
            "output_hash = ?, detail = ?, rests_on = ? WHERE id = ?",
            (
                attempt.item_id,
                attempt.base_seq,
                encode_json(attempt.stack),
                attempt.key.root,
                attempt.key.command,
                attempt.key.environment_hash,
                attempt.state.value,
                encode_time(attempt.started_at),
                encode_optional_time(attempt.ended_at),
                attempt.exit_code,
                attempt.output_hash,
                attempt.detail,
                attempt.rests_on,
                attempt.id,
            ),
        )
        if not updated.rowcount:
            raise NotFound(kind="attempt", id=str(attempt.id))

    def attempt(self, attempt_id: AttemptId) -> Attempt | None:
        row = self._connection.row(f"SELECT {_ATTEMPT} FROM attempts WHERE id = ?", (attempt_id,))
        return None if row is None else _attempt(row)

    def attempts(
        self,
        item_id: ItemId | None = None,
        *,
        states: Collection[AttemptState] | None = None,
        containing: Member | None = None,
    ) -> list[Attempt]:
        condition, values = _in_states(states)
        if containing is not None:
            condition += " AND instr(stack, ?)"
            values.append(encode_json(containing))
        if item_id is not None:
            condition += " AND item_id = ?"
            values.append(item_id)
        rows = self._connection.rows(
            f"SELECT {_ATTEMPT} FROM attempts WHERE {condition} ORDER BY id", values
        )
        return [_attempt(row) for row in rows]

    def passed_attempt(self, key: TestKey, *, oldest: bool = False) -> Attempt | None:
        row = self._connection.row(
            f"SELECT {_ATTEMPT} FROM attempts WHERE state = 'passed' AND rests_on IS NULL "
            "AND root = ? AND command = ? AND environment_hash = ? "
            f"ORDER BY id {'ASC' if oldest else 'DESC'} LIMIT 1",
            (key.root, key.command, key.environment_hash),
        )
        return None if row is None else _attempt(row)

    def controls(self, key: TestKey) -> list[Attempt]:
        rows = self._connection.rows(
            f"SELECT {_ATTEMPT} FROM attempts WHERE stack = '[]' "
            "AND root = ? AND command = ? AND environment_hash = ? ORDER BY id",
            (key.root, key.command, key.environment_hash),
        )
        return [_attempt(row) for row in rows]

    def passed_durations_s(self, command: str, limit: int) -> list[float]:
        # What used another attempt's result took no time.
        rows = self._connection.rows(
            "SELECT ended_at - started_at FROM attempts WHERE state = 'passed' AND command = ? "
            "AND ended_at > started_at ORDER BY id DESC LIMIT ?",
            (command, limit),
        )
        return [microseconds / 1_000_000 for (microseconds,) in rows]

    def insert_certificate(self, certificate: Certificate) -> str:
        content = encode_certificate(certificate)
        digest = _digest(content)
        self._connection.execute(
            "INSERT INTO certificates (number, attempt_id, content, digest) VALUES (?, ?, ?, ?)",
            (certificate.number, certificate.attempt_id, content, digest),
        )
        return digest

    def certificates(self, attempt_id: AttemptId | None = None) -> list[StoredCertificate]:
        condition, values = "TRUE", list[Value]()
        if attempt_id is not None:
            condition, values = "attempt_id = ?", [attempt_id]
        rows = self._connection.rows(
            f"SELECT content, digest FROM certificates WHERE {condition} ORDER BY number", values
        )
        return [_certificate(content, digest) for content, digest in rows]

    def last_certificate(self) -> tuple[int, str]:
        row = self._connection.row(
            "SELECT number, digest FROM certificates ORDER BY number DESC LIMIT 1"
        )
        return (0, "") if row is None else (row[0], row[1])

    def queue_flag(self, name: str) -> bool:
        row = self._connection.row("SELECT is_on FROM queue_flags WHERE name = ?", (name,))
        return row is not None and bool(row[0])

    def set_queue_flag(self, name: str, on: bool) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO queue_flags (name, is_on) VALUES (?, ?)", (name, int(on))
        )

    def closing(self) -> Closing | None:
        row = self._connection.row(
            "SELECT detail FROM queue_flags WHERE name = 'closed' AND is_on = 1"
        )
        return None if row is None else decode_closing(row[0])

    def set_closing(self, closing: Closing | None) -> None:
        detail = "" if closing is None else encode_json(closing)
        self._connection.execute(
            "INSERT OR REPLACE INTO queue_flags (name, is_on, detail) VALUES ('closed', ?, ?)",
            (int(closing is not None), detail),
        )


def _certificate(content: str, digest: str) -> StoredCertificate:
    try:
        certificate = decode_certificate(content)
    except msgspec.DecodeError as error:
        raise Corrupt(what=f"the certificate {digest} cannot be read: {error}") from None
    return StoredCertificate(certificate, digest, is_intact=digest == _digest(content))


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _in_states(
    states: Collection[ItemState] | Collection[AttemptState] | None,
) -> tuple[str, list[Value]]:
    if states is None:
        return "TRUE", []
    return f"state IN ({', '.join('?' * len(states))})", [state.value for state in states]


def _item(row: Row) -> QueueItem:
    (
        item_id,
        members,
        state,
        priority,
        agent_id,
        entered_at,
        finished_at,
        retries,
        reason,
        detail,
        resubmits,
        ejection,
        share,
        jump,
    ) = row
    return QueueItem(
        id=item_id,
        members=decode_members(members),
        state=ItemState(state),
        priority=priority,
        agent_id=agent_id,
        entered_at=decode_time(entered_at),
        finished_at=decode_optional_time(finished_at),
        retries=retries,
        reason=None if reason is None else EjectReason(reason),
        detail=detail,
        resubmits=resubmits,
        ejection=decode_ejection(ejection),
        share=share,
        jump=decode_jump(jump),
    )


def _attempt(row: Row) -> Attempt:
    (
        attempt_id,
        item_id,
        base_seq,
        stack,
        root,
        command,
        environment_hash,
        state,
        started_at,
        ended_at,
        exit_code,
        output_hash,
        detail,
        rests_on,
    ) = row
    return Attempt(
        id=attempt_id,
        item_id=item_id,
        base_seq=base_seq,
        stack=decode_members(stack),
        key=TestKey(root, command, environment_hash),
        state=AttemptState(state),
        started_at=decode_time(started_at),
        ended_at=decode_optional_time(ended_at),
        exit_code=exit_code,
        output_hash=output_hash,
        detail=detail,
        rests_on=rests_on,
    )
