"""On kernels that do not know FUSE_NOTIFY_INC_EPOCH readers see every write, too."""

import os
import threading
from pathlib import Path

import pytest

from tests.fs import test_following as following
from tests.fs.conftest import Mounted

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def old(mounted: Mounted) -> Mounted:
    """A mount whose kernel says that it knows no epochs."""
    mounted.stop()
    mounted.arguments = ["--no-epochs"]
    mounted.start()
    return mounted


def test_co_workers_see_each_other(old: Mounted) -> None:
    """Every operation of one is seen in the other when it has returned."""
    following.test_co_workers_on_one_change_see_each_other(old)


def test_co_workers_at_once(old: Mounted) -> None:
    """Threads in two workspaces and readers end with one tree."""
    following.test_co_workers_at_once(old)


def test_requests_that_would_wait_for_each_other_go_on(old: Mounted) -> None:
    """Two programs that rename in each other's directories: each holds what the other's name needs."""
    places = [old.workspace(), old.workspace_on("work")]
    for number in range(2):
        (places[number] / f"of-{number}").write_text(str(number))
    failures: list[str] = []

    def rename(place: Path, name: str) -> None:
        for turn in range(30):
            (place / name).rename(place / f"{name}-moved")
            (place / f"{name}-moved").rename(place / name)
            if not os.path.exists(place / name):  # noqa: PTH110
                failures.append(f"{name} is gone in turn {turn}")

    threads = [
        threading.Thread(target=rename, args=(place, f"of-{number}"))
        for number, place in enumerate(places)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
        assert not thread.is_alive()
    assert failures == []
