"""Promise 3 while several workspaces edit one change: a reader sees an old or a new file."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.system.people import System, system_in
from tests.system.sides import content

ROOT = Path(__file__).resolve().parents[2]
FILES = 4
START = {f"s{number}": content(0, b"start") for number in range(FILES)}


def edit_from_all_sides(system: System, directory: Path, *, seconds: float, seed: int) -> int:
    """Two that edit in place, one that does not, and two readers; how many reads were right.

    Who writes in place is seen at it in that workspace, as on any disk: readers look into the
    workspace of the one who does not, and at a view of the change.
    """
    change = system.change("Sides")
    workspaces = [system.workspace(change) for _ in range(3)]
    (workspaces[0] / "log").write_bytes(b"")
    system.post("views", id="sides", owner="tester", overlays=[{"change_id": change}])
    shown = [workspaces[2], system.mount / "views/sides"]
    commands = [
        [
            "write",
            directory / f"writer-{n}",
            seed + n,
            FILES,
            int(n == 2),
            own,
            *_others(own, shown),
        ]
        for n, own in enumerate(workspaces)
    ]
    commands += [["read", directory / f"reader-{n}", seed - n, FILES, *shown] for n in range(2)]
    running = [
        subprocess.Popen([sys.executable, "-m", "tests.system.sides", *map(str, each)], cwd=ROOT)
        for each in commands
    ]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and all(each.poll() is None for each in running):
        time.sleep(0.1)
    (directory / "stop").touch()
    for each in running:
        each.wait(60)
    assert [each.returncode for each in running] == [0] * len(running)
    found = [json.loads(Path(str(each[1])).read_text()) for each in commands]
    assert [each["wrong"] for each in found] == [[] for _ in found]
    assert all(each["count"] > seconds / 2 for each in found)
    return int(sum(each["count"] for each in found[3:]))


def _others(own: Path, shown: list[Path]) -> list[Path]:
    return [place for place in shown if place != own]


def test_edits_from_all_sides_are_seen_whole(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """In place, growing, shrinking, by mapping and by rename, up to megabytes, for some seconds.

    No content is a mixture or cut, none has another's size, none comes before one seen earlier; what
    is appended grows by whole lines; a file held open stays a whole one; and each save is in every
    other place when its ``close`` has returned.
    """
    seed = int(request.config.getoption("hypothesis_seed"))
    with system_in(tmp_path / "repo", START) as system:
        assert edit_from_all_sides(system, tmp_path, seconds=6, seed=seed) > 100
