"""A workspace behaves as a plain directory on disk: the same results, errors, trees and contents.

Hypothesis drives both with the same calls (`tests.fs.calls`) on a small set of names, and between
them the mount is stopped, or killed, and started again. What the log says of it is checked too.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.fs.calls import CALLS, Action, Caller, any_action, is_ignored
from tests.fs.conftest import Mounted, lazily_unmount
from tests.fs.describing import Described, describe, differences

T = TypeVar("T")
LONG_RUNS = 1_500 if os.environ.get("PATCHWORK_SOAK") == "1" else 200
KEPT_RUNS = 4
"""So many runs leave their workspaces for what is checked in the end."""


class Drawing:
    """Hypothesis as a `Chooser`."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def choose(self, options: Sequence[T]) -> T:
        return self._draw(st.sampled_from(options))

    def number(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))


@st.composite
def actions(draw: st.DrawFn, calls: Sequence[str]) -> Action:
    """An action of one of some calls."""
    return any_action(Drawing(draw), calls)


HANDLES = [name for name in CALLS if "slot" in CALLS[name]]
NAMES = ["unlink", "mkdir", "rmdir", "fifo", "symlink", "link", "create", "listdir"]
RENAMES = ["rename", "rename_directory", "rename2"]
ATTRIBUTES = ["chmod", "chown", "utime", "setxattr", "removexattr", "list_while_changing"]
CONTENTS = [name for name in CALLS if name not in {*HANDLES, *NAMES, *RENAMES, *ATTRIBUTES}]


class Pair(RuleBasedStateMachine):
    """The two trees. One mount serves all runs; each has a workspace of its own."""

    mounted: Mounted
    count = 0

    def __init__(self) -> None:
        super().__init__()
        Pair.count += 1
        self.change = f"run-{Pair.count}"
        self.mounted.call("create_change", self.change, author="tester")
        workspace = self.mounted.call("create_workspace", self.change, agent="tester")
        self.workspace_id = str(workspace["id"])
        self.shown = Caller(str(self.mounted.mountpoint / "ws" / self.workspace_id))
        plain = tempfile.mkdtemp(dir=self.mounted.repository.parent)
        shutil.copytree(self.mounted.main, plain, symlinks=True, dirs_exist_ok=True)
        self.plain = Caller(plain)
        # A copy has the times of what it copies.
        self._as_on_disk(describe(plain))

    def both(self, action: Action) -> None:
        """Does the same on both sides and compares what came of it."""
        if not is_comparable(action, self.plain):
            return
        expected = self.plain.do(action)
        found = self.shown.do(action)
        assert found == expected, f"{action}: shown {found!r}, on disk {expected!r}"

    @rule(action=actions(CONTENTS))
    def use_content(self, action: Action) -> None:
        self.both(action)

    @rule(action=actions(["write", "save", *NAMES]))
    def use_names(self, action: Action) -> None:
        self.both(action)

    @rule(action=actions(RENAMES))
    def rename(self, action: Action) -> None:
        self.both(action)

    @rule(action=actions(ATTRIBUTES))
    def use_attributes(self, action: Action) -> None:
        self.both(action)

    @rule(action=actions(HANDLES))
    def use_handles(self, action: Action) -> None:
        self.both(action)

    @rule(how=st.sampled_from(["stop", "kill"]), patience=st.integers(0, 24))
    def restart(self, how: str, patience: int) -> None:
        """Stops or kills the process that mounts, and starts it again."""
        if patience < 24:
            return
        open_files = {(s.st_dev, s.st_ino) for s in map(os.fstat, self.plain.handles.values())}
        if how == "stop":
            self.plain.close_all()
            self.shown.close_all()
            self.mounted.stop()
        else:
            self.mounted.kill()
            self.plain.close_all()
            self.shown.close_all()
        self.mounted.start()
        if how == "kill":
            self._after_a_kill(open_files)

    def _after_a_kill(self, open_files: set[tuple[int, int]]) -> None:
        """What may be lost: times of the last second, and modes and owners of open files."""
        plain = describe(self.plain.top)
        shown = describe(self.shown.top)
        for path, expected in plain.items():
            status = Path(self.plain.top, path).lstat()
            is_open = (status.st_dev, status.st_ino) in open_files
            assert path in shown, f"{path} is lost"
            assert _core(shown[path], is_open) == _core(expected, is_open), path
        assert shown.keys() == plain.keys()
        self._as_on_disk(plain)

    def _as_on_disk(self, plain: dict[str, Described]) -> None:
        """Gives what is shown the times, modes and owners that the disk has."""
        # What is below a directory first: nothing but the time of the directory changes by it.
        for path, expected in sorted(plain.items(), reverse=True):
            for top in (self.plain.top, self.shown.top):
                place = f"{top}/{path}"
                os.chown(place, *expected.owner, follow_symlinks=False)
                if expected.kind != "l":
                    Path(place).chmod(expected.bits)
                os.utime(place, ns=(1, expected.mtime_ns or 1), follow_symlinks=False)

    @invariant()
    def trees_are_alike(self) -> None:
        found = differences(describe(self.shown.top), describe(self.plain.top))
        assert not found, "\n".join(found)

    def teardown(self) -> None:
        try:
            self.plain.close_all()
            self.shown.close_all()
            self.trees_are_alike()
            self._check_log()
        finally:
            shutil.rmtree(self.plain.top)
        if Pair.count > KEPT_RUNS:
            self.mounted.call("destroy_workspace", self.workspace_id)

    def _check_log(self) -> None:
        """The log says what is there, but for what is ignored or no file."""
        logged = self.mounted.files(self.workspace_id)
        on_disk = {
            path: each for path, each in describe(self.plain.top).items() if each.kind in "-l"
        }
        assert set(logged) <= set(on_disk)
        kept = [path for path in on_disk if path not in logged and not is_ignored(path)]
        assert kept == []
        for path, (_, mode) in logged.items():
            each = on_disk[path]
            assert self.mounted.read(self.workspace_id, path) == each.content
            assert (mode == "120000") == (each.kind == "l")
            assert (mode == "100755") == (each.kind == "-" and bool(each.bits & 0o100))


def _core(each: Described, is_open: bool) -> object:
    kept = (each.kind, each.content, each.links, each.xattrs)
    return kept if is_open else (*kept, each.bits, each.owner)


def is_comparable(action: Action, plain: Caller) -> bool:
    """Whether a workspace promises what the disk does; docs/filesystem.md says where not.

    Hard links do not go from the log to scratch, nor do files with several names: EXDEV.
    """
    name, *paths = action
    if name == "link":
        return is_ignored(str(paths[0])) == is_ignored(str(paths[1]))
    if name in RENAMES and is_ignored(str(paths[0])) != is_ignored(str(paths[1])):
        tops = [f"{plain.top}/{path}" for path in paths[: 2 if name == "rename2" else 1]]
        return not any(_has_links(top) for top in tops)
    return True


def _has_links(top: str) -> bool:
    files = [top] if not Path(top).is_dir() else [f"{top}/{path}" for path in describe(top)]
    return any(
        status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode)
        for status in (os.lstat(file) for file in files if os.path.lexists(file))
    )


def drive(machine: type[RuleBasedStateMachine], mounted: Mounted, runs: int, steps: int) -> None:
    """Runs a state machine, and checks what holds in the end."""
    try:
        mounted.start()
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=runs,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        mounted.check()
        mounted.stop()
        assert "ERROR" not in mounted.log.read_text(), mounted.log.read_text()
    finally:
        lazily_unmount(mounted.mountpoint)
        if mounted.process is not None:
            mounted.kill()


@pytest.mark.timeout(180)
def test_a_workspace_behaves_as_a_directory(unmounted: Mounted) -> None:
    """A few dozen runs."""
    Pair.mounted = unmounted
    drive(Pair, unmounted, 30, 30)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_workspace_behaves_as_a_directory_for_long(unmounted: Mounted) -> None:
    """Many longer runs."""
    Pair.mounted = unmounted
    drive(Pair, unmounted, LONG_RUNS, 60)
