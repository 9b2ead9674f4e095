"""The daemon dies before and after each step of changing a workspace."""

import errno
from typing import Any

from tests.fs.conftest import Mounted, lazily_unmount
from tests.fs.test_faults import LARGE, NEW, OLD, STEPS_MAX, Way, agree, attempt, furnish, shown

GONE = {errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.ENODEV}
TWO_PLACES = {"rename into the log", "rename out of the log", "rename a directory"}
"""What is partly in the log and partly beside it: a kill in between may leave both names."""


def die_at_each_step(mounted: Mounted, way: Way, kind: str) -> int:
    """Kills the daemon at each step in its turn; how often it died.

    What had returned is there. What had not is as before, or as it would be afterwards, and a file that
    was being written is recovered as far as it was written. The log has what the mount shows.
    """
    ws = mounted.workspace()
    control = ws / "control"
    furnish(control)
    way.prepare(control)
    before = shown(control)
    assert attempt(way.act, control) is None
    after = shown(control)
    for step in range(1, STEPS_MAX):
        place = ws / f"at{step}"
        furnish(place)
        mounted.call("barrier")
        way.prepare(place)
        mounted.call("fail", kind, step)
        told = attempt(way.act, place)
        assert mounted.process is not None
        if told is None and mounted.process.poll() is None:
            if not mounted.call("heal"):
                return step - 1
        assert told is None or told.errno in GONE, (step, told)
        mounted.process.wait(20)
        mounted.kill()
        lazily_unmount(mounted.mountpoint)
        mounted.start()
        _check(way, told is None, shown(place), before, after, step)
        agree(mounted, place, ws)
    raise AssertionError("there is no last step")


def _check(
    way: Way,
    is_done: bool,
    now: dict[str, Any],
    before: dict[str, Any],
    after: dict[str, Any],
    step: int,
) -> None:
    if now == after or (now == before and not is_done):
        return
    assert not is_done or way.name in TWO_PLACES, step
    if way.name in TWO_PLACES:
        kept = {str(value) for value in now.values()}
        lost = [name for name, value in before.items() if str(value) not in kept]
        assert [name for name in lost if not isinstance(before[name][0], str)] == [], step
        return
    assert not way.is_whole, (step, sorted(now))
    for name, value in now.items():
        if value in (before.get(name), after.get(name)):
            continue
        content = value[0]
        assert content in (OLD, b"") or NEW.startswith(content) or LARGE.startswith(content), step
