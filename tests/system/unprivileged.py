"""What a user without privileges does with Patchwork, from start to end; run as that user.

Everything is asserted here, so that the test only has to see that this ended well.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support import inotify
from tests.support.inotify import watching
from tests.support.project import Project, temporary_project


def main(home: Path) -> None:
    """Works in a repository below ``home``."""
    assert os.geteuid() != 0
    with temporary_project(home / "project") as project:
        (project.directory / "README.md").write_text("hello\n")
        _work(project)


def _work(project: Project) -> None:
    project.patchwork("init")
    project.patchwork("change", "create", "Work")
    for name in ("one", "two"):
        project.patchwork("workspace", "create", "work", name)
    one, two = (project.directory / name for name in ("one", "two"))
    assert one.is_symlink() and two.is_symlink()
    options = _mount_options(project.mount)
    assert f"user_id={os.geteuid()}" in options and "allow_other" not in options

    (one / "new").write_text("new\n")
    status = (one / "new").stat()
    assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
    with watching(one) as watch:
        (two / "README.md").write_text("two\n")
        watch.until(inotify.MODIFY, "README.md")
    assert (one / "README.md").read_text() == "two\n"

    opened = (one / "open").open("wb", buffering=0)
    opened.write(b"recovered")
    os.kill(int(project.whereabouts["pid"]), signal.SIGKILL)
    _until_dead(one / "README.md")
    try:
        opened.close()
    except OSError:
        pass
    mount = project.mount
    subprocess.run(["fusermount3", "-u", "-z", mount], check=True, timeout=10)
    try:
        (mount / "new").write_text("nowhere")
    except PermissionError:
        pass
    else:
        raise AssertionError("a program wrote where nothing is mounted")
    assert project.json("status")["workspaces"] == 2
    assert (one / "README.md").read_text() == "two\n"
    assert (two / "open").read_text() == "recovered"
    subprocess.run(["ln", "-s", "new", "link"], cwd=one, check=True, timeout=10)
    assert (two / "link").readlink() == Path("new")
    project.patchwork("fsck")
    paths = {op["path"] for op in project.json("log", "--change", "work")["ops"]}
    assert paths == {"README.md", "new", "open", "link"}
    project.patchwork("serve", "--stop")
    assert not mount.exists()


def _mount_options(mount: Path) -> str:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, _, options, *_ = line.split(" ")
        if place == str(mount):
            return options
    raise AssertionError(f"{mount} is not mounted")


def _until_dead(path: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.statvfs(path)
        except OSError:
            return
    raise AssertionError("the mount of a killed daemon still answers")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
