"""Opening files in a workspace while the HTTP API is asked for something 500 times a second."""

import statistics
from collections import defaultdict
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.daemon.load import load
from bench.mount.calls import Calls, Timing
from bench.options import Options
from bench.project import make_checkout, patchwork, serving
from bench.targets import Ratios

IDLE = "API idle"
RATE_PER_S = 500
RATE_REACHED = 0.95
"""Of the rate: where less was answered, another rate was measured."""


@dataclass(frozen=True)
class Sizes:
    """How much is done."""

    files: int = 2_000
    rounds: int = 5
    seconds: float = 5.0


QUICK = Sizes(files=300, rounds=3, seconds=1.0)
PLACES = ("disk", "workspace")


@dataclass
class Found:
    """What opens took, a timing a round, by place and whether the API was busy."""

    timings: dict[tuple[str, bool], list[Timing]]
    answered_per_s: list[float]

    def p50_s(self, place: str, *, is_busy: bool) -> float:
        """The middle open, of the middle round."""
        return statistics.median(timing.p50_s for timing in self.timings[place, is_busy])

    def p99_s(self, place: str, *, is_busy: bool) -> float:
        """The slowest but for 1 %, of the middle round."""
        return statistics.median(timing.p99_s for timing in self.timings[place, is_busy])

    def ratio(self, place: str) -> float:
        """The slowest but for 1 %, busy over idle."""
        return self.p99_s(place, is_busy=True) / self.p99_s(place, is_busy=False)


def main(room: Path, options: Options) -> Ratios:
    """Prints the table."""
    found = measure(room, QUICK if options.quick else Sizes(), options.rounds)
    print(f"| a warm open, µs | p50, {IDLE} | p50, busy | p99, {IDLE} | p99, busy | p99, ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for place in PLACES:
        seconds = [
            percentile(place, is_busy=is_busy)
            for percentile in (found.p50_s, found.p99_s)
            for is_busy in (False, True)
        ]
        cells = " | ".join(f"{each * 1e6:.1f}" for each in seconds)
        print(f"| {place} | {cells} | {found.ratio(place):.2f} |")
    answered = statistics.median(found.answered_per_s)
    print(f"\nrequests answered a second: {answered:.0f}, of {RATE_PER_S} asked for")
    options.keep("busy", {"answered_per_s": found.answered_per_s, "timings": _as_json(found)})
    if answered < RATE_PER_S * RATE_REACHED:
        print("That is too few to judge the target by.")
        return {}
    return {("open-p99-busy", IDLE): found.ratio("workspace")}


def _as_json(found: Found) -> list[dict[str, object]]:
    return [
        {"place": place, "busy": is_busy, "rounds": [asdict(timing) for timing in timings]}
        for (place, is_busy), timings in found.timings.items()
    ]


def measure(room: Path, sizes: Sizes, rounds: int | None = None) -> Found:
    """Opens files of a workspace and of the disk, with and without requests, in turn."""
    directory = room / "project"
    directory.mkdir()
    make_checkout(directory, sizes.files)
    names = room / "names"
    files = sorted(str(file.relative_to(directory)) for file in directory.glob("part*/*/*"))
    names.write_text("".join(f"{name}\n" for name in files))
    patchwork(directory, "init")
    calls = Calls(room)
    found = Found(defaultdict(list), [])
    with serving(directory) as project:
        workspace = Path(str(project.create_workspace(project.create_change("Bench"))["path"]))
        places = dict(zip(PLACES, (directory, workspace), strict=True))
        for number in range((rounds or sizes.rounds) * 2):
            is_busy = number % 2 == 1
            with load(project.socket, RATE_PER_S) if is_busy else nullcontext() as told:
                for name, place in places.items():
                    calls("read", names, 1, within=place)
                    timing = calls("latency", names, sizes.seconds, within=place)
                    found.timings[name, is_busy].append(timing)
            if told is not None:
                found.answered_per_s.append(told.answered_per_s)
    return found
