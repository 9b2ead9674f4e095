# The system calls are what is tested.
# ruff: noqa: PTH110
"""Programs that watch files with inotify are told of changes that come from elsewhere."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.fs.conftest import Mounted
from tests.support import inotify
from tests.support.inotify import watching

# Not beside a test that drops the kernel's caches: who watches a directory for its own removal is not
# told if the kernel has forgotten its name.
pytestmark = [pytest.mark.timeout(60), pytest.mark.xdist_group("caches")]


@pytest.fixture
def pair(mounted: Mounted) -> tuple[Path, Path]:
    """Two workspaces on one change: the one that watches, and the one that writes."""
    return mounted.workspace(), mounted.workspace_on("work")


def test_a_co_workers_save_is_a_modification(pair: tuple[Path, Path]) -> None:
    """Whoever watches the directory sees the file opened, modified and closed."""
    ws, other = pair
    with watching(ws / "src") as watch:
        (other / "src/app.py").write_text("new\n")
        watch.until(inotify.MODIFY, "app.py")
        watch.until(inotify.CLOSE_WRITE, "app.py")
        assert (ws / "src/app.py").read_text() == "new\n"
        kinds = {event.mask & inotify.CHANGES for event in watch.rest()}
    assert kinds <= {inotify.MODIFY, inotify.CLOSE_WRITE}


def test_whoever_watches_the_file_itself_is_told(pair: tuple[Path, Path]) -> None:
    """Another content is another file under the name, as when an editor replaces it."""
    ws, other = pair
    with watching(ws / "README.md") as watch:
        (other / "README.md").write_text("new\n")
        watch.until(inotify.DELETE_SELF, "")
        assert (ws / "README.md").read_text() == "new\n"


def test_new_and_removed_names(pair: tuple[Path, Path]) -> None:
    """Files, links and whole directories that come and go elsewhere."""
    ws, other = pair
    with watching(ws, ws / "src") as watch:
        (other / "new").write_text("new\n")
        watch.until(inotify.CREATE, "new")
        watch.until(inotify.MODIFY, "new")
        assert (ws / "new").read_text() == "new\n"
        (other / "pointer").symlink_to("new")
        watch.until(inotify.CREATE, "pointer")
        assert (ws / "pointer").readlink() == Path("new")
        (other / "a/b").mkdir(parents=True)
        (other / "a/b/c").write_text("deep")
        event = watch.until(inotify.CREATE, "a")
        assert event.mask & inotify.ISDIR
        assert (ws / "a/b/c").read_text() == "deep"
        (other / "src/app.py").unlink()
        watch.until(inotify.DELETE, "app.py")
        assert not (ws / "src/app.py").exists()
        (other / "pointer").unlink()
        watch.until(inotify.DELETE, "pointer")
        (other / "a/b/c").unlink()
        event = watch.until(inotify.DELETE, "a")
        assert event.mask & inotify.ISDIR
        assert not (ws / "a").exists()
        assert sorted(path.name for path in ws.iterdir()) == [
            ".gitignore",
            "README.md",
            "link",
            "new",
            "run.sh",
            "src",
        ]


def test_a_program_can_be_run_while_it_is_told_of(pair: tuple[Path, Path]) -> None:
    """A changed executable is shown as removed and made anew: nobody opens it for writing."""
    ws, other = pair
    with watching(ws) as watch:
        (other / "run.sh").write_text("#!/bin/sh\necho new\n")
        watch.until(inotify.DELETE, "run.sh")
        watch.until(inotify.CREATE, "run.sh")
        assert not any(event.mask & inotify.CLOSE_WRITE for event in watch.rest())
    assert (ws / "run.sh").read_text() == "#!/bin/sh\necho new\n"
    assert os.access(ws / "run.sh", os.X_OK)


def test_a_landing_is_seen_in_main_and_in_workspaces(mounted: Mounted) -> None:
    """Whoever watches main, or a workspace on another change, sees what landed."""
    ws = mounted.workspace()
    watcher = mounted.workspace("watcher")
    (ws / "src/app.py").write_text("landed\n")
    (ws / "src/extra.py").write_text("extra\n")
    with watching(watcher / "src", mounted.main / "src") as watch:
        mounted.call("land", "work", agent="tester")
        for place in (watcher, mounted.main):
            assert (place / "src/app.py").read_text() == "landed\n"
        watch.until(inotify.MODIFY, "app.py")
        watch.until(inotify.CREATE, "extra.py")
        found = {(event.watched, event.name) for event in watch.rest()}
    wanted = {
        (place / "src", name)
        for place in (watcher, mounted.main)
        for name in ("app.py", "extra.py")
    }
    assert wanted <= found


def test_own_changes_are_told_once_by_the_kernel(pair: tuple[Path, Path]) -> None:
    """What programs do in the workspace itself is told by the kernel, and not a second time."""
    ws, other = pair
    with watching(ws, ws / "src") as watch:
        (ws / "src/app.py").write_text("own\n")
        (ws / "fresh").mkdir()
        (ws / "fresh/file").write_text("own\n")
        (ws / "README.md").rename(ws / "READ.md")
        (ws / "link").unlink()
        (other / "last").touch()
        watch.until(inotify.CREATE, "last")
        events = [event for event in watch.rest() if event.name != "last"]
    told = [(event.name, event.mask & ~inotify.ISDIR) for event in events]
    assert [mask for name, mask in told if name == "fresh"] == [inotify.CREATE]
    assert [mask for name, mask in told if name == "README.md"] == [inotify.MOVED_FROM]
    assert [mask for name, mask in told if name == "READ.md"] == [inotify.MOVED_TO]
    assert [mask for name, mask in told if name == "link"] == [inotify.DELETE]
    assert [mask for name, mask in told if name == "app.py"].count(inotify.CLOSE_WRITE) == 1


def test_an_operation_by_api_is_told(mounted: Mounted) -> None:
    """What a program appends to the change without a mount."""
    ws = mounted.workspace()
    blob = mounted.files()["run.sh"][0]
    with watching(ws) as watch:
        mounted.call("append", "work", "create", "by-api", blob)
        watch.until(inotify.CREATE, "by-api")
        assert (ws / "by-api").read_bytes() == (ws / "run.sh").read_bytes()


def test_a_directory_that_moved_elsewhere(pair: tuple[Path, Path]) -> None:
    """The old name goes and the new one comes; who watches the directory itself is told, too."""
    ws, other = pair
    with watching(ws, ws / "src") as watch:
        (other / "src").rename(other / "code")
        watch.until(inotify.DELETE, "src")
        watch.until(inotify.CREATE, "code")
        watch.until(inotify.DELETE_SELF, "")
        assert (ws / "code/lib/util.py").exists()
        assert not (ws / "src").exists()


def test_nobody_sees_what_is_made_up_for_the_kernel(pair: tuple[Path, Path]) -> None:
    """While watchers are told, a name that exists is never absent, nor the other way round."""
    ws, other = pair
    (other / "gone").write_text("soon")
    assert (ws / "gone").read_text() == "soon"
    wrong: list[str] = []
    stopped = threading.Event()

    def look() -> None:
        while not stopped.is_set():
            if not (ws / "run.sh").read_bytes().startswith(b"#!/bin/sh\n"):
                wrong.append("run.sh is not whole")
            if not os.path.exists(ws / "README.md"):
                wrong.append("README.md is gone")
            if not os.path.exists(other / "gone") and os.path.exists(ws / "gone"):
                wrong.append("gone is there again")

    def make_own() -> None:
        """Takes over names that the other removed a moment ago."""
        for number in range(30):
            mine = ws / f"taken-{number}"
            while os.path.exists(mine):
                pass
            mine.write_text("mine")

    threads = [threading.Thread(target=work) for work in (look, look, make_own)]
    with watching(ws) as watch:
        for number in range(30):
            (other / f"taken-{number}").write_text("theirs")
        for thread in threads:
            thread.start()
        (other / "gone").unlink()
        for number in range(30):
            (other / "run.sh").write_text(f"#!/bin/sh\necho {number}\n")
            (other / "README.md").write_text(str(number))
            (other / f"taken-{number}").unlink()
        threads[2].join()
        (other / "last").touch()
        watch.until(inotify.CREATE, "last", 30)
        stopped.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    for place in (ws, other):
        assert {(place / f"taken-{number}").read_text() for number in range(30)} == {"mine"}


def test_watchers_are_told_after_a_crash_and_a_restart(mounted: Mounted) -> None:
    """The process that tells them ends with its daemon, and the next daemon has its own."""
    ws, other = mounted.workspace(), mounted.workspace_on("work")
    for end in (mounted.kill, mounted.stop):
        with watching(ws) as watch:
            (other / "README.md").write_text(f"before {end.__name__}")
            watch.until(inotify.MODIFY, "README.md")
        helpers = _children(mounted, "watchproc.py")
        assert helpers
        end()
        deadline = time.monotonic() + 10
        while any(os.path.exists(f"/proc/{pid}") for pid in helpers):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        mounted.start()
    with watching(ws) as watch:
        (other / "README.md").write_text("after")
        watch.until(inotify.MODIFY, "README.md")


def test_the_process_may_be_killed(mounted: Mounted) -> None:
    """Another one takes its place at the next change."""
    ws, other = mounted.workspace(), mounted.workspace_on("work")
    with watching(ws) as watch:
        (other / "README.md").write_text("one")
        watch.until(inotify.MODIFY, "README.md")
        (helper,) = _children(mounted, "watchproc.py")
        os.kill(helper, signal.SIGKILL)
        watch.rest()
        (other / "README.md").write_text("three")
        watch.until(inotify.MODIFY, "README.md")


NODE = """
const fs = require('fs');
const path = require('path');
const top = process.argv[1];
// Node 18, which is Debian's, watches no trees on Linux: a watch for each directory.
const follow = (directory) => {
  const place = path.join(top, directory);
  fs.watch(place, (type, name) => console.log(type + ' ' + path.join(directory, name)));
  for (const entry of fs.readdirSync(place, {withFileTypes: true}))
    if (entry.isDirectory()) follow(path.join(directory, entry.name));
};
follow('');
console.log('watching');
"""


def test_a_watcher_of_node(pair: tuple[Path, Path]) -> None:
    """What bundlers and test runners are built on hears of a co-worker's saves, new and deep."""
    ws, other = pair
    with subprocess.Popen(
        ["node", "-e", NODE, str(ws)], stdout=subprocess.PIPE, text=True, bufsize=1
    ) as node:
        assert node.stdout is not None
        try:
            assert node.stdout.readline() == "watching\n"
            (other / "src/app.py").write_text("changed\n")
            (other / "new.js").write_text("new\n")
            heard: set[str] = set()
            while not {"change src/app.py", "rename new.js"} <= heard:
                line = node.stdout.readline()
                assert line, heard
                heard.add(line.strip())
        finally:
            node.kill()


def _children(mounted: Mounted, program: str) -> list[int]:
    assert mounted.process is not None
    tasks = Path(f"/proc/{mounted.process.pid}/task").glob("*/children")
    pids = [int(pid) for task in tasks for pid in task.read_text().split()]
    return [pid for pid in pids if program in Path(f"/proc/{pid}/cmdline").read_text()]
