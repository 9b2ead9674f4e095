"""The checks that follow every test find what they are for."""

import sqlite3
from pathlib import Path

from tests.fs.conftest import Mounted
from tests.support.properties import problems_of


def found(mounted: Mounted) -> list[str]:
    """What the checks say."""
    mounted.call("barrier")
    return list(problems_of(mounted.repository, mounted.mountpoint))


def doctor(mounted: Mounted, table: str, statement: str) -> None:
    """Changes the log behind the back of everybody."""
    database = sqlite3.connect(mounted.repository / ".patchwork/oplog.db")
    with database:
        (trigger,) = database.execute(
            "SELECT sql FROM sqlite_master WHERE name = ?", (f"{table}_refuse_update",)
        ).fetchone()
        database.execute(f"DROP TRIGGER {table}_refuse_update")
        database.execute(statement)
        database.execute(trigger)
    database.close()
    mounted.is_damaged = True


def work(mounted: Mounted) -> Path:
    """A landing, and a draft on it; everything holds."""
    first = mounted.workspace("first")
    (first / "src/app.py").write_bytes(b"landed\n")
    (first / "src/lib").rename(first / "src/library")
    mounted.call("land", "first", agent="tester")
    workspace = mounted.workspace()
    (workspace / "new").write_bytes(b"new\n")
    (workspace / "run.sh").rename(workspace / "walk.sh")
    (workspace / "kept.log").write_bytes(b"ignored\n")
    assert found(mounted) == []
    return workspace


def test_bytes_that_the_log_does_not_have_are_found(mounted: Mounted) -> None:
    """A content that is another than its name says, as large as before."""
    for blob in (mounted.repository / ".patchwork/blobs").rglob("*"):
        if blob.is_file() and blob.read_bytes() == b"hello\n":
            blob.chmod(0o644)
            blob.write_bytes(b"hallo\n")
    mounted.is_damaged = True
    mounted.expected_log.append("a stored content is damaged")
    assert any(problem.startswith("main/README.md: the mount") for problem in found(mounted))


def test_an_operation_that_says_something_else_is_found(mounted: Mounted) -> None:
    """The mount goes on showing what it knows, the log says otherwise."""
    work(mounted)
    doctor(mounted, "ops", "UPDATE ops SET path = 'other' WHERE path = 'new'")
    problems = found(mounted)
    assert any(problem.startswith("ws/ws-work/new: the mount shows") for problem in problems)
    assert any(problem.startswith("ws/ws-work/other: the mount shows None") for problem in problems)


def test_a_root_that_is_not_the_recorded_one_is_found(mounted: Mounted) -> None:
    """At the landing, in the replay and for the lines that know nothing of the code."""
    work(mounted)
    doctor(
        mounted,
        "ops",
        "UPDATE ops SET op_type = 'delete', content_hash = NULL, "
        "metadata = json_remove(metadata, '$.mode', '$.kind', '$.size') "
        "WHERE path = 'src/app.py' AND change_id = 'first'",
    )
    assert any("recorded is" in problem and "gives tree" in problem for problem in found(mounted))


def test_a_wrong_agent_is_found(mounted: Mounted) -> None:
    """An operation that came from a workspace of somebody else."""
    work(mounted)
    doctor(mounted, "ops", "UPDATE ops SET agent_id = 'mallory' WHERE path = 'new'")
    assert any("mallory" in problem for problem in found(mounted))
