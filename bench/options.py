"""What the command line asks of a benchmark."""

from dataclasses import dataclass, field


@dataclass
class Options:
    """How to measure, and where results are kept."""

    rows: tuple[str, ...] = ()
    """The rows of `bench.mount` to measure; all if there are none."""

    parts: tuple[str, ...] = ()
    """The parts of `bench.daemon` to run; all if there are none."""

    scenarios: tuple[str, ...] = ()
    """The scenarios of `bench.queue` to simulate; all if there are none."""

    seeds: int | None = None
    """How many traces a scenario of `bench.queue` is simulated on; None for as many as it likes."""

    rounds: int | None = None
    """How often; None for as often as the benchmark likes."""

    quick: bool = False
    """Less of everything: a look while one works, not a result."""

    kept: dict[str, object] = field(default_factory=dict)
    """What was measured, by benchmark, for ``--json``."""

    def keep(self, benchmark: str, measured: object) -> None:
        """Keeps what a benchmark found."""
        self.kept[benchmark] = measured
