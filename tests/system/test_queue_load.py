"""Agents at the queue of a real daemon."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.people import System, system_in
from tests.system.queue_load import FILES, TARGETS, Load, check, run


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


@pytest.mark.timeout(180)
@pytest.mark.parametrize("policy", ["linear", "window", "tree"])
def test_every_promise_holds_with_a_rule_of_independence(
    system: System, policy: str, request: pytest.FixtureRequest
) -> None:
    """A command tells targets while agents work; who overtakes has a proof that verify believes."""
    seed = int(request.config.getoption("hypothesis_seed"))
    load = Load(policy, 6, 18, width=6, seconds=0.3, seed=seed, target_cmd=TARGETS)
    results, _ = run(system, load)
    check(system, load, results)
    if policy != "linear":
        seqs = [row["seq"] for row in system.pages("landings") if row["attempt_id"] is not None]
        certificates = [system.get(f"landings/{seq}/certificate") for seq in seqs]
        assert any("independence" in certificate for certificate in certificates)
