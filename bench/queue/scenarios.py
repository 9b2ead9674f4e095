"""The workloads that the policies are compared on, and who competes in each."""

from dataclasses import dataclass, replace

from bench.queue.trace import Workload
from pwfs.submit.line import Policy


@dataclass(frozen=True)
class Contender:
    """A way to run the queue; ``retries`` replaces the workload's where it is given."""

    name: str
    policy: Policy
    has_rule: bool = False
    retries: int | None = None


LINEAR = Contender("linear", Policy.LINEAR)
WINDOW = Contender("window", Policy.WINDOW)
WINDOW_RULE = Contender("window, rule", Policy.WINDOW, has_rule=True)
BATCH = Contender("batch", Policy.BATCH)
TREE = Contender("tree, rule", Policy.TREE, has_rule=True)
TREE_RETRY = Contender("tree, rule, 1 retry", Policy.TREE, has_rule=True, retries=1)


@dataclass(frozen=True)
class Scenario:
    """A workload, its contenders, and what it is."""

    title: str
    workload: Workload
    contenders: tuple[Contender, ...] = (TREE,)


AGENTS_100 = Workload(workers=32, agents=100, skew=0.8)
AGENTS_1000 = replace(
    AGENTS_100, workers=256, agents=1000, targets=4000, warm_h=1.0, measured_h=2.0, tick_s=5.0
)
UBER = Workload(
    workers=500, rate_per_h=500.0, median_s=1620.0, targets=1000, measured_h=10.0, tick_s=5.0
)

SCENARIOS = {
    "agents-100": Scenario(
        "100 agents in a closed loop (think 20 min), 32 workers, tests of 3 min at the median, 13 % "
        "own failures, 400 targets, pairs that share one conflict by .05",
        AGENTS_100,
        (LINEAR, WINDOW, WINDOW_RULE, BATCH, TREE),
    ),
    "agents-1000": Scenario(
        "the same with 1,000 agents, 256 workers and 4,000 targets",
        AGENTS_1000,
        (WINDOW, WINDOW_RULE, TREE),
    ),
    "uber": Scenario(
        "500 changes an hour in an open loop, 500 workers, tests of 27 min at the median, half of the "
        "changes share one of 1,000 targets with one ahead",
        UBER,
        (WINDOW_RULE, TREE),
    ),
    "flakes": Scenario(
        "agents-100 with 3 % flakes",
        replace(AGENTS_100, flakes=0.03),
        (TREE, TREE_RETRY),
    ),
    "unsound": Scenario(
        "agents-100 with an analyzer that misses 5 % of the shared targets",
        replace(AGENTS_100, missed=0.05),
    ),
}

SWEEPS: dict[str, tuple[str, dict[str, Workload]]] = {
    "sweep-failures": (
        "own failures, %",
        {f"{n}": replace(AGENTS_100, own_failures=n / 100) for n in (2, 5, 10, 20, 30)},
    ),
    "sweep-flakes": (
        "flakes, %",
        {f"{n}": replace(AGENTS_100, flakes=n / 100) for n in (0, 1, 3, 5)},
    ),
    "sweep-conflicts": (
        "targets (fewer: more conflicts)",
        {f"{n}": replace(AGENTS_100, targets=n) for n in (50, 100, 200, 400, 1600)},
    ),
    "sweep-workers": (
        "workers",
        {f"{n}": replace(AGENTS_100, workers=n) for n in (1, 4, 8, 16, 32, 128, 512)},
    ),
    "sweep-analyzer": (
        "shared targets that the analyzer misses, %",
        {f"{n}": replace(AGENTS_100, missed=n / 100) for n in (0, 1, 5, 20)},
    ),
}
