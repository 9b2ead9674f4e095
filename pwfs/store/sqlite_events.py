"""Events in SQLite: one row each, but one for all operations that were appended together."""

from collections.abc import Collection, Mapping
from datetime import datetime

from pwfs.model.events import Event, EventType
from pwfs.model.ids import EventId, Seq
from pwfs.store.codec import (
    OP_COLUMNS,
    decode_object,
    decode_op,
    decode_time,
    encode_json,
    encode_time,
    op_record,
)
from pwfs.store.sqlite_connection import SqliteConnection, Value

_LAST_ID = "SELECT coalesce((SELECT id + count - 1 FROM events ORDER BY id DESC LIMIT 1), 0)"
_INSERT = (
    "INSERT INTO events (id, count, type, timestamp, payload, first_seq) "
    f"VALUES (({_LAST_ID}) + 1, ?, ?, ?, ?, ?)"
)
_OPS_BETWEEN = f"SELECT {OP_COLUMNS} FROM ops WHERE id BETWEEN ? AND ? ORDER BY id"


class EventTable:
    """Implements `pwfs.store.records.EventStore`."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection

    def append_event(
        self, event_type: EventType, payload: Mapping[str, object], timestamp: datetime
    ) -> Event:
        if event_type is EventType.OP_APPENDED:
            raise ValueError("the events of operations are appended with them")
        text = encode_json(payload)
        cursor = self._connection.execute(
            _INSERT, (1, event_type.value, encode_time(timestamp), text, None)
        )
        assert cursor.lastrowid is not None
        return Event(EventId(cursor.lastrowid), event_type, timestamp, dict(payload))

    def append_ops_event(self, first: Seq, count: int, timestamp: int) -> None:
        """Stores the ``op_appended`` events of operations with consecutive numbers, as one row."""
        self._connection.execute(
            _INSERT, (count, EventType.OP_APPENDED.value, timestamp, None, first)
        )

    def last_event_id(self) -> EventId:
        row = self._connection.remembered_row(_LAST_ID)
        assert row is not None
        return EventId(row[0])

    def events(
        self, since: int = 0, types: Collection[EventType] | None = None, limit: int = 1000
    ) -> list[Event]:
        # The row that holds the first event asked for may begin at or before it.
        condition = "id >= coalesce((SELECT max(id) FROM events WHERE id <= ?), 0)"
        values: list[Value] = [since + 1]
        if types is not None:
            if EventType.OP_APPENDED not in types:
                condition += " AND type <> 'op_appended'"  # lets events_but_ops be used
            condition += f" AND type IN ({', '.join('?' * len(types))})"
            values += [event_type.value for event_type in types]
        events: list[Event] = []
        # Rows that end before `since` may be counted too; there is at most one.
        rows = self._connection.rows(
            "SELECT id, count, type, timestamp, payload, first_seq FROM events "
            f"WHERE {condition} ORDER BY id LIMIT ?",
            [*values, limit + 1],
        )
        for first_id, count, type_text, timestamp, payload, first_seq in rows:
            room = limit - len(events)
            if room <= 0:
                break
            if payload is not None:
                if first_id > since:
                    moment = decode_time(timestamp)
                    events.append(
                        Event(first_id, EventType(type_text), moment, decode_object(payload))
                    )
                continue
            skipped = max(0, since + 1 - first_id)
            wanted = min(count - skipped, room)
            if wanted > 0:
                events += self._op_events(first_id + skipped, first_seq + skipped, wanted)
        return events

    def _op_events(self, first_id: int, first_seq: int, count: int) -> list[Event]:
        rows = self._connection.rows(_OPS_BETWEEN, (first_seq, first_seq + count - 1))
        ops = [decode_op(row) for row in rows]
        return [
            Event(
                EventId(first_id + (op.id - first_seq)),
                EventType.OP_APPENDED,
                op.timestamp,
                op_record(op),
            )
            for op in ops
        ]
