"""Every step of every way of changing a workspace fails, in every manner."""

import pytest

from tests.fs.conftest import Mounted, mounted
from tests.fs.test_faults import WAYS, Way, fail_each_step, failing

__all__ = ["failing", "mounted"]


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["full", "quota", "io", "locked"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_each_step_may_fail(failing: Mounted, way: Way, kind: str) -> None:
    """What `tests/fs/test_faults.py` promises, for all of them."""
    fail_each_step(failing, way, kind)
