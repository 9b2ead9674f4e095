"""flock, fcntl and open-file-description locks exclude programs, on whichever path they came."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fs.conftest import Mounted, is_tracked

pytestmark = pytest.mark.timeout(60)

# Takes a lock, says how it went, and keeps it until its input ends. `wait` waits for the lock.
HOLDER = """
import fcntl, os, struct, sys
kind, mode, path = sys.argv[1:4]
start, length = (int(n) for n in (sys.argv[4:6] or (0, 0)))
fd = os.open(path, os.O_RDWR)
wait = mode.endswith("wait")
shared = mode.startswith("shared")
try:
    if kind == "flock":
        how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(fd, how if wait else how | fcntl.LOCK_NB)
    else:
        which = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
        lock = struct.pack("hhqqi4x", which, os.SEEK_SET, start, length, 0)
        wanted = {
            ("fcntl", False): fcntl.F_SETLK,
            ("fcntl", True): fcntl.F_SETLKW,
            ("ofd", False): fcntl.F_OFD_SETLK,
            ("ofd", True): fcntl.F_OFD_SETLKW,
        }
        fcntl.fcntl(fd, wanted[kind, wait], lock)
except BlockingIOError:
    print("refused", flush=True)
    sys.exit()
print("locked", flush=True)
sys.stdin.read()
"""


class Holder:
    """A program that asks for a lock."""

    def __init__(self, kind: str, mode: str, path: Path, *span: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, kind, mode, str(path), *map(str, span)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def said(self) -> str:
        """Waits for what became of it."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        """Ends it, and its lock."""
        self.process.communicate("")
        assert self.process.returncode == 0


def asks(kind: str, mode: str, path: Path, *span: int) -> str:
    """What a program is told that wants a lock for a moment."""
    holder = Holder(kind, mode, path, *span)
    said = holder.said()
    holder.end()
    return said


@pytest.fixture
def paths(mounted: Mounted, place: Path) -> Iterator[tuple[Path, Path]]:
    """One file by two ways: the workspace in the mount, and the directory it is attached to."""
    (place / "lock").write_text("x" * 100)
    attached = mounted.repository.parent / "attached"
    mounted.call("create_change", "Other", author="tester")
    workspace = mounted.call("create_workspace", "other", agent="tester", directory=str(attached))
    mounted.call("attach", workspace["id"])
    name = "lock" if is_tracked(place) else "lock.log"
    (attached / name).write_text("x" * 100)
    yield mounted.mountpoint / "ws" / workspace["id"] / name, attached / name
    mounted.call("detach", workspace["id"])


@pytest.mark.parametrize("kind", ["flock", "fcntl", "ofd"])
def test_a_lock_excludes(paths: tuple[Path, Path], kind: str) -> None:
    """One writer or many readers; who waits gets it when it is free, also after a kill."""
    one, other = paths
    first = Holder(kind, "exclusive", one)
    assert first.said() == "locked"
    assert asks(kind, "exclusive", other) == "refused"
    assert asks(kind, "shared", other) == "refused"
    assert asks(kind, "exclusive", one) == "refused"
    waiting = Holder(kind, "exclusive-wait", other)
    first.end()
    assert waiting.said() == "locked"
    assert asks(kind, "exclusive", one) == "refused"
    waiting.process.kill()
    waiting.process.communicate()
    readers = [Holder(kind, "shared", path) for path in paths]
    assert [reader.said() for reader in readers] == ["locked", "locked"]
    assert asks(kind, "exclusive", one) == "refused"
    for reader in readers:
        reader.end()
    assert asks(kind, "exclusive", one) == "locked"


def test_ranges_are_locked_apart(paths: tuple[Path, Path]) -> None:
    """Two programs lock different bytes; the kinds of fcntl locks know one another."""
    one, other = paths
    first = Holder("fcntl", "exclusive", one, 0, 10)
    assert first.said() == "locked"
    assert asks("fcntl", "exclusive", other, 10, 10) == "locked"
    assert asks("fcntl", "exclusive", other, 9, 1) == "refused"
    assert asks("ofd", "exclusive", other, 5, 10) == "refused"
    assert asks("ofd", "shared", other, 50, 0) == "locked"
    first.end()
    assert asks("ofd", "exclusive", other, 5, 10) == "locked"


def test_a_lock_stays_while_the_file_is_saved(mounted: Mounted, place: Path) -> None:
    """Writing and capturing a file does not lose the locks on it."""
    file = place / "lock"
    file.write_text("one")
    holder = Holder("flock", "exclusive", file)
    assert holder.said() == "locked"
    file.write_text("two")
    mounted.call("barrier")
    assert asks("flock", "exclusive", file) == "refused"
    holder.end()
