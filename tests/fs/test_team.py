"""Several workspaces of one change behave as one plain directory: what any does, all show."""

import shutil
import tempfile

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.fs.calls import Caller
from tests.fs.conftest import Mounted
from tests.fs.describing import describe
from tests.fs.test_differential import LONG_RUNS, drive

WORKSPACES = 3
SHARED = ["a", "b", "src/x", "src/lib/x", "src/app.py", "README.md", "run.sh"]
who = st.integers(0, WORKSPACES - 1)
paths = st.sampled_from(SHARED)
tags = st.integers(1, 999)
sizes = st.sampled_from([0, 1, 40, 4096, 13_500, 140_000])


class Team(RuleBasedStateMachine):
    """The workspaces, a view on their change, and the plain directory."""

    mounted: Mounted
    count = 0

    def __init__(self) -> None:
        super().__init__()
        Team.count += 1
        change = f"team-{Team.count}"
        self.mounted.call("create_change", change, author="tester")
        self.ids = [
            str(self.mounted.call("create_workspace", change, agent=f"agent-{n}")["id"])
            for n in range(WORKSPACES)
        ]
        self.tops = [Caller(str(self.mounted.mountpoint / "ws" / id_)) for id_ in self.ids]
        self.view = f"view-of-{change}"
        self.mounted.call(
            "create_view", self.view, owner="tester", base="latest", overlays=[change]
        )
        self.shown = [
            *(top.top for top in self.tops),
            str(self.mounted.mountpoint / "views" / self.view),
        ]
        self.plain = Caller(tempfile.mkdtemp(dir=self.mounted.repository.parent))
        shutil.copytree(self.mounted.main, self.plain.top, symlinks=True, dirs_exist_ok=True)

    def both(self, who: int, *action: object) -> None:
        """Does it in one workspace and in the plain directory."""
        expected = self.plain.do(action)
        found = self.tops[who].do(action)
        assert found == expected, f"{action}: shown {found!r}, on disk {expected!r}"

    @rule(
        who=who, path=paths, tag=tags, size=sizes, how=st.sampled_from(["write", "save", "append"])
    )
    def write(self, who: int, path: str, tag: int, size: int, how: str) -> None:
        self.both(who, how, path, tag, size)

    @rule(who=who, path=paths, tag=tags, size=sizes, offset=st.sampled_from([0, 1, 4096, 70_000]))
    def write_in_place(self, who: int, path: str, tag: int, size: int, offset: int) -> None:
        self.both(who, "pwrite", path, tag, size, offset)

    @rule(who=who, path=paths, tag=tags, length=st.integers(0, 9000), offset=st.integers(0, 9000))
    def write_by_map(self, who: int, path: str, tag: int, length: int, offset: int) -> None:
        self.both(who, "map_write", path, tag, length, offset)

    @rule(who=who, old=paths, new=paths)
    def rename(self, who: int, old: str, new: str) -> None:
        self.both(who, "rename", old, new)

    @rule(who=who, path=paths)
    def unlink(self, who: int, path: str) -> None:
        self.both(who, "unlink", path)

    @rule(who=who, path=paths, to=paths)
    def symlink(self, who: int, path: str, to: str) -> None:
        self.both(who, "symlink", path, to)

    @rule(who=who, path=paths, mode=st.sampled_from([0o644, 0o755]))
    def chmod(self, who: int, path: str, mode: int) -> None:
        self.both(who, "chmod", path, mode)

    @rule(who=who, path=paths, length=st.integers(0, 9000))
    def truncate(self, who: int, path: str, length: int) -> None:
        self.both(who, "truncate", path, length)

    @invariant()
    def all_show_the_same(self) -> None:
        # Empty directories are each workspace's own.
        expected = _files(self.plain.top)
        for top in self.shown:
            assert _files(top) == expected, top

    def teardown(self) -> None:
        shutil.rmtree(self.plain.top)
        for id_ in self.ids:
            self.mounted.call("destroy_workspace", id_)
        self.mounted.call("delete_view", self.view)


def _files(top: str) -> dict[str, tuple[str, bool, bytes]]:
    return {
        name: (each.kind, bool(each.bits & 0o100), each.content)
        for name, each in describe(top).items()
        if each.kind != "d"
    }


@pytest.mark.timeout(180)
def test_workspaces_of_one_change_show_one_directory(unmounted: Mounted) -> None:
    """A few dozen runs."""
    Team.mounted = unmounted
    drive(Team, unmounted, 30, 25)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_workspaces_of_one_change_show_one_directory_for_long(unmounted: Mounted) -> None:
    """Many longer runs."""
    Team.mounted = unmounted
    drive(Team, unmounted, LONG_RUNS, 60)
