"""The daemon dies before and after every step of every way of changing a workspace."""

import pytest

from tests.fs.conftest import Mounted, mounted
from tests.fs.crashpoints import die_at_each_step
from tests.fs.test_faults import WAYS, Way

__all__ = ["mounted"]


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["before", "after"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_kill_at_each_step(mounted: Mounted, way: Way, kind: str) -> None:
    """What `tests/fs/test_crash_points.py` promises, for all of them."""
    die_at_each_step(mounted, way, kind)
