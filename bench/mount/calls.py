"""Timed system calls, made by a small C program (`calls.c`) that is compiled when it is needed."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("calls.c")


@dataclass(frozen=True)
class Timing:
    """What a number of calls took: altogether, the middle one, and the slowest but for 1 %."""

    calls: int
    seconds: float
    p50_s: float
    p99_s: float

    @property
    def each_s(self) -> float:
        """The mean of a call."""
        return self.seconds / self.calls


class Calls:
    """The program, compiled into a directory."""

    def __init__(self, room: Path) -> None:
        self._program = room / "calls"
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-O2", "-o", str(self._program), str(SOURCE)], check=True)

    def __call__(self, operation: str, *arguments: object, within: Path) -> Timing:
        """Makes the calls in a directory; `calls.c` says which there are.

        A call that fails raises `subprocess.CalledProcessError`.
        """
        command = self.command(operation, *arguments)
        done = subprocess.run(command, cwd=within, check=True, stdout=subprocess.PIPE, text=True)
        return read_timing(done.stdout)

    def command(self, operation: str, *arguments: object) -> list[str]:
        """The command line, for who runs it beside something else."""
        return [str(self._program), operation, *map(str, arguments)]


def read_timing(line: str) -> Timing:
    """Reads what the program prints."""
    found = {name: int(value) for name, value in (word.split("=") for word in line.split())}
    ns = 1e-9
    return Timing(found["calls"], found["ns"] * ns, found["p50"] * ns, found["p99"] * ns)
