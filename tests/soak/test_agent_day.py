"""Twenty minutes of sixteen agents."""

import os
import sys
from pathlib import Path

import pytest

from tests.system.day import check_left_nothing, spend
from tests.system.people import system_in
from tests.system.test_agent_day import FILES, IGNORED

PARTS = 60 if os.environ.get("PATCHWORK_SOAK") == "1" else 10
PART_S = 120.0


@pytest.mark.soak
@pytest.mark.timeout(PARTS * PART_S * 2 + 600)
def test_a_day_leaves_nothing_behind(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """What `test_a_short_day_leaves_nothing_behind` promises, for long."""
    seed = int(request.config.getoption("hypothesis_seed"))
    with system_in(tmp_path / "repo", {**FILES, **IGNORED}) as system:
        system.request("PUT", "config/test-cmd", json={"value": "true"})
        day = spend(system, agents=16, parts=PARTS, part_s=PART_S, seed=seed)
        sys.stdout.write(day.told() + "\n")
        check_left_nothing(day)
