"""The daemon at work: how it answers, what it holds, appends and lands: `./dev bench daemon [PART …]`.

`docs/benchmarks.md` says what each part does.
"""

import importlib
import tempfile
from pathlib import Path

from bench.options import Options
from bench.targets import Ratios

PARTS = ("busy", "memory", "append", "landing")


def main(options: Options) -> Ratios:
    """Runs the parts asked for, each in a project of its own."""
    ratios: Ratios = {}
    for part in options.parts or PARTS:
        print(f"### {part}\n")
        with tempfile.TemporaryDirectory(prefix="patchwork-bench-") as room:
            module = importlib.import_module(f"bench.daemon.{part}")
            ratios = {**ratios, **module.main(Path(room), options)}
        print(flush=True)
    return ratios
