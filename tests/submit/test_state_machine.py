"""Whatever happens in whatever order, the queue comes out as the serial one would.

Hypothesis submits, cancels, lands around, pauses, crashes and lets tests end in any order, some
of them flaky or hit by the infrastructure. After each step the decisions made so far, and main's
content, equal those of `tests.submit.serial.SerialQueue`, which is given the same inputs after
the same number of decisions.
"""

import os
import random
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pwfs.model.errors import DependencyNotLanded
from pwfs.model.ids import ChangeId, ItemId
from pwfs.model.queue import AttemptState, ItemState, TestKey
from pwfs.submit import Policy
from pwfs.submit.reading import ERROR_RETRIES_MAX
from tests.submit.serial import SerialQueue
from tests.submit.trees import Edit, lay
from tests.submit.world import Crash, World, subject_of

FILES = ("f", "g", "h")
WORDS = ("y", "z", "u", "v", "w", "x", "bad")
CLASHES = (frozenset({"u", "v"}), frozenset({"w", "x"}))

files = st.sampled_from(FILES)
words = st.sampled_from(WORDS)


@dataclass(frozen=True)
class Draft:
    """What an agent writes: to a file of its own (None) or a shared one, seen as it is or not."""

    path: str | None
    word: str
    is_stale: bool


@dataclass(frozen=True)
class Submission:
    """Some changes submitted as one item; ``after`` counts changes back."""

    drafts: list[Draft]
    after: list[int]
    priority: int


drafts = st.builds(
    Draft,
    path=st.one_of(st.none(), files),
    word=words,
    is_stale=st.sampled_from((False, False, False, True)),
)
submissions = st.builds(
    Submission,
    drafts=st.lists(drafts, min_size=1, max_size=2),
    after=st.sampled_from(([], [], [], [1], [2], [3])),
    priority=st.sampled_from((0, 0, 0, 5)),
)


class QueueMachine(RuleBasedStateMachine):
    """See the module."""

    @initialize(
        policy=st.sampled_from(Policy),
        width=st.integers(1, 4),
        retries=st.integers(0, 2),
        crash_after=st.integers(0, 40),
        is_trusted=st.booleans(),
    )
    def begin(
        self, policy: Policy, width: int, retries: int, crash_after: int, is_trusted: bool
    ) -> None:
        self.world = World(
            is_trusted=is_trusted,
            policy=policy,
            max_speculative=width,
            retries_max=retries,
            clashes=set(CLASHES),
            crash_after=crash_after or None,
        )
        self.serial = SerialQueue(
            edits=self.world.changes, needs=self.world.dependencies, is_green=self.world.verdict
        )

    def settle(self) -> None:
        """Lets the queue act; where it crashes, a new daemon goes on."""
        try:
            self.world.settle()
        except Crash:
            self.world.restart()

    def follow(self) -> None:
        """Brings the serial queue to the same number of decisions."""
        decided = [
            item.id for item in self.world.items.values() if item.state is not ItemState.QUEUED
        ]
        while len(self.serial.fates) < len(decided):
            self.serial.decide_one(self.world.batches())

    @rule(submitted=st.lists(submissions, min_size=1, max_size=4))
    def submit(self, submitted: list[Submission]) -> None:
        for submission in submitted:
            self.submit_one(submission)
        self.settle()

    def submit_one(self, submission: Submission) -> None:
        known = list(self.world.changes)
        needs = [known[-back] for back in submission.after if back <= len(known)]
        names: list[ChangeId] = []
        for draft in submission.drafts:
            name = f"c{len(self.world.changes)}"
            path = draft.path or name
            base = "stale" if draft.is_stale else dict(self.world.main).get(path)
            names.append(self.world.change(name, Edit(path, base, draft.word), after=needs))
        try:
            item_id = self.world.submit(*names, priority=submission.priority)
        except DependencyNotLanded:
            return
        self.serial.submit(item_id, submission.priority, tuple(names))

    @precondition(lambda self: self.world.running())
    @rule(choices=st.lists(st.integers(0, 3), min_size=1, max_size=6))
    def finish(self, choices: list[int]) -> None:
        for choice in choices:
            if running := self.world.running():
                self.end(subject_of(running[choice % len(running)]), None)

    @precondition(lambda self: self.world.running())
    @rule(choice=st.integers(0, 3), is_error=st.booleans(), times=st.integers(1, 3))
    def fail_by_chance(self, choice: int, is_error: bool, times: int) -> None:
        """A flake or an error, never so often that it counts; red trees have no luck."""
        state = AttemptState.ERROR if is_error else AttemptState.FAILED
        limit = ERROR_RETRIES_MAX if is_error else self.world.retries_max
        for _ in range(times):
            running = self.world.running()
            if not running:
                return
            attempt = running[choice % len(running)]
            suffered = [
                other
                for other in self.world.attempts.values()
                if (other.item_id == attempt.item_id or attempt.is_control)
                and other.key == attempt.key
                and other.state is state
            ]
            if len(suffered) < limit:
                self.end(subject_of(attempt), state)

    def end(self, name: str, state: AttemptState | None) -> None:
        try:
            self.world.release(name, state)
        except Crash:
            self.world.restart()

    @rule(number=st.integers(1, 30))
    def cancel(self, number: int) -> None:
        item = self.world.items.get(ItemId(number))
        if item is None or item.state is not ItemState.QUEUED:
            return
        self.world.cancel(item.id)
        self.serial.cancel(number)
        self.settle()

    @rule(path=files, word=words)
    def land_around(self, path: str, word: str) -> None:
        base = dict(self.world.main).get(path)
        edit = Edit(path, base, word)
        tree = lay(self.world.main, [edit])
        # Landing a red tree is a user's right, but makes every verdict after it red as well.
        if isinstance(tree, tuple) and self.world.verdict(tree):
            self.world.land_around(edit)
            self.serial.main = tree
            self.settle()

    @rule(width=st.integers(1, 4))
    def resize(self, width: int) -> None:
        self.world.max_speculative = width
        self.settle()

    @rule()
    def pause_or_resume(self) -> None:
        self.world.paused = not self.world.paused
        self.settle()

    @rule()
    def close_or_open(self) -> None:
        self.world.closed = not self.world.closed
        self.settle()

    @rule()
    def restart(self) -> None:
        before = self.trees_under_test()
        try:
            self.world.restart()
        except Crash:
            self.world.restart()
        if not self.world.paused and self.world.policy in (Policy.LINEAR, Policy.WINDOW):
            assert self.trees_under_test() == before, "after a restart, other decisions"

    def trees_under_test(self) -> set[TestKey]:
        """What is tested; of two items that share a tree either may own the test."""
        return {attempt.key for attempt in self.world.running()}

    @invariant()
    def decides_like_the_serial_queue(self) -> None:
        self.follow()
        fates = {
            int(item.id): item.reason.value if item.reason else item.state.value
            for item in self.world.items.values()
            if item.state is not ItemState.QUEUED
        }
        assert fates == self.serial.fates
        assert self.world.main == self.serial.main

    @invariant()
    def never_idles(self) -> None:
        """With items queued, no pause and an open tree, at least the first is tested."""
        if not (self.world.paused or self.world.closed) and any(
            item.state is ItemState.QUEUED for item in self.world.items.values()
        ):
            assert self.world.running()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.crash_after = None
        self.world.paused = self.world.closed = False
        self.world.release_all()
        self.decides_like_the_serial_queue()
        assert not [i for i in self.world.items.values() if i.state is ItemState.QUEUED]


def test_the_queue_equals_the_serial_reference() -> None:
    """The final set of landed and ejected, and main's content, are the serial queue's."""
    run_state_machine_as_test(
        QueueMachine, settings=settings(max_examples=150, stateful_step_count=30)
    )


@pytest.mark.soak
def test_the_queue_equals_the_serial_reference_for_long() -> None:
    """The same, with many more examples."""
    examples = 20_000 if os.environ.get("PATCHWORK_SOAK") == "1" else 2_000
    run_state_machine_as_test(
        QueueMachine, settings=settings(max_examples=examples, stateful_step_count=60)
    )


def stroll(policy: Policy, seed: int, steps: int) -> QueueMachine:
    """A walk of the machine with many more submissions and ends of tests than hypothesis draws."""
    chance = random.Random(seed)
    machine = QueueMachine()
    width, retries, crash_after = chance.randint(1, 4), chance.randint(0, 2), chance.randint(0, 60)
    machine.begin(policy, width, retries, crash_after, is_trusted=seed % 2 == 0)
    for _ in range(steps):
        match chance.choices(range(8), (8, 12, 3, 1, 1, 1, 1, 1))[0]:
            case 0:
                machine.submit([_submission(chance) for _ in range(chance.randint(1, 3))])
            case 1:
                machine.finish([chance.randrange(4) for _ in range(chance.randint(1, 4))])
            case 2:
                machine.fail_by_chance(chance.randrange(4), chance.random() < 0.5, 1)
            case 3:
                machine.cancel(len(machine.world.items) - chance.randrange(4))
            case 4:
                machine.land_around(chance.choice(FILES), chance.choice(WORDS))
            case 5:
                machine.resize(chance.randint(1, 4))
            case 6:
                machine.pause_or_resume()
            case _:
                machine.restart()
        machine.decides_like_the_serial_queue()
        machine.never_idles()
    machine.teardown()
    return machine


def _submission(chance: random.Random) -> Submission:
    drafts = [
        Draft(
            path=chance.choice((None, None, *FILES)),
            word=chance.choice(("y", "z", *WORDS)),
            is_stale=chance.random() < 0.05,
        )
        for _ in range(chance.choice((1, 1, 2)))
    ]
    after = [chance.randint(1, 3)] if chance.random() < 0.2 else []
    return Submission(drafts, after, chance.choice((0, 0, 0, 5)))


@pytest.mark.parametrize("policy", Policy)
def test_strolls_equal_the_serial_reference(policy: Policy) -> None:
    """Busy queues, where every fate and every action occurs often, come out as they should."""
    fates: Counter[str] = Counter()
    for seed in range(25):
        fates.update(stroll(policy, seed, steps=60).serial.fates.values())
    for fate in ("landed", "test_failed", "conflict", "dependency", "cancelled"):
        assert fates[fate] > 20, fates


def test_a_batch_lands_what_mends_itself() -> None:
    """Red alone, green together with a later one: the tree that lands is green, and is all of them."""
    machine = QueueMachine()
    machine.begin(Policy.BATCH, 1, 0, 0, is_trusted=True)
    machine.land_around("f", "u")
    broken = Draft(path=None, word="v", is_stale=False)
    mending = Draft(path="f", word="y", is_stale=False)
    machine.submit([Submission([each], [], 0) for each in (broken, mending)])
    machine.decides_like_the_serial_queue()
    machine.finish([0])
    machine.teardown()
    assert set(machine.serial.fates.values()) == {"landed"}
    assert machine.world.batches() == [[1, 2]]


def scripted(crash_after: int | None, *, is_trusted: bool) -> World:
    """Twelve items of every kind, their tests ending in an order drawn from a fixed seed."""
    world = World(
        max_speculative=3,
        retries_max=1,
        clashes=set(CLASHES),
        crash_after=crash_after,
        is_trusted=is_trusted,
    )
    world.change("c2", Edit("f", None, "bad"))
    world.change("c3", Edit("g", None, "u"))
    world.change("c4", Edit("h", None, "v"))
    world.change("c5", Edit("g", None, "w"), after=["c2"])
    world.change("c6", Edit("g", None, "w"))
    world.change("c8", after=["c7"])
    for number in range(12):
        world.submit(f"c{number}")
    chance = random.Random(1)
    steps = 0
    while True:
        try:
            world.settle()
            while running := world.running():
                steps += 1
                assert steps < 500
                world.release(subject_of(chance.choice(running)))
            return world
        except Crash:
            world.restart()


@pytest.mark.parametrize("is_trusted", [True, False])
def test_a_crash_after_any_stored_step_changes_nothing(*, is_trusted: bool) -> None:
    """Killed after the first, the second, ... stored step, the queue comes to the same end."""
    undisturbed = scripted(None, is_trusted=is_trusted)
    assert set(undisturbed.states().values()) == {
        "landed",
        "test_failed",
        "conflict",
        "dependency",
    }
    for step in range(1, undisturbed.stored + 1):
        world = scripted(step, is_trusted=is_trusted)
        assert world.states() == undisturbed.states(), f"crashed after step {step}"
        assert world.main == undisturbed.main
