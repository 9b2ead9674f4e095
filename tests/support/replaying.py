"""A repository's log and contents, and nothing else, brought into an empty repository.

Read are operations, landings, changes with their versions, views, workspaces and blobs. Operations
are appended and versions landed in the order of their numbers; trees, merges, drafts and live views
are whatever the new repository makes of them.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pwfs.model.changes import Landing
from pwfs.model.ids import SEQ_ZERO, AttemptId, BlobHash, Seq
from pwfs.model.ops import Op
from pwfs.model.paths import RepoPath
from pwfs.model.queue import Member
from pwfs.repo.layout import Layout
from pwfs.repo.repository import Repository
from pwfs.store.sqlite_log import SqliteLog
from pwfs.views.trees import diff_trees


class Recorded:
    """What a repository has recorded, as of one moment; its daemon may be running."""

    def __init__(self, repository: Path, copy: Path) -> None:
        self.layout = Layout(repository.resolve())
        source = sqlite3.connect(f"file:{self.layout.database}?mode=ro", uri=True)
        target = sqlite3.connect(copy)
        try:
            source.backup(target)
        finally:
            target.close()
            source.close()
        self.log = SqliteLog(copy)
        self.blobs = self.layout.blobs

    def blob(self, blob_hash: BlobHash) -> Path:
        """Where a content is."""
        return self.blobs / blob_hash[:2] / blob_hash[2:]


def replay(recorded: Recorded, directory: Path) -> tuple[Repository, list[str]]:
    """Fills an empty repository; returns it and what came out differently. Close it."""
    layout = Layout(directory)
    layout.state.mkdir(parents=True)
    layout.work.mkdir()
    if recorded.layout.config.exists():
        layout.config.write_bytes(recorded.layout.config.read_bytes())
    empty = Repository.open(directory, create=True)
    problems = list(_Replay(recorded, empty).run())
    return empty, problems


class _Replay:
    def __init__(self, recorded: Recorded, empty: Repository) -> None:
        self._recorded = recorded
        self._old = recorded.log
        self._new = empty

    def run(self) -> Iterator[str]:
        for change in self._old.changes():
            self._new.log.insert_change(change)
        landings = self._old.landings()
        # One transaction for what lies between two landings: appending is what takes long.
        pending: list[Op] = []
        ops = iter(self._old.ops())
        op = next(ops, None)
        for landing in landings:
            while op is not None and op.id < landing.seq:
                pending.append(op)
                op = next(ops, None)
            yield from self._append(pending)
            pending = []
            yield from self._land(landing)
        if op is not None:
            yield from self._append([op, *ops])
        for view in self._old.views():
            self._new.log.insert_view(view)
        for workspace in self._old.workspaces():
            self._new.log.insert_workspace(workspace)

    def _append(self, ops: list[Op]) -> Iterator[str]:
        for op in ops:
            for entry in (op.new.entry, op.new.base, op.new.replaced):
                if entry is not None:
                    self._bring(entry.content_hash)
        with self._new.log.transaction():
            for op in ops:
                (made,) = self._new.log.append_ops(
                    op.change_id, op.version, op.agent_id, [op.new], op.timestamp
                )
                if made != op:
                    yield f"operation {op.id}: appended again it is {made}, recorded is {op}"

    def _bring(self, blob_hash: BlobHash) -> None:
        if not self._new.blobs.has(blob_hash):
            path = self._recorded.blob(blob_hash)
            if path.exists():
                # By a link where the disk has them: sparse files must not become as long as they are.
                self._new.blobs.adopt(path, blob_hash)

    def _land(self, landing: Landing) -> Iterator[str]:
        head, before = self._new.main()
        members, root = members_of(self._old, landing), before
        if members is not None:
            candidate = self._new.candidate(head, members)
            if candidate.root is None:
                yield f"landing {landing.seq} conflicts: {candidate.conflicts}"
                return
            root = candidate.root
        if root != landing.root:
            yield f"landing {landing.seq} gives tree {root}, recorded is {landing.root}"
        seqs: dict[RepoPath, Seq] = {}
        for member in members or ():
            edits = self._new.edits(self._new.change(member.change_id), member.version).edits
            seqs.update((path, edit.seq) for path, edit in edits.items())
        touched = [
            (each.path, seqs.get(each.path, SEQ_ZERO))
            for each in diff_trees(self._new.trees, before, root)
        ]
        made = self._new.log.append_landing(
            change_id=landing.change_id,
            version=landing.version,
            agent_id=landing.agent_id,
            root=root,
            previous_seq=head,
            verified=landing.verified,
            attempt_id=None,
            timestamp=landing.timestamp,
            touched=touched,
        )
        if made.seq != landing.seq:
            yield f"landing {landing.seq} becomes {made.seq}"


def members_of(log: SqliteLog, landing: Landing) -> tuple[Member, ...] | None:
    """The versions that make a landing's tree; None where an earlier landing brought it."""
    if landing.attempt_id is None:
        return (Member(landing.change_id, landing.version),)
    attempt = log.attempt(AttemptId(landing.attempt_id))
    assert attempt is not None, f"landing {landing.seq} names attempt {landing.attempt_id}"
    before = next(iter(log.landings(Seq(landing.previous_seq - 1), limit=1)), None)
    if before is not None and before.attempt_id == landing.attempt_id:
        return None
    return attempt.stack[attempt.stack.index(Member(landing.change_id, landing.version)) :]


@contextmanager
def replayed(repository: Path, directory: Path) -> Iterator[tuple[Recorded, Repository, list[str]]]:
    """What is recorded, and the empty repository that it was brought into."""
    recorded = Recorded(repository, directory / "copy.db")
    try:
        empty, problems = replay(recorded, directory / "empty")
        try:
            yield recorded, empty, problems
        finally:
            empty.close()
    finally:
        recorded.log.close()
