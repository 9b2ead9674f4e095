"""The simulator and the daemon's plan make the same of the same changes.

A trace of forty changes is simulated, and run through `tests.submit.world.World` with the same
durations: there trees are merged, lines are read from attempts, and plans are checked.
"""

import heapq
import math

import pytest

from bench.queue.trace import Trace, Workload
from pwfs.model.ids import ChangeId
from pwfs.model.queue import AttemptState
from pwfs.submit import Policy
from pwfs.submit.history import NOTHING_DECIDED
from pwfs.submit.line import Scenario
from pwfs.submit.simulation import Simulation, Waiting
from tests.submit.trees import Edit
from tests.submit.world import World

CHANGES = 40
WORKLOAD = Workload(
    workers=3,
    rate_per_h=120.0,
    targets=12,
    pair_conflicts=0.3,
    own_failures=0.2,
    warm_h=0.0,
    measured_h=1_000.0,
    tick_s=0.0,
)


class Few(Trace):
    """A trace that ends."""

    def gap_s(self, number: int) -> float:
        return super().gap_s(number) if number < CHANGES else math.inf


class Told(Simulation):
    """Notes what ends how, and how many tests began; its policy learns nothing, as the world's."""

    def __init__(self, trace: Trace, policy: Policy, *, has_rule: bool) -> None:
        super().__init__(trace, policy, has_rule=has_rule)
        self.fates: dict[str, bool] = {}
        self.began = 0

    def _decide(self, waiting: Waiting, *, is_landed: bool) -> None:
        super()._decide(waiting, is_landed=is_landed)
        self._history = NOTHING_DECIDED
        self.fates[f"c{waiting.number}"] = is_landed

    def _start(self, waiting: Waiting, scenario: Scenario) -> None:
        super()._start(waiting, scenario)
        self.began += 1


def in_world(trace: Trace, policy: Policy, *, has_rule: bool) -> tuple[World, dict[str, bool]]:
    """The same changes, arriving and tested in the same time."""
    world = World(policy=policy, max_speculative=WORKLOAD.workers)
    changes = [trace.change(0, number) for number in range(CHANGES)]
    arrivals: list[tuple[float, int, str]] = []
    now_s = 0.0
    for number, change in enumerate(changes):
        now_s += trace.gap_s(number)
        heapq.heappush(arrivals, (now_s, -1, f"c{number}"))
        name = f"c{number}"
        world.change(name, Edit(name, None, name if change.is_good else "bad"))
        if has_rule:
            world.targets[ChangeId(name)] = frozenset(f"t{target}" for target in change.targets)
    started: set[int] = set()
    events = arrivals
    while events:
        now_s, attempt_id, name = heapq.heappop(events)
        if attempt_id < 0:
            clash_with_queued(world, trace, name)
            world.submit(name)
        else:
            attempt = next((a for a in world.running() if a.id == attempt_id), None)
            if attempt is None:
                continue
            is_green = world.verdict(world.trees[attempt.key.root])
            state = AttemptState.PASSED if is_green else AttemptState.FAILED
            world.finish_attempt(attempt.id, state, None, None, "")
        world.settle()
        for attempt in world.running():
            if attempt.id not in started:
                started.add(attempt.id)
                tested = attempt.stack[-1].change_id
                end_s = now_s + changes[int(tested[1:])].duration_s
                heapq.heappush(events, (end_s, attempt.id, tested))
    fates = {item.members[0].change_id: not item.reason for item in world.items.values()}
    return world, {str(name): is_landed for name, is_landed in fates.items()}


def clash_with_queued(world: World, trace: Trace, name: str) -> None:
    """Whoever waits may disagree with a new change if they share a target."""
    change = trace.change(0, int(name[1:]))
    for item in world.items.values():
        if item.state == "queued":
            other_name = item.members[0].change_id
            other = trace.change(0, int(other_name[1:]))
            if change.targets & other.targets and trace.disagree(change, other):
                world.clashes.add(frozenset({name, str(other_name)}))


@pytest.mark.parametrize("has_rule", [False, True])
@pytest.mark.parametrize("policy", [Policy.LINEAR, Policy.WINDOW, Policy.TREE])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_simulator_agrees_with_the_plan(policy: Policy, has_rule: bool, seed: int) -> None:
    """The same changes land, the same leave, and (but for the tree) as many tests begin."""
    trace = Few(WORKLOAD, seed)
    told = Told(trace, policy, has_rule=has_rule)
    told.run()
    world, fates = in_world(trace, policy, has_rule=has_rule)
    assert told.fates == fates
    assert 0 < sum(fates.values()) < CHANGES
    if policy is not Policy.TREE:
        began = len([attempt for attempt in world.attempts if attempt not in world.sources])
        assert told.began == began
