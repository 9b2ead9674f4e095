"""With a sound rule of independence the queue ends as the serial one does, whoever overtakes.

Changes write to a few files and some disagree by words; a change's targets are its file and its
words, so that those who may disagree share one. Submissions, ends of tests in any order, flakes and
restarts are drawn from seeds; when all is decided, what landed, what left and why, and main's content
are those of `tests.submit.serial.SerialQueue`, which knows no rule.
"""

import random
from collections import Counter
from typing import TypeAlias

import pytest

from pwfs.model.ids import ChangeId
from pwfs.model.queue import AttemptState
from pwfs.submit import Policy, Reuse
from tests.submit.serial import SerialQueue
from tests.submit.trees import Edit
from tests.submit.world import World

FILES = "fghij"
WORDS = ("y", "z", "u", "v", "w", "x", "bad")
CLASHES = {frozenset("uv"), frozenset("wx")}
Targets: TypeAlias = dict[ChangeId, frozenset[str]]


def targets_of(edit: Edit) -> frozenset[str]:
    """The file, and each pair of words that the change is half of."""
    return frozenset({edit.path, *("".join(sorted(c)) for c in CLASHES if edit.new in c)})


def stroll(policy: Policy, seed: int, *, is_late: bool = False) -> tuple[World, SerialQueue]:
    """Some thirty items, and a few that nothing is declared of; all are decided in the end.

    ``is_late``: of some changes targets are told later, and the whole rule comes and goes.
    """
    chance = random.Random(seed)
    world = World(
        policy=policy,
        max_speculative=chance.randint(1, 6),
        retries_max=1,
        clashes=set(CLASHES),
        targets={ChangeId("nobody"): frozenset("n")},
    )
    serial = SerialQueue(world.changes, world.dependencies, world.verdict)
    told = dict(world.targets)
    for _ in range(60):
        if is_late and chance.random() < 0.3:
            world.targets = chance.choice(({}, part_of(told, chance), told, told)).copy()
            world.settle()
        match chance.choices(range(4), (5, 8, 1, 1))[0]:
            case 0:
                submit(world, serial, told, chance)
                if not is_late:
                    world.targets = told.copy()
            case 1 if running := world.running():
                end(world, chance.choice(running).key.root, None)
            case 2 if running := world.running():
                flake(world, chance)
            case 3:
                world.restart()
        world.settle()
    while running := world.running():
        end(world, chance.choice(running).key.root, None)
    while serial.waiting:
        serial.decide_one()
    return world, serial


def part_of(told: Targets, chance: random.Random) -> Targets:
    """The targets of some changes."""
    return {change_id: found for change_id, found in told.items() if chance.random() < 0.7}


def submit(world: World, serial: SerialQueue, told: Targets, chance: random.Random) -> None:
    """A change whose author sees main as it is; only a draft of an own file may be written blindly."""
    name = f"c{len(world.changes)}"
    path = chance.choice((name, *FILES))
    edit = Edit(path, None, chance.choice(WORDS))
    after = [chance.choice(list(world.changes))] if world.changes and chance.random() < 0.1 else []
    queued = {m.change_id for i in world.items.values() if i.state == "queued" for m in i.members}
    after = [other for other in after if other in queued]
    world.change(name, edit, after=after)
    if chance.random() < 0.9:
        told[ChangeId(name)] = targets_of(edit)
    serial.submit(world.submit(name), 0, (ChangeId(name),))


def end(world: World, root: str, state: AttemptState | None) -> None:
    """Lets the test of a tree end."""
    attempt = next(a for a in world.running() if a.key.root == root)
    if state is None:
        is_green = world.verdict(world.trees[attempt.key.root])
        state = AttemptState.PASSED if is_green else AttemptState.FAILED
    world.finish_attempt(attempt.id, state, None, None, "")
    world.settle()


def flake(world: World, chance: random.Random) -> None:
    """A test fails for no reason, once an item at most."""
    attempt = chance.choice(world.running())
    others = [a for a in world.attempts.values() if a.item_id == attempt.item_id]
    if not any(a.state is AttemptState.FAILED for a in others):
        if world.verdict(world.trees[attempt.key.root]):
            end(world, attempt.key.root, AttemptState.FAILED)


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("policy", [Policy.LINEAR, Policy.WINDOW, Policy.TREE, Policy.BATCH])
def test_the_end_is_the_serial_one(policy: Policy, is_late: bool) -> None:
    """The same items land, the same leave for the same reasons, and main is the same."""
    fates: Counter[str] = Counter()
    overtaken = 0
    for seed in range(20):
        world, serial = stroll(policy, seed, is_late=is_late)
        found = {
            int(item.id): item.reason.value if item.reason else item.state.value
            for item in world.items.values()
        }
        assert found == serial.fates, f"seed {seed}"
        assert world.main == serial.main, f"seed {seed}"
        fates.update(found.values())
        overtaken += sum(isinstance(a, Reuse) and bool(a.independent_of) for a in world.history)
    for fate in ("landed", "test_failed", "conflict"):
        assert fates[fate] > 10, fates
    if policy in (Policy.WINDOW, Policy.TREE):
        assert overtaken > (3 if is_late else 10)
