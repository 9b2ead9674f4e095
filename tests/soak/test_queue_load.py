"""Two hundred changes by twenty agents, with tests of some seconds, through a real daemon's queue."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.people import System, system_in
from tests.system.queue_load import FILES, Load, check, run

CHANGES = 1_000 if os.environ.get("PATCHWORK_SOAK") == "1" else 200
SECONDS = 2.0
WIDTH = 8


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A small repository with its daemon; checked and stopped afterwards."""
    with system_in(tmp_path / "repo", FILES) as found:
        yield found


@pytest.mark.soak
@pytest.mark.timeout(CHANGES * 30)
@pytest.mark.parametrize("policy", ["window", "tree"])
def test_every_promise_holds_for_long(
    system: System, policy: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the short form promises. The time is told beside the least that it can take."""
    seed = int(request.config.getoption("hypothesis_seed"))
    load = Load(policy, agents=20, changes=CHANGES, width=WIDTH, seconds=SECONDS, seed=seed)
    results, took_s = run(system, load)
    check(system, load, results)
    oracle_s = CHANGES * SECONDS / WIDTH
    landed = sum(result.item["state"] == "landed" for result in results)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{policy}: {CHANGES} changes, {landed} landed, in {took_s:.0f} s: "
            f"{took_s / oracle_s:.2f} of one test for each, {WIDTH} at once\n"
        )
