"""A small deterministic world for the submit queue: a repository in a dict, tests held by hand.

`World` offers what the daemon's repository offers a runner, and carries plans out the way the
runner does. A change writes lines to files; it fails its test where a tree holds the word
``bad`` or both halves of a pair in ``clashes``. Every step that is stored is counted, so that a
crash can be put after any of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from pwfs.model.changes import Landing
from pwfs.model.errors import DependencyNotLanded, StaleBase
from pwfs.model.ids import AgentId, AttemptId, BlobHash, ChangeId, ItemId, Seq, TreeHash
from pwfs.model.queue import (
    Attempt,
    AttemptState,
    EjectReason,
    ItemState,
    Jump,
    Member,
    QueueItem,
    TestKey,
)
from pwfs.submit import (
    Action,
    Compose,
    Composition,
    Eject,
    History,
    Land,
    Policy,
    Reuse,
    Snapshot,
    Start,
    Stop,
    check_actions,
    plan,
)
from pwfs.submit.independence import Independence
from pwfs.submit.invariants import check_history, check_landing
from pwfs.submit.ordering import ages_of, next_share
from pwfs.submit.resting import counting
from pwfs.submit.snapshot import CompositionKey
from tests.submit.trees import Composed, Edit, Tree, conflict, lay, root_of

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
STEPS_MAX = 1_000


class Crash(Exception):
    """The daemon died right after storing a step."""


@dataclass
class World:
    """See the module. ``candidates`` and nothing else is lost in a crash."""

    max_speculative: int = 1
    policy: Policy = Policy.WINDOW
    history_counts: History = field(default_factory=History)
    targets: dict[ChangeId, frozenset[str]] = field(default_factory=dict)
    retries_max: int = 0
    command: str = "make test"
    is_trusted: bool = True
    """Whether main counts as passed whatever it is; else it is tested before an item is blamed."""
    environment_hash: str = "e" * 64
    paused: bool = False
    closed: bool = False
    ageing: int = 0
    fair_share: bool = False
    clashes: set[frozenset[str]] = field(default_factory=set)
    changes: dict[ChangeId, tuple[Edit, ...]] = field(default_factory=dict)
    dependencies: dict[ChangeId, tuple[ChangeId, ...]] = field(default_factory=dict)
    items: dict[ItemId, QueueItem] = field(default_factory=dict)
    attempts: dict[AttemptId, Attempt] = field(default_factory=dict)
    sources: dict[AttemptId, AttemptId] = field(default_factory=dict)
    landings: list[Landing] = field(default_factory=list)
    landed: set[ChangeId] = field(default_factory=set)
    main: Tree = ()
    trees: dict[TreeHash, Tree] = field(default_factory=dict)
    mains: dict[Seq, Tree] = field(default_factory=lambda: {Seq(0): ()})
    seq: int = 0
    history: list[Action] = field(default_factory=list)
    candidates: dict[CompositionKey, Composition] = field(default_factory=dict)
    crash_after: int | None = None
    stored: int = 0

    def __post_init__(self) -> None:
        self.trees[root_of(())] = ()

    # What agents do

    def change(self, name: str, *edits: Edit, after: Sequence[str] = ()) -> ChangeId:
        """Writes a change; without edits it adds a file of its own name."""
        change_id = ChangeId(name)
        self.changes[change_id] = edits or (Edit(name, None, name),)
        if after:
            self.dependencies[change_id] = tuple(ChangeId(other) for other in after)
        return change_id

    def submit(self, *names: str, priority: int = 0, agent: str = "agent") -> ItemId:
        """Queues changes as one item; a name not written yet becomes a change of its own file."""
        members = tuple(Member(ChangeId(name), 1) for name in names)
        for member in members:
            if member.change_id not in self.changes:
                self.change(member.change_id)
        queued = {
            other.change_id
            for item in self.items.values()
            if item.state is ItemState.QUEUED
            for other in item.members
        }
        for member in members:
            needed = set(self.dependencies.get(member.change_id, ()))
            missing = needed - queued - self.landed - {other.change_id for other in members}
            if missing:
                raise DependencyNotLanded(member.change_id, tuple(sorted(missing)))
        item_id = ItemId(len(self.items) + 1)
        share = next_share(self.queued(), AgentId(agent)) if self.fair_share else 0
        self.items[item_id] = QueueItem(
            item_id,
            members,
            ItemState.QUEUED,
            priority,
            AgentId(agent),
            self.now(),
            share=share,
        )
        return item_id

    def queued(self) -> tuple[QueueItem, ...]:
        """What is in the queue, by its numbers."""
        return tuple(item for item in self.items.values() if item.state is ItemState.QUEUED)

    def jump(self, item_id: ItemId) -> None:
        """Lets an item go before all others."""
        jump = Jump(AgentId("agent"), "urgent", BEGIN + timedelta(seconds=len(self.history)))
        self.items[item_id] = replace(self.items[item_id], jump=jump)

    def cancel(self, item_id: ItemId) -> None:
        self._finish_item(item_id, ItemState.CANCELLED)

    def land_around(self, *edits: Edit, name: str = "") -> None:
        """Lands a change around the queue."""
        tree = lay(self.main, edits)
        assert isinstance(tree, tuple)
        self._append_landing(Member(ChangeId(name or f"direct-{self.seq + 1}"), 1), tree, None)

    # What the queue's repository offers

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.seq)

    def queue_snapshot(self) -> Snapshot:
        queued = self.queued()
        finished = [i.finished_at for i in self.items.values() if i.state is ItemState.LANDED]
        landed_at = sorted(moment for moment in finished if moment is not None)
        ids = {item.id for item in queued}
        changes = {member.change_id for item in queued for member in item.members}
        dependencies = {c: self.dependencies[c] for c in sorted(changes) if c in self.dependencies}
        needed = {other for others in dependencies.values() for other in others}
        landings = tuple((m.seq, Member(m.change_id, m.version)) for m in self.landings)
        own = [a for a in self.attempts.values() if a.item_id in ids]
        independence = Independence(self.targets, dependencies)
        others = [a for a in self.running() if a.item_id not in ids]
        counted = counting(queued, own, landings, self.head_seq(), independence)
        as_main = TestKey(root_of(self.main), self.command, self.environment_hash)
        controls = [a for a in self.attempts.values() if a.is_control and a.key == as_main]
        return Snapshot(
            head_seq=self.head_seq(),
            head_root=as_main.root,
            is_green=self.is_trusted or self.passed_attempt(as_main) is not None,
            controls=tuple(controls),
            items=queued,
            attempts=tuple(sorted([*counted, *others], key=lambda attempt: attempt.id)),
            dependencies=dependencies,
            landed=frozenset(needed & self.landed),
            command=self.command,
            environment_hash=self.environment_hash,
            paused=self.paused,
            closed=self.closed,
            ages=ages_of(queued, landed_at, self.ageing),
            max_speculative=self.max_speculative,
            policy=self.policy,
            retries_max=self.retries_max,
            landings=landings,
            history=self.history_counts,
            targets=dict(self.targets),
        )

    def head_seq(self) -> Seq:
        return self.landings[-1].seq if self.landings else Seq(0)

    def candidate(self, base_seq: Seq, members: Sequence[Member]) -> Composed:
        tree = self.mains[base_seq]
        for member in members:
            merged = lay(tree, self.changes[member.change_id])
            if isinstance(merged, str):
                return Composed(None, (conflict(merged, member),))
            tree = merged
        root = root_of(tree)
        self.trees[root] = tree
        return Composed(root)

    def passed_attempt(self, key: TestKey) -> Attempt | None:
        found = [
            a
            for a in self.attempts.values()
            if a.key == key and a.state is AttemptState.PASSED and a.rests_on is None
        ]
        return found[-1] if found else None

    def start_attempt(
        self, item: QueueItem, base_seq: Seq, stack: Sequence[Member], key: TestKey
    ) -> Attempt:
        attempt = Attempt(
            id=AttemptId(len(self.attempts) + 1),
            item_id=item.id,
            base_seq=base_seq,
            stack=tuple(stack),
            key=key,
            state=AttemptState.RUNNING,
            started_at=self.now(),
        )
        self._store(attempt)
        return attempt

    def finish_attempt(
        self,
        attempt_id: AttemptId,
        state: AttemptState,
        exit_code: int | None,
        output_hash: BlobHash | None,
        detail: str,
    ) -> Attempt:
        attempt = self.attempts[attempt_id]
        assert attempt.state is AttemptState.RUNNING, f"{attempt} ended already"
        ended = replace(
            attempt,
            state=state,
            ended_at=self.now(),
            exit_code=exit_code,
            output_hash=output_hash,
            detail=detail,
        )
        self._store(ended)
        return ended

    def reuse_attempt(
        self,
        item: QueueItem,
        base_seq: Seq,
        stack: Sequence[Member],
        key: TestKey,
        source_attempt_id: AttemptId,
        independent_of: Sequence[ChangeId] = (),
    ) -> Attempt:
        source = self.attempts[source_attempt_id]
        assert source.state is AttemptState.PASSED
        assert source.rests_on is None
        assert source.key == key or independent_of
        attempt = replace(
            source,
            id=AttemptId(len(self.attempts) + 1),
            item_id=item.id,
            base_seq=base_seq,
            stack=tuple(stack),
            key=key,
            rests_on=source.id if independent_of else None,
        )
        self.sources[attempt.id] = source_attempt_id
        self._store(attempt)
        return attempt

    def land_item(
        self, item_id: ItemId, attempt_id: AttemptId, with_ids: Sequence[ItemId] = ()
    ) -> list[Landing]:
        items = [self.items[other] for other in (*with_ids, item_id)]
        attempt = self.attempts[attempt_id]
        if attempt.base_seq != self.head_seq():
            raise StaleBase(attempt.base_seq, self.head_seq())
        tree, made = self.main, []
        for item in items:
            assert item.state is ItemState.QUEUED
            for member in item.members:
                merged = lay(tree, self.changes[member.change_id])
                assert isinstance(merged, tuple)
                tree = merged
                made.append(self._append_landing(member, tree, attempt_id))
            self._finish_item(item.id, ItemState.LANDED)
        check_landing(attempt, made)
        return made

    def eject(self, item_id: ItemId, reason: EjectReason, detail: str) -> None:
        self._finish_item(item_id, ItemState.EJECTED, reason, detail)

    def test_time_limit_s(self, command: str) -> float:
        return 30.0

    def recover_attempts(self) -> None:
        for attempt in self.attempts.values():
            if attempt.state is AttemptState.RUNNING:
                self.attempts[attempt.id] = replace(attempt, state=AttemptState.STOPPED)

    # What the runner does

    def snapshot(self) -> Snapshot:
        """A complete snapshot, with what was composed and what is known to have passed."""
        bare = self.queue_snapshot()
        keys = [bare.key(c.root) for c in self.candidates.values() if c.root is not None]
        passed = {key: found.id for key in keys if (found := self.passed_attempt(key))}
        return replace(bare, compositions=dict(self.candidates), passed=passed)

    def settle(self) -> list[Action]:
        """Plans and acts until nothing is left to do; every plan is checked, and made twice."""
        done: list[Action] = []
        for _ in range(STEPS_MAX):
            snapshot = self.snapshot()
            actions = plan(snapshot)
            assert plan(self.snapshot()) == actions, "the same snapshot, another plan"
            if not actions:
                self.check()
                return done
            check_actions(snapshot, actions)
            for action in actions:
                done.append(action)
                self.history.append(action)
                self._act(action)
        raise AssertionError(f"the queue does not come to rest: {done[-5:]}")

    def _act(self, action: Action) -> None:
        match action:
            case Compose():
                answer = self.candidate(action.base_seq, action.stack)
                members = self.items[action.item_id].members
                self.candidates[action.below, members, action.stack] = Composition(
                    action.base_seq, action.stack, action.below, answer.root, answer.conflicts
                )
            case Start():
                item = self.items[action.item_id]
                self.start_attempt(item, action.base_seq, action.stack, action.key)
            case Reuse():
                item, stack = self.items[action.item_id], action.stack
                source, others = action.source_attempt_id, action.independent_of
                self.reuse_attempt(item, action.base_seq, stack, action.key, source, others)
            case Stop():
                self.finish_attempt(action.attempt_id, AttemptState.STOPPED, None, None, action.why)
            case Land():
                self.land_item(action.item_id, action.attempt_id, action.with_ids)
            case Eject():
                self.eject(action.item_id, action.reason, action.detail)
        if not isinstance(action, Compose):
            self.stored += 1
            if self.stored == self.crash_after:
                raise Crash

    def restart(self) -> None:
        """A new daemon on what was stored."""
        self.candidates.clear()
        self.recover_attempts()
        self.settle()

    def check(self) -> None:
        """Everything that must hold when the queue rests."""
        check_history(list(self.items.values()), list(self.attempts.values()), self.landings)
        for attempt in self.running():
            assert self.items[attempt.item_id].state is ItemState.QUEUED
        # A landing before the last of its item is a step of one atomic movement.
        for landing in {landing.attempt_id: landing for landing in self.landings}.values():
            if landing.verified:
                assert self.verdict(self.trees[landing.root]), f"a red main at {landing.seq}"

    # What a scenario looks at and decides

    def batches(self) -> list[list[int]]:
        """The items that landed by one attempt each, in their order."""
        owner = {member: item.id for item in self.items.values() for member in item.members}
        found: dict[int, list[int]] = {}
        for landing in self.landings:
            if landing.attempt_id is not None:
                landed = found.setdefault(landing.attempt_id, [])
                item_id = owner[Member(landing.change_id, landing.version)]
                if item_id not in landed:
                    landed.append(item_id)
        return list(found.values())

    def running(self) -> list[Attempt]:
        return [a for a in self.attempts.values() if a.state is AttemptState.RUNNING]

    def testing(self) -> dict[str, str]:
        """What each running test contains: the names of an item and of its stack."""
        return {
            _names(self.items[a.item_id].members): _names(a.stack) or "main" for a in self.running()
        }

    def release(
        self, name: str, state: AttemptState | None = None, *, settle: bool = True
    ) -> list[Action]:
        """Lets the test of the item with that change end, by its tree's verdict unless told."""
        attempt = next(a for a in self.running() if subject_of(a) == name)
        if state is None:
            is_green = self.verdict(self.trees[attempt.key.root])
            state = AttemptState.PASSED if is_green else AttemptState.FAILED
        code = {AttemptState.PASSED: 0, AttemptState.FAILED: 1}.get(state)
        self.finish_attempt(attempt.id, state, code, None, "")
        self.stored += 1
        if self.stored == self.crash_after:
            raise Crash
        return self.settle() if settle else []

    def release_tree(self, names: str) -> list[Action]:
        """Lets the test of exactly that stack end, by its verdict."""
        attempt = next(a for a in self.running() if _names(a.stack) == names)
        is_green = self.verdict(self.trees[attempt.key.root])
        state = AttemptState.PASSED if is_green else AttemptState.FAILED
        self.finish_attempt(attempt.id, state, int(not is_green), None, "")
        return self.settle()

    def release_all(self) -> None:
        """Lets all tests end, oldest first, until none is left."""
        self.settle()
        while running := self.running():
            self.release(subject_of(running[0]))

    def verdict(self, tree: Tree) -> bool:
        """Whether a tree passes."""
        words = {new for _, new in tree}
        return "bad" not in words and not any(clash <= words for clash in self.clashes)

    def states(self) -> dict[str, str]:
        """Where each item ended: its state, or why it was ejected."""
        return {
            _names(item.members): item.reason.value if item.reason else item.state.value
            for item in self.items.values()
        }

    def landed_names(self) -> str:
        return " ".join(landing.change_id for landing in self.landings)

    def _finish_item(
        self,
        item_id: ItemId,
        state: ItemState,
        reason: EjectReason | None = None,
        detail: str = "",
    ) -> None:
        item = self.items[item_id]
        assert item.state is ItemState.QUEUED, f"{item} left already"
        self.items[item_id] = replace(
            item, state=state, finished_at=self.now(), reason=reason, detail=detail
        )

    def _append_landing(self, member: Member, tree: Tree, attempt_id: AttemptId | None) -> Landing:
        self.seq += 1
        landing = Landing(
            seq=Seq(self.seq),
            timestamp=self.now(),
            change_id=member.change_id,
            version=member.version,
            agent_id=AgentId("agent"),
            root=root_of(tree),
            previous_seq=self.head_seq(),
            verified=attempt_id is not None,
            attempt_id=attempt_id,
        )
        self.landings.append(landing)
        self.landed.add(member.change_id)
        self.main = tree
        self.trees[landing.root] = tree
        self.mains[landing.seq] = tree
        return landing

    def _store(self, attempt: Attempt) -> None:
        self.attempts[attempt.id] = attempt


def stopped(world: World) -> list[str]:
    """The changes whose tests were stopped, in the order of their start."""
    return [
        subject_of(attempt)
        for attempt in world.attempts.values()
        if attempt.state is AttemptState.STOPPED
    ]


def subject_of(attempt: Attempt) -> str:
    """The name of the change that a test is for, or of main."""
    return "main" if attempt.is_control else attempt.stack[-1].change_id


def _names(members: Sequence[Member]) -> str:
    return " ".join(member.change_id for member in members)
