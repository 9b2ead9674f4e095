"""Properties of a repository and its mount that hold after anything whatever; checked so often.

1. The log, replayed into an empty repository, gives the bytes, modes and links that the mount
   shows; and a few lines that know nothing of the code (`interpreter`) give the same.
2. Every landing's number, and one between each two, mounted under ``at/`` has the recorded root.
3. Every operation carries the agent whose workspace it was written in, and the process.
4. Every operation follows the last one on its path (`chains`).

That a reader sees an old or a new file needs readers: `tests.system.readers`.

``python -m tests.support.properties REPOSITORY [MOUNT]`` checks a repository whose daemon runs, and
ends with status 1 where something does not hold. Nobody should be writing meanwhile.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from pwfs.fs.attributes import AttrTable
from pwfs.model.changes import Landing
from pwfs.model.events import EventType
from pwfs.model.ids import SEQ_ZERO, ChangeId, Seq, WorkspaceId
from pwfs.model.ops import Op
from pwfs.model.paths import RepoPath
from pwfs.model.views import BaseType, Workspace
from pwfs.repo.live import LiveView
from pwfs.repo.repository import Repository
from tests.support.chains import chains
from tests.support.interpreter import Files, Interpreter, Unsaid
from tests.support.replaying import Recorded, members_of, replayed
from tests.support.walking import Shown, root_hash, walk

LARGE_BYTES = 32 << 20
"""A file in scratch above this size is not read: it may be sparse and larger than the disk."""
SHOWN_MAX = 40


def check_properties(repository: Path, mount: Path) -> None:
    """Checks all of them.

    Raises:
        AssertionError: one does not hold; the message tells each difference.
    """
    problems = list(problems_of(repository, mount))
    assert not problems, "\n".join(problems[:SHOWN_MAX])


def problems_of(repository: Path, mount: Path) -> Iterator[str]:
    """Tells what does not hold, a sentence each."""
    with (
        tempfile.TemporaryDirectory() as directory,
        replayed(repository, Path(directory)) as (recorded, empty, problems),
    ):
        yield from problems
        yield from Replayed(recorded, empty, mount).problems()
        yield from moments(recorded, mount)
        yield from agents(recorded)
        yield from chains(recorded.log)


class Replayed:
    """What the log gives, by two ways, beside what the mount shows."""

    def __init__(self, recorded: Recorded, empty: Repository, mount: Path) -> None:
        self._log = recorded.log
        self._work = recorded.layout.work
        self._empty = empty
        self._mount = mount
        self._interpreter = Interpreter(empty.blobs)
        self._main: dict[Seq, Files] = {SEQ_ZERO: {}}

    def problems(self) -> Iterator[str]:
        """Compares main, every view and every workspace."""
        for landing in self._log.landings():
            yield from self._landing(landing)
        yield from self._compare("main", self._empty.live("main"), {})
        for workspace in self._log.workspaces():
            if workspace.test_root is None:
                live = self._empty.live(workspace.id)
                yield from self._compare(f"ws/{workspace.id}", live, self._scratch(workspace))
                yield from self._draft(workspace, live)
        for view in self._log.views():
            if self._log.workspace(WorkspaceId(view.id)) is None:
                yield from self._compare(f"views/{view.id}", self._empty.live(view.id), {})

    def _landing(self, landing: Landing) -> Iterator[str]:
        live = self._empty.live(f"at-{landing.seq}")
        files: Files = {str(path): entry for path, entry in live.files()}
        self._main[landing.seq] = files
        if len(members_of(self._log, landing) or ()) != 1:
            return  # Several changes land as one tree.
        change = self._log.change(landing.change_id)
        version = change.version(landing.version) if change is not None else None
        assert version is not None
        ops = self._log.ops_numbered(version.operations)
        yield from self._interpreted(f"landing {landing.seq}", landing.previous_seq, ops, files)

    def _draft(self, workspace: Workspace, live: LiveView) -> Iterator[str]:
        change = self._log.change(workspace.change_id or ChangeId(""))
        view = self._log.view(workspace.view_id) if workspace.view_id is not None else None
        if change is None or view is None or len(view.overlays) > 1 or change.dependencies:
            return
        if view.base.type is BaseType.MAIN_AT_SEQ:
            at = self._log.landing_at(view.base.seq)
        else:
            at = self._log.head_landing()
        seq = at.seq if at is not None else SEQ_ZERO
        landed = self._log.landing_of(change.id)
        ops: list[Op] = []
        if landed is None or landed.seq > seq:
            current = change.version(change.current_version)
            ops = self._log.ops_numbered(current.operations) if current is not None else []
            ops += self._log.draft_ops(change.id, change.current_version)
        shown: Files = {str(path): entry for path, entry in live.files()}
        yield from self._interpreted(f"workspace {workspace.id}", seq, ops, shown)

    def _interpreted(self, what: str, seq: Seq, ops: list[Op], files: Files) -> Iterator[str]:
        since = min((op.new.base_seq for op in ops), default=seq)
        moved: set[str] = set()
        for op in self._log.renames_landed(since, seq):
            moved |= {path for path in (op.new.old_path, op.path) if path is not None}
            moved.update(op.new.directory_rename or ())
        try:
            expected = self._interpreter.applied(self._main[seq], ops, moved)
        except Unsaid:
            return
        for path in sorted(expected.keys() | files.keys()):
            if expected.get(path) != files.get(path):
                yield (
                    f"{what}: {path}: read by itself the log says {expected.get(path)}, "
                    f"replayed {files.get(path)}"
                )

    def _scratch(self, workspace: Workspace) -> dict[str, tuple[Shown, bool]]:
        """What a workspace keeps on disk, and whether it stands before the log's file."""
        top = self._work / workspace.id / "tree"
        if not top.is_dir():
            return {}
        rows = AttrTable(self._log, workspace.id)
        found = {}
        for path, shown in walk(os.fspath(top), large_bytes=LARGE_BYTES):
            row = rows.get(RepoPath(path))
            found[path] = shown, row is not None and row.shadowed
        return found

    def _compare(
        self, place: str, live: LiveView, scratch: Mapping[str, tuple[Shown, bool]]
    ) -> Iterator[str]:
        logged = {
            str(path): Shown(entry.mode.value, entry.content_hash, entry.size)
            for path, entry in live.files()
        }
        found = dict(walk(os.fspath(self._mount / place), large_bytes=LARGE_BYTES))
        for path in sorted(found.keys() | logged.keys() | scratch.keys()):
            shown, expected = found.get(path), logged.get(path)
            kept, stands_before = scratch.get(path, (None, False))
            if kept is not None and (expected is None or stands_before):
                expected = kept
            elif expected is not None and (
                expected.size > LARGE_BYTES or live.is_manual_conflict(RepoPath(path))
            ):
                expected = Shown(expected.mode, "", expected.size)
            if shown != expected:
                yield f"{place}/{path}: the mount shows {shown}, the log says {expected}"


def moments(recorded: Recorded, mount: Path) -> Iterator[str]:
    """Compares the tree at every landing's number, and between, with the recorded root."""
    landings = recorded.log.landings()
    if not landings:
        return
    ends = [*(each.seq - 1 for each in landings[1:]), recorded.log.head_seq()]
    for landing, end in zip(landings, ends, strict=True):
        for seq in sorted({landing.seq, end, (landing.seq + end) // 2}):
            root = root_hash(os.fspath(mount / f"at/{seq}"))
            if root != landing.root:
                yield f"at/{seq} has tree {root}; landing {landing.seq} recorded {landing.root}"


def agents(recorded: Recorded) -> Iterator[str]:
    """Compares every operation's agent with whose workspace was on its change then."""
    owners: dict[str, tuple[str, str]] = {}
    writers: dict[int, str] = {}
    last = 0
    while events := recorded.log.events(last, limit=1000):
        last = events[-1].id
        for event in events:
            told = event.payload
            id_ = str(told.get("workspace_id"))
            if event.type is EventType.WORKSPACE_CREATED and "agent_id" in told:
                owners[id_] = str(told["change_id"]), str(told["agent_id"])
            elif event.type is EventType.WORKSPACE_SWITCHED:
                owners[id_] = str(told["change_id"]), owners[id_][1]
            elif event.type is EventType.WORKSPACE_DESTROYED:
                owners.pop(id_, None)
            elif event.type is EventType.OP_APPENDED:
                op = recorded.log.op(Seq(int(str(told["id"]))))
                assert op is not None
                writers[op.id] = op.agent_id
                yield from _agent(op, set(owners.values()), writers)


def _agent(op: Op, owners: set[tuple[str, str]], writers: Mapping[int, str]) -> Iterator[str]:
    where = f"operation {op.id} ({op.op_type} {op.path} in {op.change_id})"
    if op.new.moved_from is not None:
        if op.agent_id != writers.get(op.new.moved_from):
            yield f"{where} is {op.agent_id}'s, it repeats one of {writers.get(op.new.moved_from)}"
        return
    if op.new.process is None:
        if not op.agent_id:
            yield f"{where} has no agent"
        return
    if (op.change_id, op.agent_id) not in owners:
        there = sorted(agent for change, agent in owners if change == op.change_id)
        yield f"{where} is {op.agent_id}'s; the workspaces on it are of {there}"
    # A process in a PID namespace that the daemon cannot see into has no number and no name.
    is_named = bool(op.new.process.command)
    if op.new.process.pid < 0 or is_named != (op.new.process.pid > 0) or op.new.process.uid < 0:
        yield f"{where} was written by {op.new.process}"


def main() -> int:
    """Checks a repository from the command line."""
    repository = Path(sys.argv[1]).resolve()
    if len(sys.argv) > 2:
        mount = Path(sys.argv[2])
    else:
        mount = Path(json.loads((repository / ".patchwork/daemon.json").read_bytes())["mount"])
    problems = list(problems_of(repository, mount))
    for problem in problems:
        sys.stdout.write(f"{problem}\n")
    sys.stdout.write(f"{len(problems)} problems\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
