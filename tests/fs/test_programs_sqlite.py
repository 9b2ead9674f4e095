"""SQLite in a workspace: locks, journals, shared memory, several processes."""

import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from tests.fs.conftest import Mounted

pytestmark = pytest.mark.timeout(60)

WRITER = """
    import sqlite3, sys
    database = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
    for number in range(int(sys.argv[3])):
        database.execute("begin immediate")
        (last,) = database.execute("select coalesce(max(n), 0) from t").fetchone()
        database.execute("insert into t values (?, ?)", (last + 1, sys.argv[2]))
        database.execute("commit")
    database.close()
"""
ROWS = 60


@pytest.mark.parametrize("name", ["db.log", "db.sqlite"])
@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_both_journal_modes(mounted: Mounted, name: str, journal: str) -> None:
    """A database works in scratch and as a versioned file, in both journal modes."""
    ws = mounted.workspace()
    database = sqlite3.connect(ws / name)
    assert database.execute(f"pragma journal_mode={journal}").fetchone() == (journal,)
    database.execute("create table t (n integer)")
    for number in range(20):
        with database:
            database.execute("insert into t values (?)", (number,))
    other = sqlite3.connect(ws / name)
    assert other.execute("select count(*), sum(n) from t").fetchone() == (20, 190)
    other.close()
    database.close()
    again = sqlite3.connect(ws / name)
    assert again.execute("pragma integrity_check").fetchone() == ("ok",)
    again.close()


@pytest.mark.parametrize("name", ["build/db", "db"])
def test_two_processes_write_at_once(mounted: Mounted, name: str) -> None:
    """In WAL mode, through shared memory and locks that really exclude; then it is whole.

    In an ignored directory, and versioned: then the log has it as it was in the end.
    """
    database = mounted.workspace() / name
    database.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(database)) as made:
        assert made.execute("pragma journal_mode=wal").fetchone() == ("wal",)
        made.execute("create table t (n integer primary key, who text)")
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(database)]
    writers = [subprocess.Popen([*command, who, str(ROWS)]) for who in ("a", "b")]
    try:
        with closing(sqlite3.connect(database, timeout=30)) as reader:
            while any(writer.poll() is None for writer in writers):
                count, last = reader.execute("select count(*), max(n) from t").fetchone()
                assert count == (last or 0)
        assert [writer.wait() for writer in writers] == [0, 0]
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    assert whole(database) == [("a", ROWS), ("b", ROWS)]
    copy = mounted.repository.parent / "copy.sqlite"
    if name == "db":
        copy.write_bytes(mounted.read("ws-work", name))
        assert whole(copy) == [("a", ROWS), ("b", ROWS)]
    else:
        assert mounted.ops() == []


def whole(database: Path) -> list[tuple[str, int]]:
    """Checks a database, and counts each writer's rows."""
    with closing(sqlite3.connect(database)) as found:
        assert found.execute("pragma integrity_check").fetchone() == ("ok",)
        return found.execute("select who, count(*) from t group by who order by who").fetchall()
