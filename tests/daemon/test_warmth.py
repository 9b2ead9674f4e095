"""What passed tests left: moved into the next workspace, whole, and from nowhere else."""

from pathlib import Path

import pytest

from pwfs.model.errors import InvalidArgument
from pwfs.model.paths import RepoPath
from pwfs.repo.config import Config, with_setting
from pwfs_daemon.warmth import WarmScratch, Warmth

BUILD, NESTED = RepoPath("build"), RepoPath("packages/one/node_modules")
WARMTH = Warmth("make test", "e" * 64, (BUILD, NESTED))
ALL = frozenset(WARMTH.paths)


@pytest.fixture
def warm(tmp_path: Path) -> WarmScratch:
    """Nothing is kept yet."""
    return WarmScratch(tmp_path)


def left(tmp_path: Path, workspace: str, *files: str) -> Path:
    """The scratch of a workspace in which a test wrote some files."""
    scratch = tmp_path / "work" / workspace / "tree"
    scratch.mkdir(parents=True)
    for file in files:
        (scratch / file).parent.mkdir(parents=True, exist_ok=True)
        (scratch / file).write_text(workspace)
    return scratch


def test_what_is_named_is_moved_on(warm: WarmScratch, tmp_path: Path) -> None:
    """With its times and all below; what else the test wrote is not."""
    one = left(tmp_path, "one", "build/a/b.o", "packages/one/node_modules/x", "other/y")
    changed = (one / "build/a/b.o").stat().st_mtime_ns
    warm.keep("one", WARMTH, 1, 4)
    assert not (one / "build").exists()
    assert (one / "other/y").exists()
    assert warm.give("two", WARMTH, ALL) == 1
    two = tmp_path / "work/two/tree"
    assert (two / "build/a/b.o").stat().st_mtime_ns == changed
    assert (two / "packages/one/node_modules/x").read_text() == "one"
    assert not (two / "other").exists()
    assert warm.give("three", WARMTH, ALL) is None, "nobody else has it"


def test_the_last_ones_are_kept_and_given_first(warm: WarmScratch, tmp_path: Path) -> None:
    """As many as are allowed."""
    for number in range(1, 5):
        left(tmp_path, f"w{number}", "build/file")
        warm.keep(f"w{number}", WARMTH, number, 2)
    assert [warm.give(f"next-{number}", WARMTH, ALL) for number in range(3)] == [4, 3, None]


def test_only_for_such_tests(warm: WarmScratch, tmp_path: Path) -> None:
    """Another command, environment or setting begins cold."""
    left(tmp_path, "one", "build/file")
    warm.keep("one", WARMTH, 1, 4)
    for other in (
        Warmth("make check", WARMTH.environment_hash, WARMTH.paths),
        Warmth(WARMTH.command, "f" * 64, WARMTH.paths),
        Warmth(WARMTH.command, WARMTH.environment_hash, (BUILD,)),
    ):
        assert warm.give("two", other, ALL) is None
    assert warm.give("two", WARMTH, ALL) == 1


def test_where_the_tree_has_something_nothing_is_given(warm: WarmScratch, tmp_path: Path) -> None:
    """The tested tree stands before what was kept, which is dropped."""
    left(tmp_path, "one", "build/file", "packages/one/node_modules/x")
    warm.keep("one", WARMTH, 1, 4)
    assert warm.give("two", WARMTH, {NESTED}) == 1
    assert sorted(path.name for path in (tmp_path / "work/two/tree").iterdir()) == ["packages"]
    assert warm.give("three", WARMTH, ALL) is None


def test_no_link_is_followed(warm: WarmScratch, tmp_path: Path) -> None:
    """Neither one in the place of a directory nor one above it."""
    outside = tmp_path / "outside"
    (outside / "one/node_modules").mkdir(parents=True)
    scratch = left(tmp_path, "one")
    (scratch / "build").symlink_to(outside)
    (scratch / "packages").symlink_to(outside)
    warm.keep("one", WARMTH, 1, 4)
    assert (outside / "one/node_modules").is_dir()
    assert warm.give("two", WARMTH, ALL) is None
    left(tmp_path, "three", "build")
    warm.keep("three", WARMTH, 3, 4)
    assert warm.give("four", WARMTH, ALL) is None, "a file is no directory"


def test_what_a_dead_daemon_was_moving_is_removed(warm: WarmScratch, tmp_path: Path) -> None:
    """What it had kept stays, unless nothing is to be kept any more."""
    left(tmp_path, "one", "build/file")
    warm.keep("one", WARMTH, 1, 4)
    for name in ("2.partial", "3.taken"):
        (tmp_path / "work/warm" / name / "tree/build").mkdir(parents=True)
    warm.clear(keeps=True)
    assert [entry.name for entry in (tmp_path / "work/warm").iterdir()] == ["1"]
    warm.clear(keeps=False)
    assert not (tmp_path / "work/warm").exists()
    warm.clear(keeps=False)


@pytest.mark.parametrize("value", ["/build", "a/../b", "build/\nbuild/x", ".patchwork/x", "/"])
def test_what_is_no_directory_of_the_code_base_is_refused(value: str) -> None:
    """When it is set."""
    with pytest.raises(InvalidArgument):
        with_setting(Config(), "warm-scratch", value)


def test_each_line_is_a_directory() -> None:
    """With or without a slash at the end."""
    config = with_setting(Config(), "warm-scratch", "\nbuild/\n a/b \nbuild\n")
    assert config.warm_paths == ("a/b", "build")
