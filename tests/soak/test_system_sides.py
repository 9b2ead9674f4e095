"""Edits from all sides of one change, for long."""

import os
from pathlib import Path

import pytest

from tests.system.people import system_in
from tests.system.test_live_sides import START, edit_from_all_sides

SECONDS = 3_600 if os.environ.get("PATCHWORK_SOAK") == "1" else 60


@pytest.mark.soak
def test_edits_from_all_sides_are_seen_whole_for_long(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """What `test_edits_from_all_sides_are_seen_whole` promises, for longer."""
    seed = int(request.config.getoption("hypothesis_seed"))
    with system_in(tmp_path / "repo", START) as system:
        edits = edit_from_all_sides(system, tmp_path, seconds=SECONDS, seed=seed)
        assert edits > SECONDS
