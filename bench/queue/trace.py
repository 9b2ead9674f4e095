"""What agents submit: drawn by keys, so that every policy meets the same changes.

Each number is a hash of the seed, what it is for, and whom it concerns; nothing depends on the order
in which a simulation asks. A change has a duration, an outcome of its own and targets; two changes
that share a target disagree by a draw for the pair; a test flakes by a draw for tree and attempt.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from statistics import NormalDist

from pwfs.submit.simulation import Arrival, Change

MASK = (1 << 64) - 1
ARRIVAL, DURATION, OUTCOME, TARGET_COUNT, TARGET, PAIR, MISS, FLAKE, THINK = range(9)


def draw(*key: int) -> float:
    """A number in (0, 1) that depends on the key only (the finalizer is splitmix64's)."""
    mixed = hash(key) & MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
    return ((mixed ^ (mixed >> 31)) + 0.5) / 2.0**64


@dataclass(frozen=True)
class Workload:
    """A scenario's parameters; times are in seconds.

    Open loop: ``rate_per_h`` changes arrive by a Poisson process. Closed loop: each of ``agents``
    submits the next change an exponential ``think_s`` after its last was decided. Durations are
    lognormal. A change has one target and by ``more_targets`` each time another, drawn by Zipf's
    law with ``skew`` from ``targets``. ``missed`` is the share of pairs with a common target that
    the analyzer calls independent.
    """

    workers: int
    agents: int = 0
    think_s: float = 1200.0
    rate_per_h: float = 0.0
    median_s: float = 180.0
    spread: float = 0.5
    own_failures: float = 0.13
    flakes: float = 0.0
    targets: int = 400
    more_targets: float = 0.5
    skew: float = 0.0
    pair_conflicts: float = 0.05
    missed: float = 0.0
    retries: int = 0
    warm_h: float = 2.0
    measured_h: float = 8.0
    tick_s: float = 1.0

    def for_hours(self, warm_h: float, measured_h: float) -> "Workload":
        """The same, simulated for another time."""
        return replace(self, warm_h=warm_h, measured_h=measured_h)

    @cached_property
    def popularity(self) -> list[float]:
        """Cumulated weights of the targets."""
        return list(accumulate((n + 1) ** -self.skew for n in range(self.targets)))


class Trace:
    """The changes of one workload and seed."""

    def __init__(self, workload: Workload, seed: int) -> None:
        self.workload = workload
        self.seed = seed

    @property
    def workers(self) -> int:
        return self.workload.workers

    @property
    def retries(self) -> int:
        return self.workload.retries

    @property
    def tick_s(self) -> float:
        return self.workload.tick_s

    @property
    def from_s(self) -> float:
        return self.workload.warm_h * 3600.0

    @property
    def until_s(self) -> float:
        return self.from_s + self.workload.measured_h * 3600.0

    def opening(self) -> list[Arrival]:
        """The first of each agent, or the first that comes."""
        agents = range(self.workload.agents)
        found = [Arrival(self.think_s(agent, 0), agent, 0) for agent in agents]
        return [*found, Arrival(self.gap_s(0), 0, 0)] if self.workload.rate_per_h else found

    def after_arrival(self, agent: int, number: int, now_s: float) -> Arrival | None:
        """The next of the open loop."""
        if not self.workload.rate_per_h:
            return None
        return Arrival(now_s + self.gap_s(number + 1), 0, number + 1)

    def after_decision(self, agent: int, number: int, now_s: float) -> Arrival | None:
        """The next of an agent of the closed loop."""
        if not self.workload.agents:
            return None
        return Arrival(now_s + self.think_s(agent, number + 1), agent, number + 1)

    def change(self, agent: int, number: int) -> Change:
        """An agent's change by its number."""
        work, key = self.workload, agent * 1_000_003 + number
        normal = NormalDist().inv_cdf(self.unit(DURATION, key))
        count = 1
        while count < 20 and self.unit(TARGET_COUNT, key, count) < work.more_targets:
            count += 1
        popularity = work.popularity
        targets = frozenset(
            bisect_left(popularity, self.unit(TARGET, key, n) * popularity[-1])
            for n in range(count)
        )
        return Change(
            key,
            agent,
            work.median_s * math.exp(work.spread * normal),
            self.unit(OUTCOME, key) >= work.own_failures,
            targets,
        )

    def think_s(self, agent: int, number: int) -> float:
        """How long an agent thinks before its change of that number."""
        return -math.log(self.unit(THINK, agent, number)) * self.workload.think_s

    def gap_s(self, number: int) -> float:
        """The time between two arrivals of the open loop."""
        return -math.log(self.unit(ARRIVAL, number)) * 3600.0 / self.workload.rate_per_h

    def disagree(self, one: Change, other: Change) -> bool:
        """Whether two changes that share a target fail together."""
        low, high = sorted((one.key, other.key))
        return self.unit(PAIR, low, high) < self.workload.pair_conflicts

    def is_missed(self, one: Change, other: Change) -> bool:
        """Whether the analyzer does not see that two changes share a target."""
        low, high = sorted((one.key, other.key))
        return bool(self.workload.missed) and self.unit(MISS, low, high) < self.workload.missed

    def is_flaky(self, tree: int, attempt: int) -> bool:
        """Whether a test of a good tree fails."""
        return bool(self.workload.flakes) and self.unit(FLAKE, tree, attempt) < self.workload.flakes

    def unit(self, *key: int) -> float:
        """A number in (0, 1) for a key, in this seed."""
        return draw(self.seed, *key)
