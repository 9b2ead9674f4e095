"""Long names, long paths and deep directories, in the log and in scratch."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fs.conftest import Mounted

PATH_MAX_BYTES = 4096
NAME_MAX_BYTES = 255
LEVELS = 1100
"""Deeper than Python recurses."""


@contextmanager
def working_directory(directory: Path) -> Iterator[int]:
    """Works in a directory; gives a descriptor that leads back to it."""
    before = os.open(".", os.O_RDONLY)
    os.chdir(directory)
    here = os.open(".", os.O_RDONLY)
    try:
        yield here
    finally:
        os.fchdir(before)
        os.close(before)
        os.close(here)


def longest_path(last: str) -> str:
    """A relative path of as many bytes as the kernel takes, ending in ``last``."""
    left = PATH_MAX_BYTES - 1 - len(last)
    full, rest = divmod(left, 201)
    parts = ["d" * 200] * full
    if rest == 1:
        parts[-1] += "d"
    elif rest:
        parts.append("e" * (rest - 1))
    path = "/".join([*parts, last])
    assert len(path) == PATH_MAX_BYTES - 1
    return path


@pytest.mark.parametrize("below", ["src", "build/src"])
def test_paths_of_full_length_from_a_directory_inside(mounted: Mounted, below: str) -> None:
    """Every call takes PATH_MAX from a working directory, tracked and in scratch alike."""
    directory = mounted.workspace() / below
    directory.mkdir(parents=True, exist_ok=True)
    with working_directory(directory):
        far, link = longest_path("file"), longest_path("link")
        os.makedirs(os.path.dirname(far))
        Path("near").write_bytes(b"one\n")
        os.rename("near", far)
        with open(far, "ab") as file:
            file.write(b"two\n")
        assert Path(far).read_bytes() == b"one\ntwo\n"
        os.symlink("file", link)
        assert Path(link).read_bytes() == b"one\ntwo\n"
        os.chmod(far, 0o600)
        os.truncate(far, 4)
        assert os.stat(far).st_mode & 0o777 == 0o600
        os.setxattr(far, "user.note", b"far")
        assert os.getxattr(far, "user.note") == b"far"
        with pytest.raises(OSError, match="File name too long"):
            os.stat(far + "x")
        os.unlink(link)
        os.rename(far, "near")
        assert Path("near").read_bytes() == b"one\n"
        shutil.rmtree(far.split("/", maxsplit=1)[0])


@pytest.mark.parametrize("below", [".", "build"])
def test_directories_may_be_deep(mounted: Mounted, below: str) -> None:
    """A chain of eleven hundred directories is made, renamed as a whole, read and removed."""
    directory = mounted.workspace() / below
    directory.mkdir(exist_ok=True)
    with working_directory(directory) as here:
        os.mkdir("deep")
        os.chdir("deep")
        for _ in range(LEVELS):
            os.mkdir("d")
            os.chdir("d")
        Path("file").write_bytes(b"down here\n")
        os.fchdir(here)
        os.rename("deep", "deeper")
        os.chdir("deeper")
        for _ in range(LEVELS):
            os.chdir("d")
        assert Path("file").read_bytes() == b"down here\n"
        if below == ".":
            found = [path for path in mounted.files() if path.startswith("deeper/")]
            assert found == ["deeper/" + "d/" * LEVELS + "file"]
        os.unlink("file")
        for _ in range(LEVELS):
            os.chdir("..")
            os.rmdir("d")
        os.fchdir(here)
        os.rmdir("deeper")
        assert "deeper" not in os.listdir(".")


def test_names_of_full_length_move_in_and_out_of_scratch(mounted: Mounted) -> None:
    """A name of 255 bytes needs no room for a temporary one beside it."""
    workspace = mounted.workspace()
    long = "n" * NAME_MAX_BYTES
    (workspace / "build").mkdir()
    (workspace / long).write_bytes(b"tracked\n")
    (workspace / long).rename(workspace / "build" / long)
    assert long not in mounted.files()
    assert (workspace / "build" / long).read_bytes() == b"tracked\n"
    (workspace / "build" / long).rename(workspace / long)
    assert mounted.read("ws-work", long) == b"tracked\n"


def test_a_directory_of_the_view_moves_a_long_name_in_scratch_aside(mounted: Mounted) -> None:
    """What stands in scratch where a landing brings a directory keeps its bytes nearby."""
    workspace = mounted.workspace()
    long = "n" * (NAME_MAX_BYTES - len(".log")) + ".log"
    (workspace / long).write_bytes(b"ignored\n")
    other = mounted.workspace("other")
    (other / ".gitignore").write_bytes(b"")
    (other / long).mkdir()
    (other / long / "file").write_bytes(b"landed\n")
    mounted.call("land", "other", agent="tester")
    assert (workspace / long / "file").read_bytes() == b"landed\n"
    (aside,) = (name for name in os.listdir(workspace) if "~scratch-" in name)
    assert len(aside.encode()) <= NAME_MAX_BYTES
    assert (workspace / aside).read_bytes() == b"ignored\n"
