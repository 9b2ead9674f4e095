"""How the daemon starts, is found, refuses to start, ends and comes back."""

import json
import os
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pwfs.model.exits import ExitCode
from tests.support.project import Project, mount_points, temporary_project

UNAVAILABLE = ExitCode.UNAVAILABLE


def start_in_foreground(project: Project, *arguments: str) -> subprocess.Popen[str]:
    """Starts `patchwork serve` and waits until it says that it serves."""
    process = subprocess.Popen(
        project.command("serve", *arguments),
        cwd=project.directory,
        env=project.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == f"Serving {project.directory}\n"
    return process


def end(process: subprocess.Popen[str]) -> int:
    """Interrupts a daemon and returns its exit status."""
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    return process.returncode


def test_the_first_command_starts_the_daemon_and_the_next_finds_it(project: Project) -> None:
    """One daemon serves them all; stopping it leaves nothing mounted and nothing to trip over."""
    first = project.json("status")["daemon"]
    assert project.json("status")["daemon"] == first
    assert first["mount"] in mount_points()
    socket_path = Path(project.whereabouts["socket"])
    assert project.patchwork("serve", "--stop").stdout == "Daemon stopped.\n"
    assert first["mount"] not in mount_points()
    assert not Path(first["mount"]).exists()
    assert not socket_path.exists()
    assert not (project.state_dir / "daemon.json").exists()
    assert project.patchwork("serve", "--stop").stdout == "No daemon is running.\n"
    assert project.json("status")["daemon"]["pid"] != first["pid"]


def test_commands_that_start_it_at_once_share_one_daemon(project: Project) -> None:
    """The race for the start has one winner, and the others use what it started."""
    commands = [
        subprocess.Popen(
            project.command("status", "--json"),
            cwd=project.directory,
            env=project.variables(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(5)
    ]
    answers = [command.communicate(timeout=50)[0] for command in commands]
    assert [command.returncode for command in commands] == [0] * 5
    assert len({json.loads(answer)["daemon"]["pid"] for answer in answers}) == 1


def test_a_killed_daemon_is_replaced_by_the_next_command(project: Project) -> None:
    """Whatever it left behind, its mount and files, is no obstacle; its work is there."""
    project.patchwork("change", "create", "Survive")
    project.patchwork("workspace", "create", "survive", "ws")
    (project.directory / "ws" / "kept.txt").write_text("kept\n")
    project.kill(signal.SIGKILL)
    assert project.patchwork("cat", "ws-survive", "kept.txt").stdout == "kept\n"
    assert (project.directory / "ws" / "kept.txt").read_text() == "kept\n"


def test_between_two_daemons_nobody_writes_where_the_next_one_mounts(project: Project) -> None:
    """Whoever goes on by path gets an error while the dead mount is away, and loses nothing."""
    project.patchwork("change", "create", "Work on")
    project.patchwork("workspace", "create", "work-on", "ws")
    mount = project.mount
    workspace = mount / "ws" / "ws-work-on"
    kill_and_wait(project)
    if mount_points().count(str(mount)) > 1:  # as the next daemon does, before it mounts
        subprocess.run(["umount", "-l", mount], check=True)
    for write in (lambda: workspace.mkdir(parents=True), lambda: (mount / "new").write_text("x")):
        with pytest.raises(OSError, match="Read-only file system"):
            write()
    project.patchwork("status")
    (workspace / "new").write_text("new\n")
    assert (project.directory / "ws" / "new").read_text() == "new\n"
    project.patchwork("serve", "--stop")
    assert str(mount) not in mount_points()
    assert not mount.exists()


def test_what_was_written_where_nothing_was_mounted_is_moved_aside(project: Project) -> None:
    """A program that makes the directories of its path anew does not lose what it writes there."""
    project.patchwork("status")
    mount = project.mount
    project.patchwork("serve", "--stop")
    (mount / "ws").mkdir(parents=True)
    (mount / "ws" / "kept").write_text("kept\n")
    project.expected_log.append("wrote into the mount point while nothing was mounted")
    project.patchwork("status")
    assert sorted(path.name for path in mount.iterdir()) == ["at", "main", "views", "ws"]
    (aside,) = mount.parent.glob(f"{mount.name}~*")
    assert str(aside) in project.log()
    assert (aside / "ws" / "kept").read_text() == "kept\n"
    shutil.rmtree(aside)


def kill_and_wait(project: Project) -> None:
    """Kills the daemon, and waits until it is gone, and who cuts its mount's connection too."""
    pid = project.whereabouts["pid"]
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    descriptors = [os.pidfd_open(int(process)) for process in (pid, *children)]
    project.kill(signal.SIGKILL)
    for descriptor in descriptors:
        assert select.select([descriptor], [], [], 20)[0]
        os.close(descriptor)


def test_a_daemon_that_is_ending_is_waited_for(project: Project) -> None:
    """A command right behind the signal gets a daemon, not an error about the old one."""
    project.patchwork("status")
    old = project.kill(signal.SIGTERM)
    assert project.json("status")["daemon"]["pid"] != old


def test_a_second_daemon_is_refused(project: Project) -> None:
    """The repository has one writer; the message names it."""
    project.patchwork("status")
    refused = project.patchwork("serve", status=UNAVAILABLE)
    pid = project.whereabouts["pid"]
    assert f"Another daemon serves this repository (pid {pid})" in refused.stderr
    assert project.json("status")["daemon"]["pid"] == pid


def test_serving_in_the_foreground_says_where_and_ends_on_interrupt(project: Project) -> None:
    """The address asked for is the one it has, and the mount is where it was asked for."""
    place = project.directory.parent / "elsewhere"
    process = start_in_foreground(project, "--addr", "127.0.0.1:0", "--mount", "../elsewhere")
    try:
        assert project.whereabouts["mount"] == str(place)
        assert (place / "main").is_dir()
        with project.tcp(project.token()) as api:
            assert api.get("head").status_code == 200
        assert project.json("status")["daemon"]["pid"] == process.pid
    finally:
        assert end(process) == 0
    assert str(place) not in mount_points()


def test_an_address_that_is_taken_is_refused_when_it_was_asked_for(project: Project) -> None:
    """With --addr it is an error; without, any free port will do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = project.patchwork("serve", "--addr", address, status=UNAVAILABLE)
        assert f"The address {address} is in use" in refused.stderr
        assert "--addr" in refused.stderr
    assert not [point for point in mount_points() if "project" in point and str(project) in point]
    bad = project.patchwork("serve", "--addr", "nowhere", status=ExitCode.INVALID)
    assert "HOST:PORT" in bad.stderr


def test_a_newer_database_is_left_alone(project: Project) -> None:
    """The message says what to do, and not a byte of the database changes."""
    project.patchwork("status")
    project.patchwork("serve", "--stop")
    database = project.state_dir / "oplog.db"
    with sqlite3.connect(database) as connection:
        (known,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {known + 1000}")
    connection.close()
    before = database.read_bytes()
    refused = project.patchwork("status", status=UNAVAILABLE)
    assert "schema" in refused.stderr and "newer" in refused.stderr
    assert database.read_bytes() == before
    assert project.json("status", status=UNAVAILABLE)["code"] == "newer_schema"


def test_without_dev_fuse_the_advice_is_how_to_get_it(project: Project, tmp_path: Path) -> None:
    """In a container without the device, it says which options to give."""
    bare = tmp_path / "dev"
    bare.mkdir()
    script = f'mount -t tmpfs none {bare} && mknod {bare}/null c 1 3 && mount --bind {bare} /dev && exec "$@"'
    prefix = ("unshare", "-m", "sh", "-c", script, "sh")
    refused = project.patchwork("status", status=UNAVAILABLE, prefix=prefix)
    assert "/dev/fuse" in refused.stderr and "--device /dev/fuse" in refused.stderr
    assert not (project.state_dir / "daemon.json").exists()
    found = project.patchwork("doctor", status=UNAVAILABLE, prefix=prefix)
    assert "problem /dev/fuse: missing" in found.stdout


def test_without_permission_to_mount_the_advice_is_how_to_get_it(project: Project) -> None:
    """Root without the capability, as in most containers."""
    prefix = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    refused = project.patchwork("status", status=UNAVAILABLE, prefix=prefix)
    assert "Cannot mount" in refused.stderr and "SYS_ADMIN" in refused.stderr
    assert not (project.state_dir / "daemon.json").exists()


@pytest.fixture
def full_directory(tmp_path: Path) -> Iterator[Path]:
    """A disk with little room."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_is_told_as_such(full_directory: Path) -> None:
    """What does not fit is refused whole, and the daemon goes on."""
    with temporary_project(full_directory / "project") as project:
        project.patchwork("init")
        project.patchwork("status")
        with project.api() as api:
            response = api.post("blobs", content=os.urandom(12_000_000))
            assert response.status_code == 507, response.text
            assert response.json()["code"] == "no_space"
            assert api.get("head").status_code == 200
        assert list(project.state_dir.glob("upload-*")) == []


def test_the_daemon_is_found_from_inside_a_workspace(project: Project, tmp_path: Path) -> None:
    """Below the repository, elsewhere, and through the mount itself."""
    project.patchwork("change", "create", "Find me")
    project.patchwork("workspace", "create", "find-me", "inside")
    outside = tmp_path / "out side"
    project.patchwork("workspace", "create", "find-me", str(outside))
    places = (project.directory / "inside", outside, project.mount / "ws" / "ws-find-me")
    for place in places:
        (place / "deep").mkdir(exist_ok=True)
        shown = project.patchwork("status", "--repository", cwd=place / "deep").stdout
        assert f"Repository: {project.directory}\n" in shown
        again = ("-C", place / "deep", "status", "--repository")
        elsewhere = project.patchwork(*again, cwd=tmp_path).stdout
        assert elsewhere == shown
    refused = project.patchwork("status", cwd=tmp_path, status=ExitCode.NOT_FOUND)
    assert "patchwork init" in refused.stderr


def test_a_moved_module_path_does_not_matter(project: Project, tmp_path: Path) -> None:
    """Files of the caller's directory are not imported as modules of the daemon."""
    trap = tmp_path / "trap"
    trap.mkdir()
    (trap / "trio.py").write_text("raise SystemExit('imported the wrong trio')\n")
    shutil.copy(trap / "trio.py", project.directory / "structlog.py")
    script = [*project.command("-C", project.directory, "status")]
    script[1:1] = ["-P"]
    done = subprocess.run(script, cwd=trap, env=project.variables(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sys.executable in script


def test_a_mount_taken_away_ends_the_daemon_and_the_next_command_mounts_again(
    project: Project,
) -> None:
    """A daemon without its mount would be half a daemon."""
    project.patchwork("change", "create", "Stay")
    project.patchwork("workspace", "create", "stay", "ws")
    (project.directory / "ws" / "a.txt").write_text("a\n")
    pid = project.whereabouts["pid"]
    descriptor = os.pidfd_open(pid)
    for place in (project.directory / "ws", project.mount):
        subprocess.run(["umount", "-l", place], check=True)
    assert select.select([descriptor], [], [], 20)[0]
    os.close(descriptor)
    assert project.json("status")["daemon"]["pid"] != pid
    assert (project.directory / "ws" / "a.txt").read_text() == "a\n"


def test_as_many_files_as_the_system_allows(project: Project) -> None:
    """The daemon may have them open, after a restart in place too; a test of the queue may not."""

    def limits() -> list[str]:
        pid = project.whereabouts["pid"]
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
        (line,) = (line for line in lines if line.startswith("Max open files"))
        return line.split()[3:5]

    project.shell("ulimit -Sn 300; ulimit -Hn 3000; patchwork status")
    assert limits() == ["3000", "3000"]
    project.patchwork("config", "set", "test-cmd", "ulimit -Sn; ulimit -Hn; false")
    for _ in range(2):
        change = project.json("change", "create", "Limits")["id"]
        place = Path(project.json("workspace", "create", change)["path"])
        (place / change).write_text("tested\n")
        project.patchwork("submit", change, "--wait", status=ExitCode.EJECTED)
        assert project.patchwork("queue", "output", change).stdout == "300\n3000\n"
        project.patchwork("serve", "--restart")
        assert limits() == ["3000", "3000"]
