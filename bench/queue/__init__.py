"""The submit queue in simulated time: its policies beside an oracle that knows all outcomes.

All contenders of a scenario meet the same changes, seed by seed. Waits are from submission to the
end, landed or not, and are told as multiples of the oracle's: it tests each change once, first come
first served, on exactly what lands before it.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.options import Options
from bench.queue.measure import ORACLE, Estimate, Figures, Job, over, simulate_all
from bench.queue.plot import Curve, draw
from bench.queue.scenarios import SCENARIOS, SWEEPS, TREE, WINDOW_RULE, Contender
from bench.queue.trace import Workload
from bench.targets import Ratios

NAMES = (*SCENARIOS, *SWEEPS)
SEEDS, QUICK_SEEDS = 10, 2
QUICK_H = 2.0
PICTURES = Path(__file__).resolve().parents[2] / "docs" / "queue"
COLUMNS = {
    "landed": "landed an hour",
    "landed_per_h": "of the oracle's",
    "p50": "P50",
    "p95": "P95",
    "p99": "P99",
    "tests": "tests a change",
    "worker_min": "worker minutes a change",
    "false_ejections": "innocents ejected",
    "red_mains": "red mains",
    "longest": "longest wait, min",
}


def main(options: Options) -> Ratios:
    """Simulates the named scenarios, or all, and prints a table each."""
    wanted = options.scenarios or NAMES
    seeds = range(1, (options.seeds or (QUICK_SEEDS if options.quick else SEEDS)) + 1)
    for name in wanted:
        if name in SCENARIOS:
            found = _scenario(name, options, seeds)
        else:
            found = _sweep(name, options, seeds)
        options.keep(f"queue {name}", found)
    return {}


def _scenario(name: str, options: Options, seeds: Sequence[int]) -> object:
    scenario = SCENARIOS[name]
    workload = _shortened(scenario.workload, options)
    runs = _runs([(workload, (ORACLE, *scenario.contenders))], seeds)
    oracle = runs[workload, ORACLE]
    print(f"### {name}: {scenario.title}; {len(seeds)} seeds\n")
    print("| policy |", " | ".join(COLUMNS.values()), "|")
    print("| --- |", " | ".join("---" for _ in COLUMNS), "|")
    kept = {}
    for contender in (ORACLE, *scenario.contenders):
        row = over(runs[workload, contender], oracle)
        kept[contender.name] = {column: asdict(row[column]) for column in COLUMNS}
        print(f"| {contender.name} |", " | ".join(_cell(c, row[c]) for c in COLUMNS), "|")
    print()
    return kept


def _cell(column: str, value: Estimate) -> str:
    if column == "false_ejections":
        return f"{Estimate(value.mean * 100, value.half * 100)} %"
    return str(value)


def _sweep(name: str, options: Options, seeds: Sequence[int]) -> object:
    axis, workloads = SWEEPS[name]
    contenders = (WINDOW_RULE, TREE)
    shortened = {label: _shortened(work, options) for label, work in workloads.items()}
    runs = _runs([(work, (ORACLE, *contenders)) for work in shortened.values()], seeds)
    print(f"### {name}; {len(seeds)} seeds\n")
    print(f"| {axis} | policy | of the oracle's landings | P95 | tests a change | red mains |")
    print("| --- | --- | --- | --- | --- | --- |")
    kept: dict[str, dict[str, float]] = {contender.name: {} for contender in contenders}
    for label, work in shortened.items():
        for contender in contenders:
            row = over(runs[work, contender], runs[work, ORACLE])
            kept[contender.name][label] = row["landed_per_h"].mean
            cells = (row[c] for c in ("landed_per_h", "p95", "tests", "red_mains"))
            print(f"| {label} | {contender.name} |", " | ".join(map(str, cells)), "|")
    print()
    if not options.quick:
        curves = [Curve(title, tuple(points.values())) for title, points in kept.items()]
        PICTURES.mkdir(exist_ok=True)
        title = "landings an hour, as a share of the oracle's"
        (PICTURES / f"{name}.svg").write_text(draw(title, axis, tuple(shortened), curves))
    return kept


def _shortened(workload: Workload, options: Options) -> Workload:
    return workload.for_hours(1.0, QUICK_H) if options.quick else workload


def _runs(
    wanted: Sequence[tuple[Workload, Sequence[Contender]]], seeds: Sequence[int]
) -> dict[tuple[Workload, Contender], list[Figures]]:
    jobs = [
        Job(contender, workload, seed)
        for workload, contenders in wanted
        for contender in contenders
        for seed in seeds
    ]
    found: dict[tuple[Workload, Contender], list[Figures]] = {}
    for job, figures in zip(jobs, simulate_all(jobs), strict=True):
        found.setdefault((job.workload, job.contender), []).append(figures)
    return found
