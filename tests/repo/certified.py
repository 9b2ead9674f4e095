"""Queued items, their tests without running any, and databases altered behind everybody's back."""

import hashlib
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

from pwfs.model.ids import Seq
from pwfs.model.queue import AttemptState, Member, QueueItem, TestKey
from pwfs.repo.certifying import VerifyReport, verify
from pwfs.repo.repository import Repository
from tests.repo.support import workspace_on, write


def submitted(repo: Repository, title: str, path: str, text: str) -> QueueItem:
    """A change that writes one file, in the queue."""
    write(repo, workspace_on(repo, title), path, text)
    return repo.submit([title.lower()], agent="a")


def passed(repo: Repository, item: QueueItem, stack: tuple[Member, ...], base: int) -> int:
    """An attempt that passed, of a stack on main at ``base``; its number."""
    root = repo.candidate(Seq(base), stack).root
    assert root is not None
    key = TestKey(root, "make test", "e" * 64)
    attempt = repo.start_attempt(item, Seq(base), stack, key)
    output = repo.blobs.put(b"fine\n")
    return repo.finish_attempt(attempt.id, AttemptState.PASSED, 0, output).id


def altered(repo: Repository, *statements: str) -> VerifyReport:
    """What is found after the database was changed behind the back of everybody."""

    def execute(shell: sqlite3.Connection) -> None:
        for statement in statements:
            assert shell.execute(statement).rowcount

    return forged(repo, execute)


def forged(repo: Repository, forge: Callable[[sqlite3.Connection], None]) -> VerifyReport:
    """The same after anything was done to the database."""
    directory, database = repo.root, repo.layout.database
    repo.close()
    with closing(sqlite3.connect(database)) as shell:
        triggers = shell.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            shell.execute(f"DROP TRIGGER {name}")
        forge(shell)
        shell.commit()
    with closing(Repository.open(directory)) as opened:
        return verify(opened)


def rewritten(shell: sqlite3.Connection, edit: Callable[[dict[str, Any]], None]) -> None:
    """Alters the newest certificate as a careful forger does: its digest is that of its text."""
    number, text = shell.execute(
        "SELECT number, content FROM certificates ORDER BY number DESC LIMIT 1"
    ).fetchone()
    content = json.loads(text)
    edit(content)
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    shell.execute(
        "UPDATE certificates SET content = ?, digest = ? WHERE number = ?", (text, digest, number)
    )
