"""The landings in SQLite, and what each touched."""

from collections.abc import Iterable
from datetime import datetime

from pwfs.model.changes import Landing
from pwfs.model.errors import StaleBase
from pwfs.model.ids import SEQ_ZERO, AgentId, AttemptId, ChangeId, Seq, TreeHash
from pwfs.model.paths import RepoPath, split
from pwfs.store.codec import decode_time, encode_time
from pwfs.store.protocols import Touch
from pwfs.store.sqlite_connection import Row, SqliteConnection
from pwfs.store.sqlite_ops import HEAD_SEQ

_COLUMNS = "seq, timestamp, change_id, version, agent_id, root, previous_seq, verified, attempt_id"
_SELECT = f"SELECT {_COLUMNS} FROM landings"
# With max() SQLite takes the other columns from the row that has the maximum.
_TOUCHED_IN = (
    "SELECT last.name, landings.timestamp, last.op FROM "
    "(SELECT name, max(landing) AS landing, op FROM touched "
    "WHERE directory = ? AND landing <= ? GROUP BY name) AS last "
    "JOIN landings ON landings.seq = last.landing"
)
_TOUCHED = (
    "SELECT landings.timestamp, touched.op FROM touched JOIN landings "
    "ON landings.seq = touched.landing WHERE touched.directory = ? AND touched.name = ? "
    "AND touched.landing <= ? ORDER BY touched.landing DESC LIMIT 1"
)


class LandingTable:
    """Implements `pwfs.store.protocols.LandingLog`."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection

    def append_landing(
        self,
        *,
        change_id: ChangeId,
        version: int,
        agent_id: AgentId,
        root: TreeHash,
        previous_seq: Seq,
        verified: bool,
        attempt_id: AttemptId | None,
        timestamp: datetime,
        touched: Iterable[tuple[RepoPath, Seq]] = (),
    ) -> Landing:
        with self._connection.transaction():
            head = self.head_landing()
            newest = head.seq if head else SEQ_ZERO
            if previous_seq != newest:
                raise StaleBase(expected_seq=previous_seq, found_seq=newest)
            row = self._connection.row(HEAD_SEQ)
            assert row is not None
            seq = Seq(row[0] + 1)
            self._connection.execute(
                f"INSERT INTO landings ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    seq,
                    encode_time(timestamp),
                    change_id,
                    version,
                    agent_id,
                    root,
                    previous_seq,
                    int(verified),
                    attempt_id,
                ),
            )
            self._connection.execute_many(
                "INSERT INTO touched (directory, name, landing, op) VALUES (?, ?, ?, ?)",
                [(*split(path), seq, op) for path, op in touched],
            )
        return Landing(
            seq,
            timestamp,
            change_id,
            version,
            agent_id,
            root,
            previous_seq,
            verified,
            attempt_id,
        )

    def landing_at(self, seq: Seq) -> Landing | None:
        return self._one("WHERE seq <= ? ORDER BY seq DESC LIMIT 1", seq)

    def head_landing(self) -> Landing | None:
        return self._one("ORDER BY seq DESC LIMIT 1")

    def landings(self, since: Seq = SEQ_ZERO, limit: int | None = None) -> list[Landing]:
        rows = self._connection.rows(
            f"{_SELECT} WHERE seq > ? ORDER BY seq LIMIT ?", (since, -1 if limit is None else limit)
        )
        return [_landing(row) for row in rows]

    def landing_of(self, change_id: ChangeId) -> Landing | None:
        return self._one("WHERE change_id = ? ORDER BY seq DESC LIMIT 1", change_id)

    def touched(self, path: RepoPath, until: Seq) -> Touch | None:
        directory, name = split(path)
        row = self._connection.row(_TOUCHED, (directory, name, until))
        return None if row is None else (decode_time(row[0]), Seq(row[1]))

    def landings_touching(self, path: RepoPath, since: Seq, limit: int) -> list[Landing]:
        rows = self._connection.rows(
            f"{_SELECT} WHERE seq IN (SELECT landing FROM touched WHERE directory = ? AND name = ? "
            "AND landing > ? ORDER BY landing LIMIT ?) ORDER BY seq",
            (*split(path), since, limit),
        )
        return [_landing(row) for row in rows]

    def touched_in(self, directory: RepoPath, until: Seq) -> dict[str, Touch]:
        return {
            name: (decode_time(timestamp), Seq(op))
            for name, timestamp, op in self._connection.rows(_TOUCHED_IN, (directory, until))
        }

    def _one(self, condition: str, *values: int | str) -> Landing | None:
        row = self._connection.row(f"{_SELECT} {condition}", values)
        return None if row is None else _landing(row)


def _landing(row: Row) -> Landing:
    seq, timestamp, change_id, version, agent_id, root, previous_seq, verified, attempt_id = row
    return Landing(
        seq=seq,
        timestamp=decode_time(timestamp),
        change_id=change_id,
        version=version,
        agent_id=agent_id,
        root=root,
        previous_seq=previous_seq,
        verified=bool(verified),
        attempt_id=attempt_id,
    )
