"""Hundreds of landings under readers."""

import os
from pathlib import Path

import pytest

from tests.system.landings import START, land_under_readers
from tests.system.people import system_in

LANDINGS = 5_000 if os.environ.get("PATCHWORK_SOAK") == "1" else 200


@pytest.mark.soak
def test_readers_see_old_or_new_for_long(tmp_path: Path) -> None:
    """What `test_readers_see_old_or_new_and_nothing_else` promises, for longer."""
    with system_in(tmp_path / "repo", START) as system:
        assert land_under_readers(system, tmp_path, LANDINGS) > LANDINGS
