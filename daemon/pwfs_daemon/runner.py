"""Carries out what the submit queue's policy decides, and runs its tests.

The runner keeps nothing that matters: each step is stored by the repository before anybody is
told, what was composed can be composed again, and attempts that a dead daemon left running are
stopped at the start and planned anew. It sleeps until the repository stores an event.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog
import trio

from pwfs.model.changes import Landing
from pwfs.model.errors import NotIndependent, PatchworkError
from pwfs.model.events import EventType
from pwfs.model.ids import (
    AttemptId,
    BlobHash,
    ChangeId,
    EventId,
    ItemId,
    Seq,
    TreeHash,
)
from pwfs.model.paths import RepoPath
from pwfs.model.queue import (
    Attempt,
    AttemptState,
    EjectReason,
    Member,
    QueueItem,
    TestKey,
)
from pwfs.model.views import ConflictEvent, Workspace
from pwfs.repo.health import guarded
from pwfs.submit import (
    Action,
    Compose,
    Composition,
    Eject,
    Land,
    Reuse,
    Snapshot,
    Start,
    Stop,
    check_actions,
    plan,
)
from pwfs.submit.invariants import check_landing
from pwfs.submit.snapshot import CompositionKey
from pwfs_daemon.hosting import Happenings, Host, MountLike
from pwfs_daemon.testproc import Ended, TestOrder, base_variables, run_test
from pwfs_daemon.warmth import WarmScratch, Warmth

log = structlog.get_logger(__name__)

ROUNDS_MAX = 10_000
COMPOSITIONS_MAX = 1_024
FOLLOWED = frozenset(EventType) - {
    EventType.OP_APPENDED,
    EventType.CONFLICT_DETECTED,
    EventType.CONFLICT_RESOLVED,
    EventType.VIEW_CREATED,
    EventType.VIEW_DELETED,
    EventType.WORKSPACE_CREATED,
    EventType.WORKSPACE_SWITCHED,
    EventType.WORKSPACE_DESTROYED,
    EventType.FILE_SKIPPED,
}
"""What may concern the queue; agents' edits, which are most of all events, do not."""
ERROR_PAUSE_S_MAX = 60.0


class Merged(Protocol):
    """A strict composition: a tree, or the conflicts that forbid it."""

    @property
    def root(self) -> TreeHash | None: ...
    @property
    def conflicts(self) -> tuple[ConflictEvent, ...]: ...


class Settings(Protocol):
    """The settings that the runner itself reads; the policy's are in the snapshot."""

    @property
    def test_dir(self) -> str: ...
    @property
    def test_memory_mb(self) -> int: ...
    @property
    def max_speculative(self) -> int: ...
    @property
    def warm_paths(self) -> tuple[RepoPath, ...]: ...


class Contents(Protocol):
    """Where outputs are kept; any thread may use it."""

    def put(self, content: bytes, *, sync: bool = False) -> BlobHash: ...


class Records(Happenings, Protocol):
    """Where earlier results are found, too."""

    def passed_attempt(self, key: TestKey) -> Attempt | None: ...


class QueueRepository(Host, Protocol):
    """What the runner needs of a repository; each method stores before it returns."""

    @property
    def config(self) -> Settings: ...
    @property
    def blobs(self) -> Contents: ...
    @property
    def log(self) -> Records: ...
    def queue_snapshot(self) -> Snapshot: ...
    def candidate(self, base_seq: Seq, members: Sequence[Member]) -> Merged: ...
    def recover_attempts(self) -> None: ...
    def test_time_limit_s(self, command: str) -> float: ...
    def start_attempt(
        self, item: QueueItem, base_seq: Seq, stack: Sequence[Member], key: TestKey
    ) -> Attempt: ...
    def finish_attempt(
        self,
        attempt_id: AttemptId,
        state: AttemptState,
        exit_code: int | None,
        output_hash: BlobHash | None,
        detail: str,
    ) -> Attempt: ...
    def reuse_attempt(
        self,
        item: QueueItem,
        base_seq: Seq,
        stack: Sequence[Member],
        key: TestKey,
        source_attempt_id: AttemptId,
        independent_of: Sequence[ChangeId] = (),
    ) -> Attempt: ...
    def land_item(
        self, item_id: ItemId, attempt_id: AttemptId, with_ids: Sequence[ItemId] = ()
    ) -> list[Landing]: ...
    def eject(self, item_id: ItemId, reason: EjectReason, detail: str) -> object: ...
    def has_room(self, root: TreeHash, path: RepoPath) -> bool: ...
    def workspaces(self) -> list[Workspace]: ...


@dataclass
class _Test:
    """A test that this process runs; ``is_decided`` once its end is stored."""

    attempt: Attempt
    item: QueueItem
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    is_decided: bool = False


def output_path(state_dir: Path, attempt_id: AttemptId) -> Path:
    """Where an attempt's output grows while it runs; afterwards it is a blob."""
    return state_dir / "work" / "attempts" / f"{attempt_id}.log"


class QueueRunner:
    """Runs the submit queue of one repository; see the module.

    ``execute`` runs a test in place of `pwfs_daemon.testproc.run_test`, ``open_files`` is for its
    orders.
    """

    def __init__(
        self,
        repo: QueueRepository,
        mount: MountLike,
        *,
        execute: Callable[[TestOrder], Awaitable[Ended]] = run_test,
        open_files: int | None = None,
    ) -> None:
        self._repo = repo
        self._mount = mount
        self._execute = execute
        self._open_files = open_files
        self._serving = repo.health.duty("queue", "the queue cannot go on for now")
        self._ending = repo.health.duty("queue", "a test's end is not stored")
        self._woken = trio.Event()
        self._seen: EventId | None = None
        self._tests: dict[AttemptId, _Test] = {}
        self._compositions: dict[CompositionKey, Composition] = {}
        self._errors: dict[ItemId, int] = {}
        self._warm = WarmScratch(repo.state_dir)
        self._moving = trio.Lock()
        self._refused: set[AttemptId] = set()
        """Attempts that passed, and do not speak for the tree that their item gives on main."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves the queue until cancelled; then no test runs any more."""
        unsubscribe = self._repo.subscribe(self._wake)
        try:
            self._recover()
            await trio.to_thread.run_sync(_clear, self._repo.state_dir)
            keeps = bool(self._repo.config.warm_paths)
            await trio.to_thread.run_sync(partial(self._warm.clear, keeps=keeps))
            async with trio.open_nursery() as nursery:
                task_status.started()
                await self._serve(nursery)
        finally:
            unsubscribe()

    async def _serve(self, nursery: trio.Nursery) -> None:
        while True:
            self._woken = trio.Event()
            is_concerned = False
            with self._serving.attempt() as attempt:
                is_concerned = self._is_concerned()
                if is_concerned:
                    await self._settle(nursery)
            if attempt.error is not None:
                # What was composed may rest on what turned out not to be so.
                self._compositions.clear()
                self._seen = None
                await trio.sleep(self._serving.pause_s())
            elif not is_concerned:
                await self._woken.wait()

    def _is_concerned(self) -> bool:
        """Whether something happened since the last look that the policy should know of."""
        before, self._seen = self._seen, self._repo.log.last_event_id()
        return before is None or bool(self._repo.log.events(before, types=FOLLOWED, limit=1))

    def _wake(self) -> None:
        self._woken.set()

    def _recover(self) -> None:
        """Ends what a dead daemon left running."""
        self._repo.recover_attempts()
        for workspace in self._repo.workspaces():
            if workspace.test_root is not None:
                self._repo.destroy_workspace(workspace.id)

    async def _settle(self, nursery: trio.Nursery) -> None:
        """Plans and acts until nothing is left to do.

        A plan is carried out without an await, on the state that it was made for.
        """
        for _ in range(ROUNDS_MAX):
            snapshot = self.snapshot()
            actions = plan(snapshot)
            if not actions:
                return
            check_actions(snapshot, actions)
            for action in actions:
                self._carry_out(action, snapshot, nursery)
            await trio.lowlevel.checkpoint()
        log.error("the queue does not come to rest", rounds=ROUNDS_MAX)

    def snapshot(self) -> Snapshot:
        """The queue as it is now, with the trees that are composed."""
        bare = self._repo.queue_snapshot()
        self._forget({item.id: item.members for item in bare.items})
        if self._refused:
            self._refused.intersection_update(attempt.id for attempt in bare.attempts)
            attempts = tuple(a for a in bare.attempts if a.id not in self._refused)
            bare = replace(bare, attempts=attempts)
        passed = dict(bare.passed)
        for composition in self._compositions.values():
            if composition.root is not None:
                key = bare.key(composition.root)
                found = self._repo.log.passed_attempt(key)
                if found is not None:
                    passed[key] = found.id
        return replace(bare, compositions=dict(self._compositions), passed=passed)

    def _forget(self, queued: dict[ItemId, tuple[Member, ...]]) -> None:
        members = set(queued.values())
        for known in [known for known in self._compositions if known[1] not in members]:
            del self._compositions[known]
        while len(self._compositions) > COMPOSITIONS_MAX:
            del self._compositions[next(iter(self._compositions))]
        for item_id in self._errors.keys() - queued.keys():
            del self._errors[item_id]

    def _carry_out(self, action: Action, snapshot: Snapshot, nursery: trio.Nursery) -> None:
        repo = self._repo
        items = {item.id: item for item in snapshot.items}
        match action:
            case Compose(item_id, base_seq, stack, below):
                merged = repo.candidate(base_seq, stack)
                self._compositions[below, items[item_id].members, stack] = Composition(
                    base_seq, stack, below, merged.root, merged.conflicts
                )
            case Start(item_id, base_seq, stack, key):
                attempt = repo.start_attempt(items[item_id], base_seq, stack, key)
                test = self._tests[attempt.id] = _Test(attempt, items[item_id])
                nursery.start_soon(self._run_attempt, test)
            case Reuse():
                self._reuse(action, items[action.item_id])
            case Stop(attempt_id, why):
                self._stop(attempt_id, why)
            case Land(item_id, attempt_id, with_ids):
                landings = repo.land_item(item_id, attempt_id, with_ids)
                check_landing(_attempt(snapshot, attempt_id), landings)
                log.info("landed", item=item_id, attempt=attempt_id, seq=landings[-1].seq)
            case Eject(item_id, reason, detail):
                repo.eject(item_id, reason, detail)
                log.info("ejected", item=item_id, reason=reason, detail=detail)

    def _reuse(self, action: Reuse, item: QueueItem) -> None:
        """Writes a result down for main as it is; one that does not hold counts no more."""
        source, others = action.source_attempt_id, action.independent_of
        try:
            self._repo.reuse_attempt(
                item, action.base_seq, action.stack, action.key, source, others
            )
        except NotIndependent as error:
            log.info("tested again", item=item.id, attempt=source, why=error.reason)
            self._refused.add(source)

    def _stop(self, attempt_id: AttemptId, why: str) -> None:
        """Stores first that the result counts for nothing, then ends the processes."""
        self._repo.finish_attempt(attempt_id, AttemptState.STOPPED, None, None, why)
        test = self._tests.get(attempt_id)
        if test is not None:
            test.is_decided = True
            test.scope.cancel()

    async def _run_attempt(self, test: _Test) -> None:
        attempt = test.attempt
        output = output_path(self._repo.state_dir, attempt.id)
        try:
            with test.scope:
                ended = await self._perform(test, output)
                output_hash = await self._keep(output)
                if ended.state is AttemptState.ERROR:
                    await self._pause_after_error(test, ended)
                while True:
                    if self._finish(test, ended, output_hash):
                        break
                    await trio.sleep(self._ending.pause_s(str(attempt.id)))
        finally:
            del self._tests[attempt.id]
            self._finish(test, Ended(AttemptState.STOPPED, None, "the daemon stopped"), None)
            _remove(output)

    def _finish(self, test: _Test, ended: Ended, output_hash: BlobHash | None) -> bool:
        """Stores how a test ended, once: a result after the end counts for nothing.

        Returns whether the end is stored; if not, it is worth another try.
        """
        attempt_id = test.attempt.id
        with self._ending.attempt(about=str(attempt_id)):
            if not test.is_decided:
                self._repo.finish_attempt(
                    attempt_id, ended.state, ended.exit_code, output_hash, ended.detail
                )
                test.is_decided = True
        return test.is_decided

    async def _perform(self, test: _Test, output: Path) -> Ended:
        """Runs the test in a throw-away workspace; what fails around it is an error, not a result."""
        attempt, repo = test.attempt, self._repo
        try:
            workspace = repo.create_test_workspace(f"test-{attempt.id}", attempt.key.root)
            try:
                await repo.settled()
                key = attempt.key
                warmth = Warmth(key.command, key.environment_hash, repo.config.warm_paths)
                variables = {**_variables(test), **await self._give(workspace.id, key.root, warmth)}
                order = TestOrder(
                    command=attempt.key.command,
                    directory=self._mount.path_of(workspace.id),
                    subdirectory=repo.config.test_dir or ".",
                    variables=variables,
                    log=output,
                    time_limit_s=repo.test_time_limit_s(attempt.key.command),
                    memory_mb=repo.config.test_memory_mb,
                    open_files=self._open_files,
                )
                ended = await self._execute(order)
                if ended.state is AttemptState.PASSED:
                    await self._keep_warm(workspace.id, warmth, attempt.id)
                return ended
            finally:
                repo.destroy_workspace(workspace.id)
        except (PatchworkError, OSError) as error:
            return Ended(AttemptState.ERROR, None, str(error))
        except Exception as error:
            log.exception("a test could not be run for a defect", attempt=attempt.id)
            return Ended(AttemptState.ERROR, None, repr(error))

    async def _give(self, workspace_id: str, root: TreeHash, warmth: Warmth) -> dict[str, str]:
        """Puts what an earlier test left into a workspace; the variable that tells of it."""
        if not warmth.paths:
            return {}
        given = None
        with guarded(log, "what an earlier test left is not used", workspace=workspace_id):
            free = {path for path in warmth.paths if self._repo.has_room(root, path)}
            async with self._moving:
                given = await trio.to_thread.run_sync(self._warm.give, workspace_id, warmth, free)
        return {} if given is None else {"PATCHWORK_WARM": str(given)}

    async def _keep_warm(self, workspace_id: str, warmth: Warmth, attempt_id: AttemptId) -> None:
        """Keeps what a test left, if it can be; the test passed, whatever becomes of this."""
        if not warmth.paths:
            return
        count_max = self._repo.config.max_speculative
        with guarded(log, "what a test left is not kept", attempt=str(attempt_id)):
            async with self._moving:
                await trio.to_thread.run_sync(
                    self._warm.keep, workspace_id, warmth, attempt_id, count_max
                )

    async def _keep(self, output: Path) -> BlobHash | None:
        with guarded(log, "a test's output is lost", output=str(output)):
            try:
                content = await trio.to_thread.run_sync(output.read_bytes)
            except FileNotFoundError:
                return None
            put = partial(self._repo.blobs.put, content, sync=True)
            return await trio.to_thread.run_sync(put)
        return None

    async def _pause_after_error(self, test: _Test, ended: Ended) -> None:
        """Gives what is broken some time, before the error is stored and the test repeated."""
        count = self._errors[test.item.id] = self._errors.get(test.item.id, 0) + 1
        pause_s = min(ERROR_PAUSE_S_MAX, 2.0**count)
        log.warning("a test could not be run", attempt=test.attempt.id, detail=ended.detail)
        await trio.sleep(pause_s)


def _attempt(snapshot: Snapshot, attempt_id: AttemptId) -> Attempt:
    return next(attempt for attempt in snapshot.attempts if attempt.id == attempt_id)


def _variables(test: _Test) -> dict[str, str]:
    members = () if test.attempt.is_control else test.item.members
    return {
        **base_variables(),
        "PATCHWORK_CHANGE": " ".join(member.change_id for member in members),
        "PATCHWORK_VERSION": " ".join(str(member.version) for member in members),
        "PATCHWORK_ATTEMPT": str(test.attempt.id),
    }


def _clear(state_dir: Path) -> None:
    """Makes the directory of outputs, without what a dead daemon left in it."""
    directory = output_path(state_dir, AttemptId(0)).parent
    directory.mkdir(parents=True, exist_ok=True)
    for left in directory.glob("*.log"):
        left.unlink(missing_ok=True)


def _remove(output: Path) -> None:
    with guarded(log, "a test's output is not removed", output=str(output)):
        output.unlink(missing_ok=True)
