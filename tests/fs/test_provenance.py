"""Every operation says which process made it, by whom, and whose workspace it was in."""

import os
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pwfs.fs.processes import KEPT_MAX, Processes
from pwfs.model.ops import Provenance
from tests.fs.conftest import Mounted
from tests.fs.running import run

pytestmark = pytest.mark.timeout(60)

NOBODY = 65534


def python(code: str, cwd: Path) -> str:
    """Runs some Python in a process of its own; returns what it prints."""
    return run(sys.executable, "-c", textwrap.dedent(code), cwd=cwd).strip()


def writer(mounted: Mounted, path: str) -> dict[str, Any]:
    """The process in the last operation on a path."""
    row = mounted.call("ops", change_id="work", path=path)[-1]
    assert row["agent_id"] == "tester"
    process: dict[str, Any] = row["new"]["process"]
    return process


def test_a_redirection_is_the_programs(mounted: Mounted) -> None:
    """The shell opens the file and becomes the program: that is the one to name."""
    ws = mounted.workspace()
    run("sh", "-c", "(exec tr a-z A-Z) < README.md > upper; echo by the shell > said", cwd=ws)
    assert writer(mounted, "upper")["command"] == "tr"
    assert writer(mounted, "said")["command"] == "sh"


def test_a_child_of_a_child_is_still_the_agents(mounted: Mounted) -> None:
    """However deep, the operation is the workspace's agent's, and names the process itself."""
    ws = mounted.workspace()
    pid = run("sh", "-c", "sh -c 'sh -c \"echo \\$\\$; echo deep > f\"; true'; true", cwd=ws)
    process = writer(mounted, "f")
    assert process == {"pid": int(pid), "command": "sh", "uid": os.getuid()}


def test_a_thread_is_its_process(mounted: Mounted) -> None:
    """The kernel tells the thread; the log has the process, and not the thread's name."""
    ws = mounted.workspace()
    pid = python(
        """
        import os, pathlib, threading
        def work():
            name = pathlib.Path(f"/proc/self/task/{threading.get_native_id()}/comm")
            name.write_text("a worker")
            pathlib.Path("f").write_text("by a thread")
            pathlib.Path("README.md").unlink()
            os.rename("run.sh", "moved")
        pathlib.Path("/proc/self/comm").write_text("the program")
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        print(os.getpid())
        """,
        ws,
    )
    expected = {"pid": int(pid), "command": "the program", "uid": os.getuid()}
    assert [writer(mounted, path) for path in ("f", "README.md", "moved")] == [expected] * 3


def test_each_kind_of_operation_names_its_process(mounted: Mounted) -> None:
    """create, modify, delete, rename, copy; a symbolic link, a mode, a truncation, a directory."""
    ws = mounted.workspace()
    pid = python(
        """
        import os, pathlib
        pathlib.Path("new").write_text("x")
        pathlib.Path("README.md").write_text("x")
        os.unlink("link")
        os.symlink("new", "other")
        os.rename("src", "code")
        os.chmod("code/app.py", 0o755)
        os.truncate("run.sh", 2)
        os.link("run.sh", "copy.sh")
        os.mknod("node", 0o644)
        with open("code/lib/util.py", "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, 10_000)
        print(os.getpid())
        """,
        ws,
    )
    rows = mounted.call("ops", change_id="work")
    assert len(rows) >= 11
    assert {row["new"]["op_type"] for row in rows} == {
        "create",
        "modify",
        "delete",
        "rename",
        "copy",
    }
    name = Path(sys.executable).resolve().name[:15]
    for row in rows:
        process = row["new"]["process"]
        assert (process["pid"], process["uid"]) == (int(pid), os.getuid()), row
        assert process["command"].startswith(name[:6]), row


def test_a_child_that_changed_its_user(mounted: Mounted) -> None:
    """The user is the one that the kernel checked, for names and for bytes."""
    ws = mounted.workspace()
    ws.chmod(0o777)
    python(
        f"""
        import os, pathlib
        if os.fork() == 0:
            os.setgroups([])
            os.setgid({NOBODY})
            os.setuid({NOBODY})
            pathlib.Path("f").write_text("by nobody")
            pathlib.Path("f").rename("g")
            os._exit(0)
        os.wait()
        """,
        ws,
    )
    assert writer(mounted, "g")["uid"] == NOBODY
    assert (ws / "g").stat().st_uid == NOBODY


def test_a_process_that_is_gone(mounted: Mounted) -> None:
    """Mapped memory that is written after close, and a file that another process holds open."""
    ws = mounted.workspace()
    pid = python(
        """
        import mmap, os, pathlib, subprocess
        pathlib.Path("/proc/self/comm").write_text("the mapper")
        file = open("src/app.py", "r+b")
        mapping = mmap.mmap(file.fileno(), 0)
        file.close()
        mapping[:3] = b"ONE"
        held = open("held", "wb", buffering=0)
        held.write(b"inherited, and not closed")
        subprocess.Popen(["sleep", "1"], stdin=held, stdout=subprocess.DEVNULL, stderr=held)
        print(os.getpid())
        """,
        ws,
    )
    expected = {"pid": int(pid), "command": "the mapper", "uid": os.getuid()}
    assert writer(mounted, "held") == expected
    assert writer(mounted, "src/app.py") == expected
    assert mounted.read("ws-work", "src/app.py").startswith(b"ONE")


def test_what_is_recovered(mounted: Mounted) -> None:
    """After a kill, the journal tells who wrote what was open, though that is gone by then."""
    ws = mounted.workspace()
    code = """
        import pathlib, sys, time
        pathlib.Path("/proc/self/comm").write_text("the writer")
        file = open("open", "wb", buffering=0)
        file.write(b"not closed")
        print("written", flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ws,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        mounted.kill()
    mounted.start()
    (row,) = mounted.call("ops", change_id="work")
    assert row["new"]["recovered"] is True
    expected = {"pid": process.pid, "command": "the writer", "uid": os.getuid()}
    assert row["new"]["process"] == expected


def test_a_save_that_a_landing_overtook(mounted: Mounted) -> None:
    """What was begun before goes to a follow-up change, still by the process that wrote it."""
    ws = mounted.workspace()
    run("tee", "f", cwd=ws)
    with subprocess.Popen(["tee", "-a", "f"], cwd=ws, stdin=subprocess.PIPE, stdout=-3) as process:
        assert process.stdin is not None
        process.stdin.write(b"begun before\n")
        process.stdin.flush()
        until_size(ws / "f", len(b"begun before\n"))
        mounted.call("land", "work", agent="lander")
        process.stdin.write(b"and written on\n")
    rows = mounted.call("ops", change_id="work-2")
    assert rows
    for row in rows:
        assert row["agent_id"] == "tester"
        expected = {"pid": process.pid, "command": "tee", "uid": os.getuid()}
        assert row["new"]["process"] == expected


def until_size(path: Path, size: int) -> None:
    """Waits until another process has written so much."""
    deadline = time.monotonic() + 20
    while path.stat().st_size != size:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_that_nobody_can_see() -> None:
    """From a PID namespace that is not below the daemon's the kernel gives no number."""
    assert Processes().of(0, 1000) == Provenance(pid=0, command="", uid=1000)


def test_another_pid_namespace(mounted: Mounted) -> None:
    """A container's process has the number that it has for the daemon, not its own."""
    ws = mounted.workspace()
    run("unshare", "--pid", "--fork", "--kill-child", "sh", "-c", "echo $$ > f", cwd=ws)
    assert (ws / "f").read_text() == "1\n"
    process = writer(mounted, "f")
    assert process["pid"] > 1
    assert process["command"] == "sh"


def test_a_number_that_is_used_again() -> None:
    """What is known of a process ends with it, and is bounded."""
    processes = Processes()
    with subprocess.Popen(["sleep", "50"], stdout=subprocess.PIPE) as first:
        assert processes.of(first.pid, 0).pid == first.pid
        first.kill()
        first.wait()
        gone = Provenance(pid=first.pid, command="sleep", uid=0)
        assert processes.again(first.pid, gone) == gone
        assert processes.of(first.pid, 0).command == ""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with suppress(ProcessLookupError):
        for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):  # noqa: PTH208
            processes.of(pid, 0)
    assert len(os.listdir("/proc/self/fd")) <= before + 2 * KEPT_MAX  # noqa: PTH208
