"""Several threads, and several processes, in one workspace at once."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fs.conftest import ROOT, Mounted
from tests.fs.worker import RECORD, apart, together

THREADS, PROCESSES = 3, 2
WORKERS = THREADS + PROCESSES


def _places(mounted: Mounted, plain: Path, ws: Path) -> list[tuple[Path, Path]]:
    """A directory for each worker, in the workspace and on disk, with the same files."""
    pairs = []
    for number in range(WORKERS):
        shown, beside = ws / f"w{number}", plain / f"w{number}"
        for top in (shown, beside):
            shutil.copytree(mounted.main, top, symlinks=True)
            for place, directories, files in os.walk(top):
                for name in (*directories, *files):
                    os.utime(Path(place, name), ns=(1, 1), follow_symlinks=False)
        pairs.append((shown, beside))
    return pairs


def _run(how: str, pairs: list[tuple[Path, Path]], seed: int, count: int) -> list[str]:
    """Lets threads and processes work; what each found wrong."""
    command = [sys.executable, "-m", "tests.fs.worker", how]
    processes = [
        subprocess.Popen(
            [*command, shown, plain, str(seed + number), str(count)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        for number, (shown, plain) in enumerate(pairs[:PROCESSES])
    ]
    with ThreadPoolExecutor(THREADS) as pool:
        threads = [
            pool.submit(apart, str(shown), str(plain), seed + number, count)
            if how == "apart"
            else pool.submit(together, str(shown), seed + number, count)
            for number, (shown, plain) in enumerate(pairs[PROCESSES:], PROCESSES)
        ]
        wrong = [line for thread in threads for line in thread.result()]
    for process in processes:
        out, _ = process.communicate()
        assert process.returncode == 0
        wrong += json.loads(out)
    return wrong


def work_apart(mounted: Mounted, directory: Path, *, seed: int, count: int) -> None:
    """Everybody in a directory of their own: outcomes and trees are those of the disk."""
    ws = mounted.workspace()
    plain = directory / "plain"
    plain.mkdir()
    assert _run("apart", _places(mounted, plain, ws), seed, count) == []


def work_together(mounted: Mounted, *, seed: int, count: int) -> None:
    """Everybody at the same files: nothing is counted twice, or lost, or torn."""
    ws = mounted.workspace("shared")
    (ws / "count").write_bytes(b"")
    assert _run("together", [(ws, ws)] * WORKERS, seed, count) == []
    assert int((ws / "count").read_bytes()) == count * WORKERS
    records = (ws / "records").read_bytes().splitlines(keepends=True)
    wanted = [RECORD % (number, seed + n) for n in range(WORKERS) for number in range(count)]
    assert sorted(records) == sorted(wanted)
    for n in range(WORKERS):
        own = [record for record in records if record.endswith(b" of %08d\n" % (seed + n))]
        assert own == sorted(own)
    left = {path.name for path in ws.iterdir()}
    assert not any(name == "lock" or name.startswith("only-") for name in left)


@pytest.mark.timeout(180)
def test_threads_and_processes_apart(
    mounted: Mounted, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A hundred calls each."""
    seed = int(request.config.getoption("hypothesis_seed")) % 10**7
    work_apart(mounted, tmp_path, seed=seed, count=100)


@pytest.mark.timeout(180)
def test_threads_and_processes_at_the_same_files(
    mounted: Mounted, request: pytest.FixtureRequest
) -> None:
    """Twenty rounds each."""
    seed = int(request.config.getoption("hypothesis_seed")) % 10**7
    work_together(mounted, seed=seed, count=20)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_threads_and_processes_for_long(
    mounted: Mounted, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Thousands of calls each."""
    seed = int(request.config.getoption("hypothesis_seed")) % 10**7
    work_apart(mounted, tmp_path, seed=seed, count=5_000)
    work_together(mounted, seed=seed, count=1_000)
