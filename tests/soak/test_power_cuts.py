"""A hundred power cuts on one disk."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fs.test_power_loss import Machine, cut_again_and_again

CUTS = 100
SIZE_BYTES = 32 << 30


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine of its own."""
    made = Machine(tmp_path, SIZE_BYTES)
    try:
        yield made
    finally:
        made.end()


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_what_was_fsynced_survives_many_power_cuts(
    machine: Machine, request: pytest.FixtureRequest
) -> None:
    """What `test_what_was_fsynced_survives_power_loss` promises, for longer."""
    seed = int(request.config.getoption("hypothesis_seed"))
    cut_again_and_again(machine, times=CUTS, seed=seed)
