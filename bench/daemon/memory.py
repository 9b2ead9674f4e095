"""What the daemon holds in memory: many workspaces that were listed, and many operations captured."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.mount.calls import Calls
from bench.options import Options
from bench.project import Project, make_checkout, patchwork, run, serving
from bench.targets import Ratios

LIST = ("ls", "-lR", ".")
OPS_A_DIRECTORY = 1_000
OP_BYTES = 64


@dataclass(frozen=True)
class Sizes:
    """How much is done."""

    files: int = 60_000
    workspaces: int = 50
    ops: int = 100_000


QUICK = Sizes(files=3_000, workspaces=10, ops=5_000)


@dataclass(frozen=True)
class Step:
    """What the daemon held after something."""

    after: str
    now_mib: float
    peak_mib: float
    seconds: float
    """What it took."""


def main(room: Path, options: Options) -> Ratios:
    """Prints the table."""
    steps = measure(room, QUICK if options.quick else Sizes())
    print("| after | resident, MiB | peak, MiB | took, s |")
    print("| --- | --- | --- | --- |")
    for step in steps:
        cells = f"{step.now_mib:.0f} | {step.peak_mib:.0f} | {step.seconds:.1f}"
        print(f"| {step.after} | {cells} |")
    options.keep("memory", [asdict(step) for step in steps])
    return {}


def measure(room: Path, sizes: Sizes) -> list[Step]:
    """Lists workspaces, then creates files in the last one."""
    directory = room / "project"
    directory.mkdir()
    make_checkout(directory, sizes.files)
    patchwork(directory, "init")
    calls = Calls(room)
    steps: list[Step] = []
    with serving(directory) as project:
        started = time.perf_counter()

        def stepped(after: str) -> None:
            nonlocal started
            took_s = time.perf_counter() - started
            now, peak = (project.memory_mib(field) for field in ("VmRSS", "VmHWM"))
            steps.append(Step(after, now, peak, took_s))
            started = time.perf_counter()

        change = project.create_change("Bench")
        stepped(f"the start, {sizes.files:,} files in main")
        for number in range(1, sizes.workspaces + 1):
            run(LIST, Path(str(project.create_workspace(change)["path"])))
            if number in (1, sizes.workspaces // 5, sizes.workspaces):
                stepped(f"workspaces listed (`ls -lR`): {number}")
        workspace = _alone(project)
        stepped("another workspace")
        for first in range(0, sizes.ops, OPS_A_DIRECTORY):
            (workspace / f"new{first}").mkdir()
            number = min(OPS_A_DIRECTORY, sizes.ops - first)
            calls("create", f"new{first}", number, OP_BYTES, within=workspace)
        project.request("GET", "head")
        stepped(f"{sizes.ops:,} operations captured there")
    return steps


def _alone(project: Project) -> Path:
    """A workspace on a change that nothing else shows."""
    return Path(str(project.create_workspace(project.create_change("Alone"))["path"]))
