"""Hundreds of crashes in one repository."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.crashes import crash, kill_under_co_workers
from tests.system.people import System, system_in
from tests.system.test_crashes import workers_in

CRASHES = 1_000 if os.environ.get("PATCHWORK_SOAK") == "1" else 200
LIMIT_S = CRASHES * 15


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A small repository with its daemon; checked and stopped afterwards."""
    files = {"README.md": "hello\n", "src/app.py": "".join(f"{n}\n" for n in range(200))}
    with system_in(tmp_path / "repo", files) as found:
        yield found


@pytest.mark.soak
@pytest.mark.timeout(LIMIT_S)
def test_no_save_is_lost_in_many_crashes(
    system: System, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """What `test_no_save_is_lost_when_the_daemon_is_killed` promises, for longer."""
    seed = int(request.config.getoption("hypothesis_seed"))
    crash(system, workers_in(system, tmp_path, 4), times=CRASHES, seed=seed)


@pytest.mark.soak
@pytest.mark.timeout(LIMIT_S)
def test_many_kills_leave_nobody_hanging(system: System) -> None:
    """What `test_a_kill_leaves_nobody_hanging` promises, for longer."""
    kill_under_co_workers(system, times=CRASHES)
