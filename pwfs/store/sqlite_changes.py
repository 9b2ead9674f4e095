"""Changes and versions in SQLite."""

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from pwfs.model.changes import Change, ChangeStatus, TestResult, Version
from pwfs.model.errors import AlreadyExists, NotFound
from pwfs.model.ids import ChangeId
from pwfs.store.codec import (
    decode_change_ids,
    decode_numbers,
    decode_object,
    decode_test_result,
    decode_time,
    encode_json,
    encode_runs,
    encode_test_result,
    encode_time,
)
from pwfs.store.sqlite_connection import Row, SqliteConnection, Value

_COLUMNS = (
    "id, title, author, target, status, current_version, dependencies, metadata, "
    "created_at, updated_at"
)
_SELECT = f"SELECT {_COLUMNS} FROM changes"
_VERSION_COLUMNS = "number, operations, base_seq, created_at, message, test_result"
_VERSIONS = f"SELECT {_VERSION_COLUMNS} FROM versions WHERE change_id = ? ORDER BY number"
_MANY_VERSIONS = (
    f"SELECT change_id, {_VERSION_COLUMNS} FROM versions "
    "WHERE change_id IN (SELECT value FROM json_each(?)) ORDER BY change_id, number"
)


class ChangeTable:
    """Implements `pwfs.store.protocols.ChangeStore`."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection

    def insert_change(self, change: Change) -> None:
        with self._connection.transaction():
            inserted = self._connection.execute(
                f"INSERT INTO changes ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO NOTHING",
                (
                    change.id,
                    change.title,
                    change.author,
                    change.target,
                    change.status.value,
                    change.current_version,
                    encode_json(change.dependencies),
                    encode_json(change.metadata),
                    encode_time(change.created_at),
                    encode_time(change.updated_at),
                ),
            )
            if not inserted.rowcount:
                raise AlreadyExists(kind="change", id=change.id)
            for version in change.versions:
                self.insert_version(change.id, version)

    def change(self, change_id: ChangeId) -> Change | None:
        row = self._connection.row(f"{_SELECT} WHERE id = ?", (change_id,))
        if row is None:
            return None
        return _change(row, [_version(v) for v in self._connection.rows(_VERSIONS, (change_id,))])

    def changes(
        self,
        *,
        status: ChangeStatus | Collection[ChangeStatus] | None = None,
        after: ChangeId | None = None,
        limit: int | None = None,
    ) -> list[Change]:
        conditions = ["number > ?"]
        values: list[Value] = [0 if after is None else self._number(after)]
        if status is not None:
            chosen = [status] if isinstance(status, ChangeStatus) else list(status)
            conditions.append(f"status IN ({', '.join('?' * len(chosen))})")
            values += [s.value for s in chosen]
        values.append(-1 if limit is None else limit)
        rows = self._connection.rows(
            f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY number LIMIT ?", values
        )
        versions: dict[str, list[Version]] = {row[0]: [] for row in rows}
        for change_id, *version in self._connection.rows(
            _MANY_VERSIONS, (encode_json(list(versions)),)
        ):
            versions[change_id].append(_version(tuple(version)))
        return [_change(row, versions[row[0]]) for row in rows]

    def _number(self, change_id: ChangeId) -> int:
        row = self._connection.row("SELECT number FROM changes WHERE id = ?", (change_id,))
        if row is None:
            raise NotFound(kind="change", id=change_id)
        return int(row[0])

    def change_ids_like(self, prefix: str) -> set[str]:
        rows = self._connection.rows(
            "SELECT id FROM changes WHERE id >= ? AND id < ?", (prefix, prefix + "\U0010ffff")
        )
        return {change_id for (change_id,) in rows}

    def update_change(
        self,
        change_id: ChangeId,
        *,
        updated_at: datetime,
        status: ChangeStatus | None = None,
        metadata: Mapping[str, object] | None = None,
        dependencies: Sequence[ChangeId] | None = None,
        current_version: int | None = None,
    ) -> None:
        # COALESCE keeps what stands where the value given is None.
        updated = self._connection.execute(
            "UPDATE changes SET updated_at = ?, status = coalesce(?, status), "
            "metadata = coalesce(?, metadata), dependencies = coalesce(?, dependencies), "
            "current_version = coalesce(?, current_version) WHERE id = ?",
            (
                encode_time(updated_at),
                None if status is None else status.value,
                None if metadata is None else encode_json(metadata),
                None if dependencies is None else encode_json(dependencies),
                current_version,
                change_id,
            ),
        )
        if not updated.rowcount:
            raise NotFound(kind="change", id=change_id)

    def insert_version(self, change_id: ChangeId, version: Version) -> None:
        with self._connection.transaction():
            self._number(change_id)
            try:
                self._connection.execute(
                    f"INSERT INTO versions (change_id, {_VERSION_COLUMNS}) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        change_id,
                        version.number,
                        encode_runs(version.operations),
                        version.base_seq,
                        encode_time(version.created_at),
                        version.message,
                        encode_test_result(version.test_result),
                    ),
                )
            except sqlite3.IntegrityError:
                raise AlreadyExists(kind="version", id=f"{change_id}@{version.number}") from None

    def set_test_result(self, change_id: ChangeId, number: int, result: TestResult) -> None:
        updated = self._connection.execute(
            "UPDATE versions SET test_result = ? WHERE change_id = ? AND number = ?",
            (encode_test_result(result), change_id, number),
        )
        if not updated.rowcount:
            raise NotFound(kind="version", id=f"{change_id}@{number}")


def _change(row: Row, versions: Iterable[Version]) -> Change:
    (
        change_id,
        title,
        author,
        target,
        status,
        current_version,
        dependencies,
        metadata,
        created_at,
        updated_at,
    ) = row
    return Change(
        id=change_id,
        title=title,
        author=author,
        target=target,
        status=ChangeStatus(status),
        current_version=current_version,
        versions=tuple(versions),
        dependencies=decode_change_ids(dependencies),
        metadata=decode_object(metadata),
        created_at=decode_time(created_at),
        updated_at=decode_time(updated_at),
    )


def _version(row: Row) -> Version:
    number, operations, base_seq, created_at, message, test_result = row
    return Version(
        number=number,
        operations=decode_numbers(operations),
        base_seq=base_seq,
        created_at=decode_time(created_at),
        message=message,
        test_result=decode_test_result(test_result),
    )
