"""Promise 3 while main moves: a reader sees the old content or the new one."""

from pathlib import Path

from tests.system.landings import START, land_under_readers
from tests.system.people import Watcher, system_in


def test_readers_see_old_or_new_and_nothing_else(tmp_path: Path) -> None:
    """Two readers of main and of a workspace, by read and mmap, under twenty landings.

    No content is a mixture or cut, none has another's size, none is older than one seen before,
    and no file is missing. Listings and names that were not there follow at once; the past stays;
    a watcher sees every event once.
    """
    with system_in(tmp_path / "repo", START) as system:
        watcher = Watcher(system.project)
        assert land_under_readers(system, tmp_path, 20) > 100
        events = system.events()
        watcher.saw(events[-1]["id"])
        assert watcher.close() == events
