"""Promise 4 at given points: the daemon dies at each system call by which it changes its disk."""

import pytest

from tests.fs.conftest import Mounted
from tests.fs.crashpoints import die_at_each_step
from tests.fs.test_faults import WAYS


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["save", "set aside", "save by renaming", "create by renaming"])
def test_a_kill_at_each_step(mounted: Mounted, name: str) -> None:
    """What returned is there, what did not is as before or as after. All ways: `tests/soak`."""
    assert die_at_each_step(mounted, next(way for way in WAYS if way.name == name), "after") >= 1
