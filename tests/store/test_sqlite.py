"""The log in SQLite: the conformance suite, and what only a database on a disk promises."""

import errno
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pwfs.model.errors import Corrupt, NewerSchema, NoSpace, StoreBusy, StoreFailed, StoreReadOnly
from pwfs.model.events import EventType
from pwfs.model.ids import Seq, TreeHash, WorkspaceId
from pwfs.model.ops import Op
from pwfs.store import schema
from pwfs.store.blobs import FileBlobStore
from pwfs.store.codec import op_metadata, op_record
from pwfs.store.protocols import LogStore
from pwfs.store.sqlite_connection import CHECKPOINT_COMMITS, JOURNAL_SIZE_LIMIT_BYTES
from pwfs.store.sqlite_log import SqliteLog
from tests.store.conformance import LogConformance
from tests.store.conformance_records import OpenLog
from tests.store.samples import (
    CHANGE,
    NOW,
    append,
    blob_hash,
    change,
    create,
    delete,
    land,
    modify,
    path,
    rename,
    version,
)

WAIT_S = 30
LOCK_IT = """
import sqlite3, sys
sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute("BEGIN IMMEDIATE")
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "oplog.db"


@pytest.fixture
def log(database: Path) -> Iterator[SqliteLog]:
    opened = SqliteLog(database)
    yield opened
    opened.close()


class TestSqliteLog(LogConformance):
    """The suite, on SQLite."""

    @pytest.fixture
    def open_log(self, tmp_path: Path) -> Iterator[OpenLog]:
        opened: list[SqliteLog] = []

        def open_log() -> LogStore:
            opened.append(SqliteLog(tmp_path / f"oplog-{len(opened)}.db"))
            return opened[-1]

        yield open_log
        for log in opened:
            log.close()


def test_everything_is_there_when_it_is_opened_again(database: Path) -> None:
    """Operations, events, records; the counter goes on from where it was."""
    first = SqliteLog(database)
    ops = append(first, create("a"), rename("a", "b"))
    first.insert_change(change(versions=(version(1, (1, 2)),)))
    landing = land(first, CHANGE, 1)
    first.close()
    second = SqliteLog(database)
    assert second.ops() == ops
    assert second.change(CHANGE) == change(versions=(version(1, (1, 2)),))
    assert second.head_landing() == landing
    assert second.last_event_id() == 2
    assert append(second, create("c"))[0].id == 4
    second.close()


def test_closing_leaves_the_database_alone(log: SqliteLog, database: Path) -> None:
    """No write-ahead log stays behind: the one file is all there is to copy."""
    append(log, create("a"))
    assert Path(f"{database}-wal").exists()
    log.close()
    assert list(database.parent.iterdir()) == [database]


def test_the_write_ahead_log_stays_small(log: SqliteLog, database: Path) -> None:
    """As long as somebody tidies, however long the log is open."""
    page = b"\xff" * 4000
    for number in range(10 * CHECKPOINT_COMMITS):
        log.put_trees({TreeHash(f"{number:064x}"): page})
        log.checkpoint()
    assert Path(f"{database}-wal").stat().st_size < 6 * CHECKPOINT_COMMITS * 4120


def test_the_write_ahead_log_is_tidied_if_nobody_does_it(log: SqliteLog, database: Path) -> None:
    """A commit does it then, once the log is large."""
    page = b"\xff" * 400_000
    for number in range(4 * CHECKPOINT_COMMITS):
        log.put_trees({TreeHash(f"{number:064x}"): page})
    assert Path(f"{database}-wal").stat().st_size < 1.2 * JOURNAL_SIZE_LIMIT_BYTES


def test_what_operations_name_is_on_disk_before_they_are(tmp_path: Path) -> None:
    """Promise 2 under a power failure: before a sync, a checkpoint and the end."""
    database = tmp_path / "oplog.db"
    calls: list[int] = []
    log = SqliteLog(database, before_sync=lambda: calls.append(database.stat().st_size))
    append(log, create("a"))
    log.sync()
    assert len(calls) == 1
    for number in range(CHECKPOINT_COMMITS):
        append(log, create(f"{number}"))
    log.checkpoint()
    assert len(calls) == 2
    assert calls[1] == calls[0] < database.stat().st_size
    append(log, create("b"))
    before = database.stat().st_size
    log.close()
    assert calls[2:] == [before]


def test_a_sync_that_failed_is_not_believed_the_next_time(
    log: SqliteLog, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel forgets pages that it could not write: they are written elsewhere."""
    append(log, create("a"))

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        with pytest.raises(StoreFailed, match="Input/output"):
            log.sync()
    assert Path(f"{database}-wal").stat().st_size
    log.sync()
    assert Path(f"{database}-wal").stat().st_size == 0
    assert [op.path for op in log.ops()] == ["a"]


@pytest.mark.parametrize("table", ["ops", "landings", "events"])
def test_the_log_is_append_only(log: SqliteLog, database: Path, table: str) -> None:
    """Promise 1: no row of it is changed or removed, not even by somebody's SQLite shell."""
    append(log, create("a"))
    land(log, CHANGE, 1)
    log.append_event(EventType.CHANGE_LANDED, {}, NOW)
    shell = sqlite3.connect(database, isolation_level=None)
    try:
        before = shell.execute(f"SELECT * FROM {table}").fetchall()
        for statement in (
            f"UPDATE {table} SET timestamp = 0",
            f"DELETE FROM {table}",
            f"DELETE FROM {table} WHERE timestamp > 0",
        ):
            with pytest.raises(sqlite3.IntegrityError, match=f"{table} is append-only"):
                shell.execute(statement)
        assert shell.execute(f"SELECT * FROM {table}").fetchall() == before
    finally:
        shell.close()


def test_our_own_connection_cannot_replace_a_row(log: SqliteLog) -> None:
    """INSERT OR REPLACE deletes without saying so; the trigger sees it all the same."""
    append(log, create("a"))
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        log._connection.execute("INSERT OR REPLACE INTO ops SELECT * FROM ops")


def test_a_version_is_frozen(log: SqliteLog, database: Path) -> None:
    """Its operations cannot be changed; that it was tested can be noted."""
    log.insert_change(change(versions=(version(1, (1,)),)))
    shell = sqlite3.connect(database, isolation_level=None)
    try:
        for statement in ("UPDATE versions SET operations = '[]'", "DELETE FROM versions"):
            with pytest.raises(sqlite3.IntegrityError, match="frozen"):
                shell.execute(statement)
    finally:
        shell.close()


def test_a_newer_database_is_not_touched(database: Path) -> None:
    """NewerSchema, and every byte is as it was."""
    SqliteLog(database).close()
    shell = sqlite3.connect(database)
    shell.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    shell.close()
    before = database.read_bytes()
    with pytest.raises(NewerSchema) as refusal:
        SqliteLog(database)
    assert (refusal.value.found, refusal.value.supported) == (
        schema.SCHEMA_VERSION + 1,
        schema.SCHEMA_VERSION,
    )
    assert database.read_bytes() == before


def test_a_newer_databases_write_ahead_log_is_not_touched(database: Path, tmp_path: Path) -> None:
    """Also when the newer Patchwork was killed, and what makes it newer is in the log only."""
    SqliteLog(database).close()
    newer = tmp_path / "newer"
    newer.mkdir()
    shell = sqlite3.connect(database)
    shell.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 7}")
    for suffix in ("", "-wal"):
        shutil.copy(f"{database}{suffix}", f"{newer / database.name}{suffix}")
    shell.close()
    before = {file.name: file.read_bytes() for file in newer.iterdir()}
    with pytest.raises(NewerSchema):
        SqliteLog(newer / database.name)
    assert {name: (newer / name).read_bytes() for name in before} == before


def test_the_schema_number_counts_the_migrations(log: SqliteLog, database: Path) -> None:
    """What a database says of itself is what was applied to it; opening again applies nothing."""
    shell = sqlite3.connect(database)
    try:
        assert schema.user_version(shell) == schema.SCHEMA_VERSION
        (applied,) = shell.execute("SELECT count(*) FROM _sqlite_migrations").fetchone()
        assert applied == schema.SCHEMA_VERSION
    finally:
        shell.close()


def test_something_else_than_a_database_is_corrupt(database: Path) -> None:
    """It is said in our words, and the file stays."""
    database.write_bytes(b"this is not a database, it is a text\n" * 100)
    with pytest.raises(Corrupt, match=r"oplog\.db"):
        SqliteLog(database)
    assert database.read_bytes().startswith(b"this is not")


def test_damage_inside_is_found(log: SqliteLog, database: Path) -> None:
    """The check tells what is wrong with the numbers, and reading what is wrong with a row."""
    append(log, create("a"))
    log.close()
    shell = sqlite3.connect(database, isolation_level=None)
    shell.execute("INSERT INTO events VALUES (5, 1, 'change_status', 0, '{}', NULL)")
    shell.execute("INSERT INTO landings VALUES (1, 0, 'c', 1, 'a', 'r', 0, 1, NULL)")
    shell.execute(
        "INSERT INTO ops VALUES (2, 0, 'a', 'c', 1, 'create', 'p', 'h', NULL, NULL, 0, 'x')"
    )
    shell.close()
    damaged = SqliteLog(database)
    try:
        assert damaged.integrity_check() == [
            "sequence number 1 is both an operation's and a landing's",
            "event 5 does not follow event 1",
        ]
        with pytest.raises(Corrupt, match="Operation 2"):
            damaged.op(Seq(2))
    finally:
        damaged.close()


def test_a_locked_database_is_busy(log: SqliteLog, database: Path) -> None:
    """Somebody else's transaction makes writing wait, then fail; the log is as it was."""
    append(log, create("a"))
    hasty = SqliteLog(database, busy_timeout_s=0.01)
    shell = sqlite3.connect(database, isolation_level=None)
    shell.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StoreBusy):
            append(hasty, create("b"))
        with pytest.raises(StoreBusy):
            hasty.put_attr(WorkspaceId("ws"), path("a"), b"")
        assert hasty.head_seq() == 1
        assert not hasty.in_transaction
    finally:
        shell.execute("ROLLBACK")
        shell.close()
    assert append(hasty, create("b"))[0].id == 2
    hasty.close()


@pytest.mark.parametrize("is_nested", [False, True])
def test_a_full_disk_rolls_back(log: SqliteLog, is_nested: bool) -> None:
    """NoSpace, nothing of the transaction stays, and it goes on once there is room."""
    append(log, create("a"))
    pages = log._connection.row("PRAGMA page_count")
    assert pages is not None
    log._connection.execute(f"PRAGMA max_page_count = {pages[0] + 2}")
    many = [create(f"file-{number}") for number in range(2000)]

    def fill() -> None:
        with log.transaction():
            log.insert_change(change())
            if is_nested:
                with log.transaction():
                    append(log, *many)
            else:
                append(log, *many)

    with pytest.raises(NoSpace):
        fill()
    assert not log.in_transaction
    assert (log.head_seq(), log.last_event_id()) == (1, 1)
    assert log.change(CHANGE) is None
    log._connection.execute("PRAGMA max_page_count = 1000000")
    assert append(log, *many)[-1].id == 2001


def test_a_full_disk_whose_error_is_dropped_commits_nothing(log: SqliteLog) -> None:
    """SQLite has rolled the whole transaction back by then: what follows must not stand alone."""
    pages = log._connection.row("PRAGMA page_count")
    assert pages is not None

    def fill() -> None:
        with log.transaction():
            log.insert_change(change())
            log._connection.execute(f"PRAGMA max_page_count = {pages[0] + 2}")
            with pytest.raises(NoSpace):
                append(log, *[create(f"file-{number}") for number in range(2000)])

    with pytest.raises(RuntimeError, match="inner transaction"):
        fill()
    assert log.change(CHANGE) is None
    assert not log.in_transaction


def test_syncing_fsyncs_the_write_ahead_log(
    log: SqliteLog, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the directory it is new in, once."""
    append(log, create("a"))
    synced: list[str] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    log.sync()
    assert synced == [f"{database}-wal", str(database.parent)]
    log.sync()
    assert synced[2:] == [f"{database}-wal"]


def test_syncing_keeps_sqlites_locks(log: SqliteLog, database: Path) -> None:
    """Closing a descriptor of a locked file would drop the process's locks: another could write."""
    with log.transaction():
        append(log, create("a"))
        log.sync()
        other = subprocess.run(
            [sys.executable, "-c", LOCK_IT, database],
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_S,
        )
        assert "database is locked" in other.stderr


def test_a_reader_in_another_thread_sees_what_is_committed(log: SqliteLog) -> None:
    """Not what is under way, and it cannot write."""
    append(log, create("a"))
    seen: list[object] = []

    def read() -> None:
        reader = log.reader()
        seen.append(reader.head_seq())
        with pytest.raises(StoreReadOnly):
            append(reader, create("x"))
        reader.close()

    with log.transaction():
        append(log, create("b"))
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    reader = log.reader()
    seen.append(reader.head_seq())
    reader.close()
    assert seen == [1, 2]


def test_closing_inside_a_transaction_is_a_mistake(log: SqliteLog) -> None:
    """It would silently drop what was done."""
    with log.transaction():
        with pytest.raises(RuntimeError, match="inside a transaction"):
            log.close()
        append(log, create("a"))
    assert log.head_seq() == 1
    log.close()
    with pytest.raises(RuntimeError, match="closed"):
        log.head_seq()


@pytest.mark.parametrize("size", [1, 7])
def test_what_was_committed_survives_a_kill(database: Path, tmp_path: Path, size: int) -> None:
    """Promises 2 and 4: every operation that a process saw committed outlives it.

    So does every content that an operation names; and a transaction is there whole or not at all.
    """
    root = tmp_path / "blobs"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.store.appender", database, root, str(size)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent.parent,
    ) as appender:
        assert appender.stdout is not None
        told = [appender.stdout.readline() for _ in range(1400)]
        os.kill(appender.pid, signal.SIGKILL)
        told += appender.stdout.read().splitlines(keepends=True)
    whole = [line.split() for line in told if line.endswith("\n")]
    assert len(whole) >= 1400
    log, blobs = SqliteLog(database), FileBlobStore(root)
    try:
        assert log.integrity_check() == []
        ops = log.ops()
        assert [(str(op.id), op.content_hash) for op in ops[: len(whole)]] == [
            (seq, name) for seq, name in whole
        ]
        assert len(ops) % size == 0
        assert log.last_event_id() == len(ops)
        for op in ops:
            assert op.content_hash is not None
            blobs.get(op.content_hash)
        assert append(log, create("after"))[0].id == len(ops) + 1
    finally:
        log.close()


def test_an_operation_as_json(log: SqliteLog) -> None:
    """The log's columns by their names; the metadata says nothing of what does not apply."""
    created, deleted = append(log, modify("a", 3), delete("b"))
    assert op_record(created) == {
        "id": 1,
        "timestamp": "2026-03-04T05:06:07.891234Z",
        "agent_id": "agent-1",
        "change_id": "add-auth",
        "version": 1,
        "op_type": "modify",
        "path": "a",
        "content_hash": blob_hash(3),
        "diff_hash": None,
        "old_path": None,
        "parent_seq": 0,
        "metadata": {
            "mode": "100644",
            "kind": "file",
            "size": 3,
            "base": {"content_hash": blob_hash(1), "mode": "100644", "size": 1},
        },
    }
    assert op_metadata(deleted)["base"] == op_metadata(created)["base"]
    assert set(op_metadata(deleted)) == {"base"}
    assert stored_metadata(log, deleted) == op_metadata(deleted)


def stored_metadata(log: SqliteLog, op: Op) -> object:
    row = log._connection.row("SELECT json_extract(metadata, '$') FROM ops WHERE id = ?", (op.id,))
    assert row is not None
    return json.loads(row[0])
