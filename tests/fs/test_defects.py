"""A defect in what the mount does by itself ends neither the mount nor that work."""

import os
import time
from collections.abc import Callable

from tests.fs.conftest import Mounted
from tests.support import inotify
from tests.support.inotify import watching

PATIENCE_S = 20


def until(condition: Callable[[], bool], mounted: Mounted) -> None:
    """Waits for something that happens by itself."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, mounted.log.read_text()
        time.sleep(0.05)


def complained(mounted: Mounted, what: str) -> Callable[[], bool]:
    """Whether the log says so by now; the test expects it."""
    mounted.expected_log += [what, "Traceback"]
    return lambda: what in mounted.log.read_text()


def test_a_file_that_is_not_captured(mounted: Mounted) -> None:
    """It is captured later, or when somebody asks; others are captured meanwhile."""
    ws = mounted.workspace()
    with (ws / "open").open("w") as file:
        mounted.call("break", "pwfs.fs.writing.Writing.capture", 1)
        file.write("written\n")
        file.flush()
        until(complained(mounted, "an open file is not captured"), mounted)
        (ws / "other").write_text("other\n")
        assert mounted.read("ws-work", "other") == b"other\n"
        assert mounted.read("ws-work", "open") == b"written\n"


def test_what_a_workspace_holds_is_not_logged(mounted: Mounted) -> None:
    """What came and may go again is logged when somebody asks."""
    ws = mounted.workspace()
    mounted.call("break", "pwfs.fs.holding.Holding.settle_since", 1)
    (ws / "new").touch()
    until(complained(mounted, "what is held is not logged"), mounted)
    assert mounted.read("ws-work", "new") == b""


def test_attributes_that_are_not_saved(mounted: Mounted) -> None:
    """They are saved with the next try, and the trouble is told of until then."""
    ws = mounted.workspace()
    mounted.call("break", "pwfs.fs.attributes.AttrTable.save", 2)
    os.utime(ws / "README.md", ns=(1, 2))
    until(complained(mounted, "are not saved; trying again"), mounted)
    until(lambda: mounted.call("troubles") == [], mounted)
    mounted.kill()
    mounted.start()
    assert (ws / "README.md").stat().st_mtime_ns == 2


def test_what_was_discarded_is_not_removed(mounted: Mounted) -> None:
    """It is removed with the next try."""
    ws = mounted.workspace()
    (ws / "build").mkdir()
    (ws / "build/out").touch()
    mounted.call("break", "pwfs.fs.mount.shutil.rmtree", 1)
    mounted.call("destroy_workspace", ws.name)
    until(complained(mounted, "what was deleted is not removed"), mounted)
    work = mounted.repository / ".patchwork/work"
    until(lambda: list(work.iterdir()) == [], mounted)
    until(lambda: mounted.call("troubles") == [], mounted)


def test_watchers_that_are_not_told(mounted: Mounted) -> None:
    """They miss one change, and are told of the next."""
    ws, other = mounted.workspace(), mounted.workspace_on("work")
    with watching(ws) as watch:
        mounted.call("break", "pwfs.fs.watching.Announcer._announce", 1)
        (other / "missed").touch()
        until(complained(mounted, "watchers are not told of changes"), mounted)
        (other / "seen").touch()
        watch.until(inotify.CREATE, "seen")
    until(lambda: mounted.call("troubles") == [], mounted)


def test_a_kernel_that_is_not_told(mounted: Mounted) -> None:
    """The names are looked up anew: nobody waits for ever, and nobody sees the old file."""
    ws, other = mounted.workspace(), mounted.workspace_on("work")
    assert (ws / "README.md").read_text() == "hello\n"
    mounted.call("break", "pyfuse3.invalidate_entry", 1)
    (other / "README.md").write_text("new\n")
    until(complained(mounted, "invalidation failed"), mounted)
    assert (ws / "README.md").read_text() == "new\n"
