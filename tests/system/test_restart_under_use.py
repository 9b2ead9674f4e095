"""A stop and a start, and a kill, under programs that hold a workspace open.

The table of docs/operations.md, "What survives a restart", is what is asserted here.
"""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.people import System, is_running, until

HOLDER = Path(__file__).with_name("holder.py")
SIGNALS = (signal.SIGTERM, signal.SIGKILL)
WITHIN_S = 30

REMEMBERED = ("read", "fstat", "stat .", "cd .")
"""What the kernel answers by itself for as long as it remembers it; else ENOTCONN."""
KEPT = {"flock": "ok", "mapping": "ok"}
"""What the kernel does by itself."""
LOST = {
    "read, not cached": "ENOTCONN",
    "write": "ENOTCONN",
    "fsync": "ENOTCONN",
    "readdir": "ENOTCONN",
    "openat": "ENOTCONN",
    "mapping, not cached": "SIGBUS",
    "watch": "silent",
}
"""What went with the daemon, for whoever got it before."""
WORKS = {"getcwd": "ok", "open in cwd": "ok", "path": "ok"}


class Holder:
    """A program that holds a workspace open."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, word: str = "look") -> dict[str, str]:
        """What everything gives it now."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        found: dict[str, str] = json.loads(self._process.stdout.readline())
        assert float(found.pop("seconds")) < 5, "nothing hangs"
        remembered = {found.pop(name) for name in REMEMBERED}
        assert remembered <= {"ok", "ENOTCONN"}
        return found


@contextmanager
def holding(top: Path) -> Iterator[Holder]:
    """Starts one."""
    with subprocess.Popen(
        [sys.executable, HOLDER, str(top)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "holding\n"
        yield Holder(process)
        process.stdin.close()


def end_daemon(system: System, number: signal.Signals) -> None:
    """Ends the daemon, and waits until it has ended and the kernel has cut the connection.

    A request that is under way at that moment would get ECONNABORTED.
    """
    system.disconnect()
    mount = system.mount
    pid = system.project.kill(number)
    until(lambda: not is_running(pid), "the daemon ends")
    until(lambda: not is_answered(mount), "the connection is cut")


def is_answered(mount: Path) -> bool:
    """Whether somebody serves what is mounted at a place; statfs is never answered from a cache."""
    try:
        os.statvfs(mount / "main")
    except OSError as error:
        return error.errno not in (errno.ENOTCONN, errno.ENOENT)
    return True


def asked(holder: Holder, *what: str) -> dict[str, str]:
    """What a holder finds; a listing that the kernel kept is as good as lost.

    By it the C library also finds that it cannot say where the working directory is.
    """
    found = holder.ask(*what)
    if found["readdir"] == "ok":
        found["readdir"] = "ENOTCONN"
        if found["getcwd"] == "ENOENT":
            found["getcwd"] = "ENOTCONN"
    return found


@pytest.mark.parametrize("number", SIGNALS)
def test_what_programs_hold(system: System, tmp_path: Path, number: signal.Signals) -> None:
    """Each way of holding gives a clean errno, at once; by its path everything is there again."""
    bound = tmp_path / "bound"
    system.workspace(system.change("Bound"), directory=str(bound))
    place = system.workspace(system.change("Place"))
    with holding(bound) as first, holding(place) as second:
        for holder in (first, second):
            found = holder.ask()
            assert found.pop("watch") != "silent"
            assert set(found.values()) == {"ok"}
        end_daemon(system, number)
        is_killed = number == signal.SIGKILL
        for holder in (first, second):
            assert asked(holder) == {
                **KEPT,
                **LOST,
                "getcwd": "ok" if is_killed else "ENOTCONN",
                "open in cwd": "ENOTCONN",
                "path": "ENOTCONN" if is_killed else "ENOENT",
            }
        system.start()
        for holder in (first, second):
            gone = {"getcwd": "ENOTCONN", "open in cwd": "ENOTCONN"}
            assert asked(holder) == {**KEPT, **LOST, **WORKS, **gone}
            assert asked(holder, "enter") == {"cd": "ok", **KEPT, **LOST, **WORKS}
    for top in (bound, place):
        assert (top / "held").read_bytes() == b"written before\n" + bytes(5) + b"later"
        assert (top / "README.md").read_text() == "hello\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_who_tries_again_succeeds(system: System, tmp_path: Path, number: signal.Signals) -> None:
    """A program that saves by path all the time loses no save that returned, and goes on."""
    bound = tmp_path / "bound"
    system.workspace(system.change("Bound"), directory=str(bound))
    script = """
import sys, time
top, saved, gap_s = sys.argv[1], 0, 0.0
while saved < 200:
    began = time.monotonic()
    while True:
        try:
            with open(f"{top}/src/saves", "r+") as file:
                assert file.read() == str(saved), (file.read(), saved)
                file.seek(0)
                file.write(str(saved + 1))
            saved += 1
            break
        except OSError:
            time.sleep(0.01)
    gap_s = max(gap_s, time.monotonic() - began)
    if saved == 20:
        print("under way", flush=True)
        sys.stdin.readline()
print(gap_s)
"""
    (bound / "src" / "saves").write_text("0")
    with subprocess.Popen(
        [sys.executable, "-c", script, str(bound)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdin is not None
        assert writer.stdout.readline() == "under way\n"
        end_daemon(system, number)
        writer.stdin.write("go on\n")
        writer.stdin.flush()
        began = time.monotonic()
        system.start()
        gap_s = float(writer.stdout.readline())
        assert gap_s <= time.monotonic() - began < WITHIN_S
    assert (bound / "src" / "saves").read_text() == "200"


def test_what_is_written_where_a_workspace_was(system: System, tmp_path: Path) -> None:
    """Files made by its path while no daemon ran are kept aside; the workspace is there again."""
    bound = tmp_path / "bound"
    system.workspace(system.change("Bound"), directory=str(bound))
    (bound / "file").write_text("saved\n")
    end_daemon(system, signal.SIGTERM)
    (bound / "file").write_text("into nothing\n")
    system.project.expected_log.append("is kept aside")
    system.start()
    assert (bound / "file").read_text() == "saved\n"
    assert (bound / "README.md").read_text() == "hello\n"
    (aside,) = tmp_path.glob("bound~*")
    assert (aside / "file").read_text() == "into nothing\n"
