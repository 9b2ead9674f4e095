"""Agents at the queue of a real daemon."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.people import System, system_in
from tests.system.queue_load import FILES, Load, check, run


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A small repository with its daemon; checked and stopped afterwards."""
    with system_in(tmp_path / "repo", FILES) as found:
        yield found


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("policy", "width"), [("linear", 1), ("window", 6), ("tree", 6), ("batch", 6), ("auto", 6)]
)
def test_every_promise_holds_under_many_agents(
    system: System, policy: str, width: int, request: pytest.FixtureRequest
) -> None:
    """What fails or conflicts leaves, for a reason that can be checked; the rest is main."""
    seed = int(request.config.getoption("hypothesis_seed"))
    load = Load(policy, agents=5, changes=15, width=width, seconds=0.1, seed=seed)
    results, _ = run(system, load)
    check(system, load, results)
