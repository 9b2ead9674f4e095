"""`./dev bench [NAME …] [mount ROW …] [daemon PART …] [queue SCENARIO …]`: runs the named benchmarks, or all of them."""

import argparse
import importlib
import json
import os
import platform
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from bench.daemon import PARTS
from bench.mount.run import ROWS
from bench.options import Options
from bench.queue import NAMES as SCENARIOS
from bench.targets import Ratios, print_verdicts

NAMES = ("daemon", "durability", "merge", "mount", "queue", "status", "worktree")


def parser() -> argparse.ArgumentParser:
    """What the command line may say."""
    made = argparse.ArgumentParser(
        prog="./dev bench",
        description="Runs benchmarks and prints medians, ratios, and how the targets were met.",
        epilog=f"Benchmarks: {', '.join(NAMES)}. "
        f"Rows of mount, to measure only these: {', '.join(row.name for row in ROWS)}. "
        f"Parts of daemon: {', '.join(PARTS)}. Scenarios of queue: {', '.join(SCENARIOS)}.",
    )
    made.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="a benchmark, a row of mount, a part of daemon, a scenario of queue",
    )
    made.add_argument(
        "--rounds", type=int, help="how often each row of mount, and part of daemon, is measured"
    )
    made.add_argument("--seeds", type=int, help="how many traces each scenario of queue is run on")
    made.add_argument("--quick", action="store_true", help="less of everything, for a look")
    made.add_argument("--json", type=Path, metavar="FILE", help="also write what was measured")
    return made


@dataclass(frozen=True)
class Asked:
    """What a command line asks for."""

    names: tuple[str, ...]
    """The benchmarks to run, in their order."""
    options: Options
    json: Path | None


def read(arguments: Sequence[str] | None = None) -> Asked:
    """Reads a command line, names and options in any order; exits 2 for what does not exist."""
    asked = parser().parse_intermixed_args(arguments)
    rows = tuple(name for name in asked.names if name in {row.name for row in ROWS})
    parts = tuple(name for name in asked.names if name in PARTS)
    scenarios = tuple(name for name in asked.names if name in SCENARIOS)
    wanted = [name for name in asked.names if name not in {*rows, *parts, *scenarios}]
    if unknown := [name for name in wanted if name not in NAMES]:
        parser().error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    if asked.rounds is not None and asked.rounds < 1:
        parser().error("--rounds must be 1 or more")
    if asked.seeds is not None and asked.seeds < 1:
        parser().error("--seeds must be 1 or more")
    if rows:
        wanted.append("mount")
    if parts:
        wanted.append("daemon")
    if scenarios:
        wanted.append("queue")
    options = Options(
        rows=rows,
        parts=parts,
        scenarios=scenarios,
        seeds=asked.seeds,
        rounds=asked.rounds,
        quick=asked.quick,
    )
    return Asked(tuple(dict.fromkeys(wanted)) or NAMES, options, asked.json)


def end(number: int, _: object) -> NoReturn:
    """Takes mounts and daemons away, as an error does; another signal does not cut that short."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> int:
    """Runs what was asked for."""
    signal.signal(signal.SIGTERM, end)
    asked = read()
    print(
        f"# {platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} processors"
    )
    ratios: Ratios = {}
    for name in asked.names:
        print(f"\n## {name}\n")
        ratios = {**ratios, **importlib.import_module(f"bench.{name}").main(asked.options)}
    print_verdicts(ratios)
    if asked.json is not None:
        asked.json.write_text(json.dumps(asked.options.kept, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
