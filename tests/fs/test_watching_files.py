# The system calls are what is tested.
"""Who watches a file itself, and not its directory, hears when it is changed or removed elsewhere."""

import os
from pathlib import Path

import pytest

from tests.fs.conftest import Mounted
from tests.support import inotify
from tests.support.inotify import watching

GONE = inotify.ATTRIB | inotify.DELETE_SELF

# These drop the kernel's caches, as does what they may not run beside.
pytestmark = [pytest.mark.timeout(60), pytest.mark.xdist_group("caches")]


@pytest.fixture
def pair(mounted: Mounted) -> tuple[Path, Path]:
    """Two workspaces on one change: the one that watches, and the one that writes."""
    return mounted.workspace(), mounted.workspace_on("work")


def forget_names() -> None:
    """Has the kernel drop every name that nobody uses."""
    Path("/proc/sys/vm/drop_caches").write_text("2")


def test_who_watches_a_file_whose_name_was_forgotten(pair: tuple[Path, Path]) -> None:
    """Changed, or removed, elsewhere: the one file that is watched is told that it is gone."""
    ws, other = pair
    with watching(ws / "README.md", ws / "run.sh") as watch:
        forget_names()
        (other / "README.md").write_text("new\n")
        watch.until(inotify.DELETE_SELF, "")
        (other / "run.sh").unlink()
        watch.until(inotify.IGNORED, "")
        kinds = [(event.watched.name, event.mask & GONE) for event in watch.rest()]
    for name in ("README.md", "run.sh"):
        assert [kind for told, kind in kinds if told == name and kind] == [
            inotify.ATTRIB,
            inotify.DELETE_SELF,
        ]
    assert (ws / "README.md").read_text() == "new\n"
    assert not (ws / "run.sh").exists()


def test_who_watches_an_open_file(pair: tuple[Path, Path]) -> None:
    """Told at once, not when it is closed; who has it open reads on in the old content."""
    ws, other = pair
    with watching(ws / "README.md") as watch, (ws / "README.md").open() as file:
        (other / "README.md").write_text("new\n")
        watch.until(inotify.ATTRIB, "")
        watch.until(inotify.DELETE_SELF, "")
        assert os.fstat(file.fileno()).st_nlink == 0
        assert file.read() == "hello\n"


def test_one_name_of_several_is_lost(pair: tuple[Path, Path]) -> None:
    """Who watches the file hears that it has a name less, and goes on watching it."""
    ws, other = pair
    (ws / "first").write_text("shared\n")
    os.link(ws / "first", ws / "second")
    assert (other / "first").read_text() == "shared\n"
    with watching(ws / "second") as watch:
        forget_names()
        (other / "first").unlink()
        watch.until(inotify.ATTRIB, "")
        assert not any(event.mask & inotify.DELETE_SELF for event in watch.rest())
        assert (ws / "second").stat().st_nlink == 1
        (ws / "second").write_text("more\n")
        watch.until(inotify.MODIFY, "")


def test_who_watches_the_directory_sees_no_more_of_it(pair: tuple[Path, Path]) -> None:
    """What is told to who watches the file is nothing that happened in its directory."""
    ws, other = pair
    with watching(ws, ws / "README.md", ws.parent.parent) as watch:
        forget_names()
        (other / "README.md").write_text("new\n")
        watch.until(inotify.DELETE_SELF, "")
        watch.until(inotify.CLOSE_WRITE, "README.md")
        found = {event.mask & inotify.CHANGES for event in watch.rest() if event.watched == ws}
    assert found == {inotify.MODIFY, inotify.CLOSE_WRITE}
