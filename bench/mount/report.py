"""From the measured seconds to medians, ratios and tables."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from bench.mount.rows import Row
from bench.targets import Ratios

US = "patchwork"
UNITS = {"µs": 1e6, "ms": 1e3, "s": 1.0}


class Samples:
    """What was measured: seconds, a number a round, by row and peer."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str], list[float]] = defaultdict(list)

    def add(self, peer: str, measured: Mapping[str, float]) -> None:
        """Adds what a scenario found."""
        for row, seconds in measured.items():
            self._seconds[row, peer].append(seconds)

    def median_s(self, row: str, peer: str) -> float | None:
        """The median, if something was measured."""
        found = self._seconds.get((row, peer))
        return None if found is None else statistics.median(found)

    def ratio(self, row: str, peer: str) -> float | None:
        """Patchwork's median over a peer's."""
        ours, theirs = self.median_s(row, US), self.median_s(row, peer)
        return None if ours is None or theirs is None else ours / theirs

    def ratios(self, rows: Iterable[Row], peers: Iterable[str]) -> Ratios:
        """All ratios that there are."""
        found = {}
        for row in rows:
            for peer in peers:
                ratio = self.ratio(row.name, peer)
                if ratio is not None:
                    found[row.name, peer] = ratio
        return found

    def as_json(self, rows: Iterable[Row], peers: Sequence[str]) -> list[dict[str, object]]:
        """A record a row: the seconds of each round, by peer."""
        return [
            {
                "row": row.name,
                "title": row.title,
                "seconds": {peer: self._seconds.get((row.name, peer), []) for peer in peers},
            }
            for row in rows
        ]


def print_table(samples: Samples, rows: Sequence[Row], peers: Sequence[str]) -> None:
    """Prints a line a row: each peer's median, and Patchwork's as a ratio to each other's."""
    others = [peer for peer in peers if peer != US]
    columns = ["row", "", *peers, *(f"/ {peer}" for peer in others)]
    print(f"| {' | '.join(columns)} |")
    print(f"|{' --- |' * len(columns)}")
    for row in rows:
        medians = [samples.median_s(row.name, peer) for peer in peers]
        if all(median is None for median in medians):
            continue
        cells = [_shown(median, row.unit) for median in medians]
        ratios = [samples.ratio(row.name, peer) for peer in others]
        cells += ["" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
        print(f"| {row.name} | {row.title}, {row.unit} | {' | '.join(cells)} |")


def _shown(seconds: float | None, unit: str) -> str:
    return "" if seconds is None else f"{seconds * UNITS[unit]:.4g}"
