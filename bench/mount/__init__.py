"""The mount beside the disk and two FUSE filesystems in C: `./dev bench mount [ROW …]`.

ext4 (the plain directory), fuse-overlayfs, bindfs and a workspace show the same real tree and are
measured in one run, in turn, several rounds. It takes root: caches are dropped. `docs/benchmarks.md`
says what each row does.
"""

from bench.mount.report import print_table
from bench.mount.rows import QUICK, Sizes
from bench.mount.run import ROWS, chosen, measure, possible
from bench.options import Options
from bench.targets import Ratios

__all__ = ["ROWS", "main"]


def main(options: Options) -> Ratios:
    """Measures the rows asked for, prints the table, and returns the ratios."""
    sizes = QUICK if options.quick else Sizes()
    rounds = options.rounds or (3 if options.quick else 5)
    scenarios = possible(chosen(options.rows))
    samples, peers = measure(scenarios, rounds=rounds, sizes=sizes)
    rows = [row for scenario in scenarios for row in scenario.rows]
    if options.rows:
        rows = [row for row in rows if row.name in options.rows]
    print_table(samples, rows, peers)
    options.keep("mount", samples.as_json(rows, peers))
    return samples.ratios(rows, [peer for peer in peers if peer != "patchwork"])
