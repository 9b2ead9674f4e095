"""``patchwork serve --restart``: the daemon is another one, and programs in the mount notice nothing."""

import fcntl
import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import inotify
from tests.support.inotify import watching
from tests.system.people import System, files_below, until

WORKER = """
import os, sys
directory, name = sys.argv[1:]
os.chdir(directory)
number = 0
while not os.path.exists("../stop"):
    number += 1
    text = f"{name} {number}\\n" * 50
    with open(f"{name}.tmp", "w") as file:
        file.write(text)
    os.rename(f"{name}.tmp", name)
    with open(name) as file:
        assert file.read() == text
    with open(f"{name}.log", "a") as file:
        file.write(text)
    os.mkdir(f"{name}.d")
    os.link(name, f"{name}.d/link")
    assert sorted(os.listdir(f"{name}.d")) == ["link"]
    os.unlink(f"{name}.d/link")
    os.rmdir(f"{name}.d")
    with open(f"{name}.gone", "w+") as file:
        os.unlink(f"{name}.gone")
        file.write(text)
        file.seek(0)
        assert file.read() == text
print(number)
"""


def restart(system: System) -> None:
    """Restarts the daemon in its place."""
    pid = system.project.whereabouts["pid"]
    system.disconnect()
    system.project.patchwork("serve", "--restart")
    system.start()
    assert system.project.whereabouts["pid"] == pid


def open_count(system: System) -> int:
    """How many files and directories programs have open in the mount."""
    count = system.get("status")["daemon"]["open"]
    assert isinstance(count, int)
    return count


def test_what_programs_hold_goes_on(system: System, tmp_path: Path) -> None:
    """Open files, directories, mappings, locks, watches, working directories and inode numbers."""
    change = system.change("Work")
    ws, other = system.workspace(change), system.workspace(change)
    shown = tmp_path / "shown"
    bound = system.workspace(change, directory=str(shown))
    before = {path: path.stat() for path in ws.rglob("*")}
    (ws / "d/e").mkdir(parents=True)
    (ws / "d/e/file").write_text("deep\n")
    (ws / "private").write_text("mode\n")
    (ws / "private").chmod(0o640)
    os.setxattr(ws / "private", "user.colour", b"green")
    os.link(ws / "private", ws / "linked")
    os.link(ws / "private", ws / "d/e/linked")
    reading = (ws / "README.md").open("rb", buffering=0)
    assert reading.read(2) == b"he"
    writing = (ws / "log").open("ab", buffering=0)
    writing.write(b"one\n")
    unlinked = (ws / "unlinked").open("w+b", buffering=0)
    unlinked.write(b"still here")
    (ws / "unlinked").unlink()
    replaced = (ws / "src/app.py").open("rb", buffering=0)
    old = replaced.read()
    (other / "src/app.py").write_text("another's\n")
    mapped_file = (ws / "mapped").open("w+b", buffering=0)
    mapped_file.write(bytes(4096))
    mapped = mmap.mmap(mapped_file.fileno(), 4096)
    mapped[:5] = b"first"
    locked = (ws / "README.md").open("rb")
    fcntl.flock(locked, fcntl.LOCK_EX)
    listing = os.scandir(ws)
    first = next(listing).name
    kept = sorted(os.listdir(ws / "d/e"))  # noqa: PTH208
    shell = subprocess.Popen(
        ["sh"], cwd=shown / "d/e", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    gone_directory = ws / "gone"
    gone_directory.mkdir()
    gone = os.open(gone_directory, os.O_RDONLY)
    gone_directory.rmdir()
    with watching(ws, ws / "d/e") as watch:
        for _ in range(2):
            restart(system)
        assert reading.read() == b"llo\n"
        writing.write(b"two\n")
        writing.close()
        assert (other / "log").read_bytes() == b"one\ntwo\n"
        unlinked.seek(0)
        assert unlinked.read() == b"still here"
        assert os.fstat(unlinked.fileno()).st_nlink == 0
        replaced.seek(0)
        assert replaced.read() == old
        assert (ws / "src/app.py").read_text() == "another's\n"
        mapped[5:10] = b"secnd"
        mapped.close()
        mapped_file.close()
        assert (other / "mapped").read_bytes()[:10] == b"firstsecnd"
        with (ws / "README.md").open("rb") as again, pytest.raises(BlockingIOError):
            fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        names = {first, *(entry.name for entry in listing)}
        assert {"README.md", "src", "d", "private", "linked", "log"} <= names
        assert os.listdir(gone) == []  # noqa: PTH208
        (other / "d/e/later").touch()
        assert sorted(os.listdir(ws / "d/e")) == sorted([*kept, "later"])  # noqa: PTH208
        (other / "d/e/file").write_text("deeper\n")
        watch.until(inotify.MODIFY, "file")
        answer, _ = shell.communicate("cat file; pwd -P; echo sh > made; cat made\n", timeout=20)
    assert answer == f"deeper\n{shown / 'd/e'}\nsh\n"
    assert (bound / "d/e/made").read_text() == "sh\n"
    status = (ws / "linked").stat()
    assert (status.st_mode & 0o777, status.st_nlink) == (0o640, 3)
    assert os.getxattr(ws / "private", "user.colour") == b"green"
    for path, status in before.items():
        if path.name not in ("app.py", "src", ws.name):
            now = path.stat()
            assert (now.st_ino, now.st_mtime_ns) == (status.st_ino, status.st_mtime_ns), path
    for file in (reading, unlinked, replaced, locked):
        file.close()
    os.close(gone)


def test_nobody_at_work_notices(system: System) -> None:
    """Programs that read and write all the time get no error, over several restarts."""
    change = system.change("Work")
    places = [system.workspace(change) for _ in range(2)]
    (places[0] / "w").mkdir()
    (places[0] / "w/first").write_text("first\n")
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, place / "w", f"{index}-{number}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index, place in enumerate(places)
        for number in range(2)
    ]
    try:
        for _ in range(4):
            restart(system)
        (places[0] / "stop").touch()
        for worker in workers:
            said, errors = worker.communicate(timeout=30)
            assert worker.returncode == 0, errors
            assert int(said) > 0
    finally:
        (places[0] / "stop").touch()
        for worker in workers:
            worker.kill()
            worker.communicate(timeout=10)
    assert files_below(places[0]) == files_below(places[1])


def test_clients_wait_and_streams_go_on(system: System) -> None:
    """A request that comes during the restart is answered after it; events are not lost."""
    change = system.change("Work")
    ws = system.workspace(change)
    failures: list[str] = []
    stopped = threading.Event()

    def ask(call: Callable[[], object]) -> None:
        while not stopped.is_set():
            try:
                call()
            except (AssertionError, OSError) as error:
                failures.append(str(error))

    thread = threading.Thread(
        target=ask, args=(lambda: system.project.patchwork("log", "--limit", "1"),)
    )
    thread.start()
    try:
        for number in range(3):
            (ws / "count").write_text(str(number))
            restart(system)
    finally:
        stopped.set()
        thread.join()
    assert failures == []
    assert [op["path"] for op in system.ops(change)] == ["count"] * 3


def test_what_is_handed_over_is_of_this_version(system: System, tmp_path: Path) -> None:
    """A record that is not understood costs the mount, never the daemon: it mounts anew."""
    change = system.change("Work")
    ws = system.workspace(change)
    (ws / "saved").write_text("saved\n")
    system.disconnect()
    system.project.expected_log.append("programs in the mount get an error")
    system.project.environment["PYTHONPATH"] = os.pathsep.join(
        [str(tmp_path), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    )
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if '--handover-fd' in sys.argv or '--handover-fd' in sys.orig_argv:\n"
        "    from pwfs.fs import handover\n"
        "    handover.FORMAT = -1\n"
    )
    system.project.patchwork("serve", "--stop")
    system.start()
    restart(system)
    assert (ws / "saved").read_text() == "saved\n"
    (ws / "saved").write_text("again\n")
    assert len(system.ops(change)) == 2


def test_who_reads_goes_on_reading(system: System) -> None:
    """Files that the native library opened are known to the next daemon, and their end, too."""
    ws = system.workspace(system.change("Work"))
    for name in ("kept", "removed"):
        (ws / name).write_text(name)
    # The kernel tells of the last close when it has been answered.
    until(lambda: open_count(system) == 0, "nothing is open")
    fds = {}
    for name in ("kept", "removed"):
        for _ in range(2):
            (ws / name).read_text()
        fds[name] = os.open(ws / name, os.O_RDONLY)
    assert open_count(system) == 2
    restart(system)
    assert open_count(system) == 2
    (ws / "removed").unlink()
    with (ws / "kept").open("r+") as file:
        file.write("KEPT")
    for name, content in (("kept", b"KEPT"), ("removed", b"removed")):
        os.posix_fadvise(fds[name], 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.read(fds[name], 100) == content
        os.close(fds[name])
    until(lambda: open_count(system) == 0, "nothing is open")


def test_a_large_file_is_written_on(system: System) -> None:
    """It was hashed while it was written, and is what was written when it is closed."""
    ws = system.workspace(system.change("Work"))
    with (ws / "large").open("wb", buffering=0) as file:
        file.write(bytes(40 << 20))
        restart(system)
        file.write(b"and on")
    assert system.read("ws-work", "large") == bytes(40 << 20) + b"and on"
