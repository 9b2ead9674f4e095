# The system calls and their errno are what is tested.
# ruff: noqa: PTH104, PTH208
"""A workspace behaves as a plain directory on disk: the same results, errors, trees and contents.

Hypothesis drives both with the same operations on a small set of names. At the end the log,
replayed, must give the files that are there.
"""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.fs.conftest import Mounted, lazily_unmount, make_repository

NAMES = ["a", "b", "c", "d/x", "d/y", "d/e/x", "e", "e/x", "f", "build/x", "x.log", "d/x.log"]
paths = st.sampled_from(NAMES)
contents = st.binary(max_size=40) | st.integers(1, 9).map(lambda n: bytes([64 + n]) * (n * 1500))


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
        self.workspace_id = workspace["id"]
        self.shown = self.mounted.mountpoint / "ws" / self.workspace_id
        self.plain = Path(tempfile.mkdtemp(dir=self.mounted.repository.parent))
        self.open: list[tuple[int, int]] = []
        shutil.copytree(self.mounted.main, self.plain, symlinks=True, dirs_exist_ok=True)

    def both(self, do: Callable[[Path], object]) -> None:
        """Does the same on both sides and compares what came of it."""
        expected = self._outcome(do, self.plain)
        found = self._outcome(do, self.shown)
        assert found == expected, f"shown {found}, on disk {expected}"

    @staticmethod
    def _outcome(do: Callable[[Path], object], top: Path) -> object:
        try:
            return do(top)
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, str(error))

    @rule(path=paths, content=contents)
    def write(self, path: str, content: bytes) -> None:
        self.both(lambda top: (top / path).write_bytes(content))

    @rule(path=paths, content=contents)
    def append(self, path: str, content: bytes) -> None:
        def do(top: Path) -> object:
            with (top / path).open("ab") as file:
                file.write(content)
                return file.tell()

        self.both(do)

    @rule(path=paths, content=contents, offset=st.integers(0, 6000))
    def overwrite(self, path: str, content: bytes, offset: int) -> None:
        def do(top: Path) -> object:
            fd = os.open(top / path, os.O_RDWR)
            try:
                os.pwrite(fd, content, offset)
                return os.pread(fd, 8000, 0)
            finally:
                os.close(fd)

        self.both(do)

    @rule(path=paths)
    def create_exclusively(self, path: str) -> None:
        self.both(lambda top: os.close(os.open(top / path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)))

    @rule(path=paths, size=st.integers(0, 9000))
    def truncate(self, path: str, size: int) -> None:
        self.both(lambda top: os.truncate(top / path, size))

    @rule(old=paths, new=paths)
    def rename(self, old: str, new: str) -> None:
        self.both(lambda top: os.rename(top / old, top / new))

    @rule(old=st.sampled_from(["d", "e", "src", "d/e", "build"]), new=paths)
    def rename_directory(self, old: str, new: str) -> None:
        self.both(lambda top: os.rename(top / old, top / new))

    @rule(path=paths)
    def unlink(self, path: str) -> None:
        self.both(lambda top: (top / path).unlink())

    @rule(path=st.sampled_from(["d", "e", "d/e", "build", "a", "src"]))
    def mkdir(self, path: str) -> None:
        self.both(lambda top: (top / path).mkdir())

    @rule(path=st.sampled_from(["d", "e", "d/e", "build", "a", "src", "src/lib"]))
    def rmdir(self, path: str) -> None:
        self.both(lambda top: (top / path).rmdir())

    @rule(path=paths, to=paths)
    def symlink(self, path: str, to: str) -> None:
        self.both(lambda top: (top / path).symlink_to(to))

    @rule(old=paths, new=paths)
    def link(self, old: str, new: str) -> None:
        if old.endswith(".log") != new.endswith(".log") or "build" in old + new:
            return  # Between the log and scratch there are no hard links: EXDEV.
        self.both(lambda top: os.link(top / old, top / new, follow_symlinks=False))

    @rule(path=paths, mode=st.sampled_from([0o644, 0o755, 0o600, 0o711]))
    def chmod(self, path: str, mode: int) -> None:
        self.both(lambda top: (top / path).chmod(mode))

    @rule(path=paths, time=st.integers(1, 2**33))
    def utime(self, path: str, time: int) -> None:
        self.both(lambda top: os.utime(top / path, ns=(time, time * 3)))

    @rule(path=paths)
    def hold_open(self, path: str) -> None:
        if len(self.open) >= 3:
            return
        pair = []
        for top in (self.plain, self.shown):
            try:
                pair.append(os.open(top / path, os.O_RDWR | os.O_CREAT, 0o644))
            except OSError as error:
                pair.append(-(error.errno or 0))
        if min(pair) < 0:
            assert pair[0] == pair[1]
        else:
            self.open.append((pair[0], pair[1]))

    @rule(content=contents, offset=st.integers(0, 5000), which=st.integers(0, 2))
    def write_held(self, content: bytes, offset: int, which: int) -> None:
        if which < len(self.open):
            for fd in self.open[which]:
                os.pwrite(fd, content, offset)

    @rule(which=st.integers(0, 2))
    def read_held(self, which: int) -> None:
        if which < len(self.open):
            plain, shown = self.open[which]
            assert os.pread(shown, 20_000, 0) == os.pread(plain, 20_000, 0)
            assert os.fstat(shown).st_nlink == os.fstat(plain).st_nlink

    @rule(which=st.integers(0, 2))
    def close_held(self, which: int) -> None:
        if which < len(self.open):
            for fd in self.open.pop(which):
                os.close(fd)

    @rule(path=st.sampled_from(["", "d", "e", "src", "a", "d/e"]))
    def listdir(self, path: str) -> None:
        self.both(lambda top: sorted(os.listdir(top / path)))

    @invariant()
    def trees_are_alike(self) -> None:
        assert describe(self.shown) == describe(self.plain)

    def teardown(self) -> None:
        try:
            for pair in self.open:
                for fd in pair:
                    os.close(fd)
            self.open.clear()
            assert describe(self.shown) == describe(self.plain)
            self._check_log()
        finally:
            shutil.rmtree(self.plain)
        self.mounted.call("destroy_workspace", self.workspace_id)

    def _check_log(self) -> None:
        """The log says what is there, but for what is ignored."""
        logged = self.mounted.files(self.workspace_id)
        on_disk = {
            name: (kind, content)
            for name, (kind, _, _, content) in describe(self.plain).items()
            if kind != "directory"
        }
        scratch = {name for name in on_disk if name not in logged}
        assert set(logged) <= set(on_disk)
        assert all(name.endswith(".log") or "build/" in name for name in scratch), scratch
        for name, (_, mode) in logged.items():
            kind, content = on_disk[name]
            assert self.mounted.read(self.workspace_id, name) == content
            assert (mode == "120000") == (kind == "link")
            if kind == "file":
                executable = bool((self.plain / name).stat().st_mode & 0o100)
                assert (mode == "100755") == executable


class Team(RuleBasedStateMachine):
    """Two workspaces of one change and one plain directory: what either does, both show."""

    mounted: Mounted
    count = 0

    def __init__(self) -> None:
        super().__init__()
        Team.count += 1
        self.change = f"team-{Team.count}"
        self.mounted.call("create_change", self.change, author="tester")
        self.ids = [
            self.mounted.call("create_workspace", self.change, agent=f"agent-{n}")["id"]
            for n in range(2)
        ]
        self.tops = [self.mounted.mountpoint / "ws" / id_ for id_ in self.ids]
        self.view = f"view-of-{self.change}"
        self.mounted.call(
            "create_view", self.view, owner="tester", base="latest", overlays=[self.change]
        )
        self.tops.append(self.mounted.mountpoint / "views" / self.view)
        self.plain = Path(tempfile.mkdtemp(dir=self.mounted.repository.parent))
        shutil.copytree(self.mounted.main, self.plain, symlinks=True, dirs_exist_ok=True)

    def both(self, who: int, do: Callable[[Path], object]) -> None:
        """Does it in one workspace; a directory there is made in the other if it is empty."""
        expected = Pair._outcome(do, self.plain)
        found = Pair._outcome(do, self.tops[who])
        assert found == expected, f"shown {found}, on disk {expected}"

    who = st.integers(0, 1)
    shared = st.sampled_from(["a", "b", "src/x", "src/lib/x", "src/app.py", "README.md", "run.sh"])

    @rule(who=who, path=shared, content=contents)
    def write(self, who: int, path: str, content: bytes) -> None:
        self.both(who, lambda top: (top / path).write_bytes(content))

    @rule(who=who, path=shared, content=contents)
    def save_through_a_temporary_file(self, who: int, path: str, content: bytes) -> None:
        def do(top: Path) -> None:
            (top / "temporary").write_bytes(content)
            (top / "temporary").rename(top / path)

        self.both(who, do)

    @rule(who=who, old=shared, new=shared)
    def rename(self, who: int, old: str, new: str) -> None:
        self.both(who, lambda top: os.rename(top / old, top / new))

    @rule(who=who, path=shared)
    def unlink(self, who: int, path: str) -> None:
        self.both(who, lambda top: (top / path).unlink())

    @rule(who=who, path=shared, to=shared)
    def symlink(self, who: int, path: str, to: str) -> None:
        self.both(who, lambda top: (top / path).symlink_to(to))

    @rule(who=who, path=shared, mode=st.sampled_from([0o644, 0o755]))
    def chmod(self, who: int, path: str, mode: int) -> None:
        self.both(who, lambda top: (top / path).chmod(mode))

    @rule(who=who, path=shared, size=st.integers(0, 9000))
    def truncate(self, who: int, path: str, size: int) -> None:
        self.both(who, lambda top: os.truncate(top / path, size))

    @invariant()
    def all_show_the_same(self) -> None:
        # Empty directories are each workspace's own.
        expected = self._files(self.plain)
        for top in self.tops:
            assert self._files(top) == expected, top

    @staticmethod
    def _files(top: Path) -> dict[str, tuple[str, bool, bytes]]:
        return {
            name: (kind, bool(bits & 0o100), content)
            for name, (kind, bits, _, content) in describe(top).items()
            if kind != "directory"
        }

    def teardown(self) -> None:
        shutil.rmtree(self.plain)
        for id_ in self.ids:
            self.mounted.call("destroy_workspace", id_)
        self.mounted.call("delete_view", self.view)


def describe(top: Path) -> dict[str, tuple[str, int, int, bytes]]:
    """Everything below a directory: kind, permissions, links, content."""
    found = {}
    for directory, directories, files in os.walk(top):
        for name in directories + files:
            path = Path(directory) / name
            status = path.lstat()
            key = str(path.relative_to(top))
            bits = stat.S_IMODE(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                found[key] = ("link", 0, 0, os.fsencode(path.readlink()))
            elif stat.S_ISDIR(status.st_mode):
                found[key] = ("directory", bits, status.st_nlink, b"")
            else:
                content = path.read_bytes()
                assert status.st_size == len(content)
                found[key] = ("file", bits, status.st_nlink, content)
    return found


def _drive(machine: type[Pair] | type[Team], directory: Path, examples: int, steps: int) -> None:
    repository = directory / "repo"
    make_repository(repository)
    mounted = Mounted(repository, directory / "mnt")
    try:
        mounted.start()
        machine.mounted = mounted
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        mounted.stop()
        assert "ERROR" not in mounted.log.read_text(), mounted.log.read_text()
    finally:
        lazily_unmount(mounted.mountpoint)
        if mounted.process is not None:
            mounted.kill()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("machine", [Pair, Team])
def test_a_workspace_behaves_as_a_directory(
    machine: type[Pair] | type[Team], tmp_path: Path
) -> None:
    """A few dozen runs."""
    _drive(machine, tmp_path, 30, 25)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("machine", [Pair, Team])
def test_a_workspace_behaves_as_a_directory_for_long(
    machine: type[Pair] | type[Team], tmp_path: Path
) -> None:
    """Many longer runs."""
    _drive(machine, tmp_path, 1500, 60)
