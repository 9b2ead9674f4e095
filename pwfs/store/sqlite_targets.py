"""What declared rules told of versions, in SQLite."""

from pwfs.model.ids import ChangeId
from pwfs.model.targets import Declaration
from pwfs.store.codec import decode_targets, decode_time, encode_targets, encode_time
from pwfs.store.sqlite_connection import SqliteConnection


class TargetTable:
    """Implements `pwfs.store.records.TargetStore`."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection

    def insert_declaration(self, declaration: Declaration) -> None:
        self._connection.execute(
            "INSERT INTO targets (change_id, version, rule, base_seq, targets, detail, "
            "declared_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                declaration.change_id,
                declaration.version,
                declaration.rule,
                declaration.base_seq,
                encode_targets(declaration.targets),
                declaration.detail,
                encode_time(declaration.declared_at),
            ),
        )

    def declaration(self, change_id: ChangeId, version: int, rule: str) -> Declaration | None:
        row = self._connection.row(
            "SELECT change_id, version, rule, base_seq, targets, detail, declared_at "
            "FROM targets WHERE change_id = ? AND version = ? AND rule = ?",
            (change_id, version, rule),
        )
        if row is None:
            return None
        found_id, found_version, digest, base_seq, targets, detail, declared_at = row
        return Declaration(
            change_id=found_id,
            version=found_version,
            rule=digest,
            base_seq=base_seq,
            targets=decode_targets(targets),
            detail=detail,
            declared_at=decode_time(declared_at),
        )
