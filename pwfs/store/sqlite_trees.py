"""Trees and merge results in SQLite: derived data, by hash."""

from collections.abc import Iterator, Mapping

from pwfs.model.ids import TreeHash
from pwfs.store.sqlite_connection import SqliteConnection

_PAGE_ROWS = 1000


class TreeTable:
    """Implements `pwfs.store.records.TreeStore`."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection

    def tree(self, tree_hash: TreeHash) -> bytes | None:
        row = self._connection.row("SELECT content FROM trees WHERE hash = ?", (tree_hash,))
        return None if row is None else row[0]

    def put_trees(self, trees: Mapping[TreeHash, bytes]) -> None:
        if not trees:
            return
        with self._connection.transaction():
            self._connection.execute_many(
                "INSERT INTO trees (hash, content) VALUES (?, ?) ON CONFLICT DO NOTHING",
                list(trees.items()),
            )

    def tree_hashes(self) -> Iterator[TreeHash]:
        # By pages, so that no statement stays open between two of the caller's steps: an open one
        # would keep the write-ahead log from being checkpointed.
        last = ""
        while rows := self._connection.rows(
            "SELECT hash FROM trees WHERE hash > ? ORDER BY hash LIMIT ?", (last, _PAGE_ROWS)
        ):
            for (tree_hash,) in rows:
                yield TreeHash(tree_hash)
            last = rows[-1][0]

    def merge_result(self, base: str | None, theirs: str, yours: str) -> bytes | None:
        row = self._connection.row(
            "SELECT result FROM merges WHERE base = ? AND theirs = ? AND yours = ?",
            (base or "", theirs, yours),
        )
        return None if row is None else row[0]

    def put_merge_result(self, base: str | None, theirs: str, yours: str, result: bytes) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO merges (base, theirs, yours, result) VALUES (?, ?, ?, ?)",
            (base or "", theirs, yours, result),
        )
