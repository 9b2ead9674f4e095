"""The runner: it wakes for events, acts once, stores before it starts, and leaves nothing behind.

The repository is `tests.submit.world.World` with the methods that a runner needs besides; tests
are held by the scenario on trio's mock clock, but for the last ones, which run real commands.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
import trio.testing

from pwfs.model.changes import Landing
from pwfs.model.errors import NoSpace, StaleBase
from pwfs.model.events import Event, EventType
from pwfs.model.ids import AgentId, AttemptId, BlobHash, EventId, ItemId, Seq, TreeHash, WorkspaceId
from pwfs.model.paths import RepoPath
from pwfs.model.queue import Attempt, AttemptState, EjectReason
from pwfs.model.views import Workspace
from pwfs.repo.health import Health
from pwfs.submit import InvariantBroken, Snapshot
from pwfs_daemon.hosting import MountLike
from pwfs_daemon.runner import QueueRepository, QueueRunner, output_path
from pwfs_daemon.testproc import Ended, TestOrder, run_test
from tests.submit.trees import Edit
from tests.submit.world import BEGIN, World

THREADS_S = 0.3


@dataclass(frozen=True)
class Settings:
    test_dir: str = "."
    test_memory_mb: int = 0
    max_speculative: int = 1
    warm_paths: tuple[RepoPath, ...] = ()


@dataclass
class Contents:
    kept: dict[BlobHash, bytes] = field(default_factory=dict)

    def put(self, content: bytes, *, sync: bool = False) -> BlobHash:
        assert sync, "what an attempt names is on disk before"
        name = BlobHash(hashlib.sha256(content).hexdigest())
        self.kept[name] = content
        return name


@dataclass
class RepositoryWorld(World):
    """A `World` that a runner can serve.

    ``trouble`` is raised by the next landings, ``end_trouble`` when an attempt's end is stored.
    """

    state_dir: Path = Path()
    health: Health = field(default_factory=Health)
    config: Settings = field(default_factory=Settings)
    blobs: Contents = field(default_factory=Contents)
    made: dict[WorkspaceId, Workspace] = field(default_factory=dict)
    subscribers: list[Callable[[], None]] = field(default_factory=list)
    trouble: list[Exception] = field(default_factory=list)
    end_trouble: list[Exception] = field(default_factory=list)
    told: list[Event] = field(default_factory=list)
    looks: int = 0

    @property
    def log(self) -> "RepositoryWorld":
        return self

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        self.subscribers.append(callback)
        return lambda: self.subscribers.remove(callback)

    def last_event_id(self) -> EventId:
        return EventId(len(self.told))

    def events(
        self, since: EventId, *, types: Collection[EventType] | None = None, limit: int = 1000
    ) -> list[Event]:
        return [event for event in self.told[since:] if types is None or event.type in types][
            :limit
        ]

    def queue_snapshot(self) -> Snapshot:
        self.looks += 1
        return super().queue_snapshot()

    def tell(self, what: EventType = EventType.QUEUE_POSITION) -> None:
        self.told.append(Event(EventId(len(self.told) + 1), what, BEGIN, {}))
        for subscriber in list(self.subscribers):
            subscriber()

    async def settled(self) -> None:
        await trio.lowlevel.checkpoint()

    def land_item(
        self, item_id: ItemId, attempt_id: AttemptId, with_ids: Sequence[ItemId] = ()
    ) -> list[Landing]:
        if self.trouble:
            raise self.trouble.pop()
        landings = super().land_item(item_id, attempt_id, with_ids)
        self.tell()
        return landings

    def finish_attempt(
        self,
        attempt_id: AttemptId,
        state: AttemptState,
        exit_code: int | None,
        output_hash: BlobHash | None,
        detail: str,
    ) -> Attempt:
        if self.end_trouble:
            raise self.end_trouble.pop()
        attempt = super().finish_attempt(attempt_id, state, exit_code, output_hash, detail)
        self.tell()
        return attempt

    def eject(self, item_id: ItemId, reason: EjectReason, detail: str) -> None:
        super().eject(item_id, reason, detail)
        self.tell()

    def create_test_workspace(self, name: str, root: TreeHash) -> Workspace:
        workspace = Workspace(
            id=WorkspaceId(name),
            view_id=None,
            change_id=None,
            agent_id=AgentId("queue"),
            directory=None,
            created_at=BEGIN,
            last_scan_seq=Seq(0),
            read_only=False,
            test_root=root,
        )
        self.made[workspace.id] = workspace
        directory = self.state_dir / "mount" / name
        directory.mkdir(parents=True)
        for path, content in self.trees[root]:
            (directory / path).write_text(content)
        return workspace

    def destroy_workspace(self, workspace_id: WorkspaceId) -> None:
        del self.made[workspace_id]

    def has_room(self, root: TreeHash, path: RepoPath) -> bool:
        return True

    def workspaces(self) -> list[Workspace]:
        return list(self.made.values())

    def path_of(self, workspace_id: WorkspaceId) -> Path:
        return self.state_dir / "mount" / workspace_id

    async def submit_and_tell(self, *names: str) -> None:
        self.submit(*names)
        self.tell()
        await trio.testing.wait_all_tasks_blocked()


async def empty(world: RepositoryWorld) -> None:
    """Waits for events until no item is queued; no clock moves because of it."""
    while "queued" in world.states().values():
        moved = trio.Event()
        unsubscribe = world.subscribe(moved.set)
        await moved.wait()
        unsubscribe()


class Held:
    """Runs no command; each test waits until it is told how it ends."""

    def __init__(self) -> None:
        self.orders: list[TestOrder] = []
        self._ends: dict[str, trio.Event] = {}
        self._how: dict[str, Ended] = {}

    async def __call__(self, order: TestOrder) -> Ended:
        name = order.directory.name
        self.orders.append(order)
        self._ends[name] = trio.Event()
        await self._ends[name].wait()
        return self._how[name]

    async def end(self, attempt_id: int, state: AttemptState = AttemptState.PASSED) -> None:
        self._how[f"test-{attempt_id}"] = Ended(state, 0)
        self._ends[f"test-{attempt_id}"].set()
        # The runner writes outputs and removes directories in threads, which a busy machine delays.
        await trio.testing.wait_all_tasks_blocked(THREADS_S)


@pytest.fixture
def world(tmp_path: Path) -> RepositoryWorld:
    return RepositoryWorld(state_dir=tmp_path, max_speculative=2)


@asynccontextmanager
async def serving(world: RepositoryWorld, held: Held) -> AsyncIterator[QueueRunner]:
    repo: QueueRepository = world
    mount: MountLike = world
    runner = QueueRunner(repo, mount, execute=held)
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            await runner.run(task_status=task_status)

        await nursery.start(serve)
        await trio.testing.wait_all_tasks_blocked()
        yield runner
        nursery.cancel_scope.cancel()


async def test_wakes_for_events_and_lands(world: RepositoryWorld) -> None:
    """Submitted items are tested at once, and land when they passed, without any clock."""
    held = Held()
    async with serving(world, held):
        await world.submit_and_tell("a")
        await world.submit_and_tell("b")
        assert world.testing() == {"a": "a", "b": "a b"}
        await held.end(2)
        assert world.landed_names() == ""
        await held.end(1)
        assert world.landed_names() == "a b"
    world.check()
    assert world.made == {}


async def test_order_is_what_the_attempt_says(world: RepositoryWorld) -> None:
    """The command, the tree, the limit and the variables come from the attempt and settings."""
    held = Held()
    async with serving(world, held):
        await world.submit_and_tell("a", "b")
        (order,) = held.orders
        assert order.command == "make test"
        assert order.directory == world.state_dir / "mount" / "test-1"
        assert order.time_limit_s == 30
        assert order.log == output_path(world.state_dir, AttemptId(1))
        assert order.variables["PATCHWORK_CHANGE"] == "a b"
        assert order.variables["PATCHWORK_VERSION"] == "1 1"
        assert order.variables["PATCHWORK_ATTEMPT"] == "1"


async def test_ten_wakes_start_one_test(world: RepositoryWorld) -> None:
    """However often it is woken, a test is started once."""
    held = Held()
    async with serving(world, held):
        world.submit("a")
        for _ in range(10):
            world.tell()
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(10):
            world.tell()
            await trio.testing.wait_all_tasks_blocked()
        assert len(held.orders) == 1
        assert len(world.attempts) == 1


async def test_edits_do_not_wake_the_policy(world: RepositoryWorld) -> None:
    """What agents write, most of all events, costs the queue a glance and no planning."""
    held = Held()
    async with serving(world, held):
        await world.submit_and_tell("a")
        looks = world.looks
        for _ in range(10):
            world.tell(EventType.OP_APPENDED)
            await trio.testing.wait_all_tasks_blocked()
        assert world.looks == looks


async def test_stopped_tests_end_at_once(world: RepositoryWorld) -> None:
    """A test that lost its meaning is stored as stopped, cancelled, and its workspace goes."""
    held = Held()
    async with serving(world, held):
        await world.submit_and_tell("a")
        await world.submit_and_tell("b")
        await held.end(1, AttemptState.FAILED)
        assert world.attempts[AttemptId(2)].state is AttemptState.STOPPED
        assert set(world.made) == {"test-3"}
        assert world.testing() == {"b": "b"}
        await held.end(2)
        assert world.attempts[AttemptId(2)].state is AttemptState.STOPPED


async def test_shutdown_stops_and_a_new_start_goes_on(world: RepositoryWorld) -> None:
    """Ended in the middle of a test, nothing runs; the next daemon starts the test again."""
    held = Held()
    async with serving(world, held):
        await world.submit_and_tell("a")
    assert world.running() == []
    assert world.made == {}
    assert world.subscribers == []
    async with serving(world, held):
        await held.end(2)
    assert world.landed_names() == "a"


async def test_what_a_dead_daemon_left_is_cleared(world: RepositoryWorld) -> None:
    """Attempts, test workspaces and outputs of a killed daemon are ended and removed."""
    world.submit("a")
    world.settle()
    world.create_test_workspace("test-1", world.running()[0].key.root)
    left = output_path(world.state_dir, AttemptId(1))
    left.parent.mkdir(parents=True)
    await trio.Path(left).write_text("half")
    held = Held()
    async with serving(world, held):
        assert not await trio.Path(left).exists()
        assert set(world.made) == {"test-2"}
        await held.end(2)
    assert world.landed_names() == "a"


@pytest.mark.allow_log("could not be run")
async def test_errors_pause_before_the_repetition(
    world: RepositoryWorld, autojump_clock: trio.testing.MockClock
) -> None:
    """A broken infrastructure is given time: 2, 4, 8 and 16 seconds, then the item leaves."""

    async def broken(order: TestOrder) -> Ended:
        raise OSError("no process")

    world.submit("a")
    begin = trio.current_time()
    runner = QueueRunner(world, world, execute=broken)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runner.run)
        await empty(world)
        nursery.cancel_scope.cancel()
    assert world.states() == {"a": "infrastructure"}
    assert trio.current_time() - begin == pytest.approx(30)
    assert {attempt.detail for attempt in world.attempts.values()} == {"no process"}


@pytest.mark.allow_log("cannot go on")
@pytest.mark.parametrize(
    "trouble", [NoSpace(what="a landing"), StaleBase(1, 2), InvariantBroken("order"), KeyError("x")]
)
async def test_trouble_is_waited_out(
    world: RepositoryWorld, trouble: Exception, autojump_clock: trio.testing.MockClock
) -> None:
    """A full disk stops the queue for a while, as does a defect of ours; nothing else ends."""
    world.trouble += [trouble, trouble, trouble]
    world.submit("a")

    async def passing(order: TestOrder) -> Ended:
        return Ended(AttemptState.PASSED, 0)

    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(QueueRunner(world, world, execute=passing).run)
        await empty(world)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert world.landed_names() == "a"
    assert trio.current_time() - begin == pytest.approx(1 + 2 + 4)
    assert world.health.troubles() == []


@pytest.mark.allow_log("could not be run", "output is lost|is not removed", "end is not stored")
async def test_a_defect_around_a_test_ends_nothing(
    world: RepositoryWorld, autojump_clock: trio.testing.MockClock
) -> None:
    """The test is run again, and what could not be stored is stored later."""
    world.end_trouble += [ValueError("not storable"), ValueError("not storable")]
    world.submit("a")
    tries = 0

    async def defective(order: TestOrder) -> Ended:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise KeyError("a defect")
        order.log.mkdir()
        return Ended(AttemptState.PASSED, 0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(QueueRunner(world, world, execute=defective).run)
        await empty(world)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert world.landed_names() == "a"
    assert next(attempt.detail for attempt in world.attempts.values()) == "KeyError('a defect')"
    assert world.health.troubles() == []


async def test_real_commands(world: RepositoryWorld) -> None:
    """With real processes: what fails is ejected with its output kept, what passes lands."""
    world.command = "ls; ! grep -q bad *"
    world.change("b", Edit("b", None, "bad"))
    for name in "abc":
        world.submit(name)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(QueueRunner(world, world, execute=run_test).run)
        with trio.fail_after(30):
            await empty(world)
        nursery.cancel_scope.cancel()
    assert world.states() == {"a": "landed", "b": "test_failed", "c": "landed"}
    world.check()
    outputs = [
        world.blobs.kept[attempt.output_hash]
        for attempt in world.attempts.values()
        if attempt.output_hash is not None
    ]
    assert b"a\nb\n" in outputs
    assert not list(output_path(world.state_dir, AttemptId(0)).parent.glob("*"))
