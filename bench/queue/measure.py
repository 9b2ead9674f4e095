"""Runs simulations, and condenses each to a few figures; figures of several seeds have intervals."""

import math
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from statistics import mean, stdev

from bench.queue.scenarios import Contender
from bench.queue.trace import Trace, Workload
from pwfs.submit.line import Policy
from pwfs.submit.simulation import Outcome, Simulation, by_oracle

ORACLE = Contender("oracle", Policy.TREE, has_rule=True)
_T_95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}
"""Student's t for 95 % of both sides, by degrees of freedom."""


@dataclass(frozen=True)
class Figures:
    """One run; times in minutes, ``false_ejections`` as a share of the innocent."""

    landed_per_h: float
    p50: float
    p95: float
    p99: float
    tests: float
    worker_min: float
    false_ejections: float
    red_mains: float
    longest: float


@dataclass(frozen=True)
class Job:
    """One simulation to run."""

    contender: Contender
    workload: Workload
    seed: int


def simulate(job: Job) -> Figures:
    """Runs one simulation."""
    workload, contender = job.workload, job.contender
    if contender.retries is not None:
        workload = replace(workload, retries=contender.retries)
    simulation = Simulation(
        Trace(workload, job.seed),
        contender.policy,
        has_rule=contender.has_rule,
        wisher=by_oracle if contender == ORACLE else None,
    )
    return figures(simulation.run())


def simulate_all(jobs: Sequence[Job]) -> list[Figures]:
    """Runs simulations beside each other, one a processor."""
    pool = ProcessPoolExecutor(len(os.sched_getaffinity(0)))
    try:
        return list(pool.map(simulate, jobs))
    finally:
        pool.shutdown(cancel_futures=True)


def figures(outcome: Outcome) -> Figures:
    """Condenses what a simulation saw."""
    decided = outcome.decided
    waits = sorted((end.decided_s - end.entered_s) / 60.0 for end in decided)
    landed = sum(end.is_landed for end in decided)
    false = sum(end.is_false for end in decided)
    count = max(1, len(decided))
    return Figures(
        landed / outcome.hours,
        percentile(waits, 0.5),
        percentile(waits, 0.95),
        percentile(waits, 0.99),
        outcome.tests / count,
        outcome.test_s / 60.0 / count,
        false / max(1, landed + false),
        float(sum(end.is_red for end in decided)),
        max([*waits[-1:], outcome.left_waiting_s / 60.0]),
    )


def percentile(ranked: Sequence[float], share: float) -> float:
    """The value that a share of the others does not exceed; NaN of none."""
    if not ranked:
        return math.nan
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, and half of its 95 % interval (NaN for one seed)."""

    mean: float
    half: float

    def __str__(self) -> str:
        digits = 0 if abs(self.mean) >= 100 else 1 if abs(self.mean) >= 20 else 2
        known = f" ± {self.half:.{digits}f}" if not math.isnan(self.half) else ""
        return f"{self.mean:.{digits}f}{known}"


def estimate(values: Iterable[float]) -> Estimate:
    """The mean of independent runs."""
    found = list(values)
    if len(found) < 2:
        return Estimate(found[0] if found else math.nan, math.nan)
    t = _T_95.get(len(found) - 1, 1.96)
    return Estimate(mean(found), t * stdev(found) / math.sqrt(len(found)))


def over(runs: Sequence[Figures], oracle: Sequence[Figures]) -> dict[str, Estimate]:
    """What is reported: landings and waits over the oracle's in the same seed, the rest as it is."""
    relative = {"landed_per_h", "p50", "p95", "p99"}
    found = {"landed": estimate(run.landed_per_h for run in runs)}
    for field in fields(Figures):
        values = [float(getattr(run, field.name)) for run in runs]
        if field.name in relative:
            peers = [float(getattr(run, field.name)) for run in oracle]
            values = [mine / peer for mine, peer in zip(values, peers, strict=True)]
        found[field.name] = estimate(values)
    return found
