"""A short day of agents leaves nothing behind in the daemon."""

from pathlib import Path

import pytest

from tests.system.day import check_left_nothing, spend
from tests.system.people import system_in

FILES = {f"src/f{number}.txt": "".join(f"{n}\n" for n in range(60)) for number in range(20)}
IGNORED = {".gitignore": "build/\n*.tmp\n"}


@pytest.mark.xdist_group("caches")
@pytest.mark.timeout(180)
def test_a_short_day_leaves_nothing_behind(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Six agents, twice a few seconds: no inode, descriptor, socket, thread or process is left."""
    seed = int(request.config.getoption("hypothesis_seed"))
    with system_in(tmp_path / "repo", {**FILES, **IGNORED}) as system:
        system.request("PUT", "config/test-cmd", json={"value": "true"})
        check_left_nothing(spend(system, agents=6, parts=2, part_s=2.5, seed=seed))
