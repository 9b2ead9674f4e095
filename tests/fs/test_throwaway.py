"""The queue's workspaces: an exact tree, writable, with nothing logged."""

import os
import subprocess

import pytest

from tests.fs.conftest import Mounted
from tests.support.syscalls import exchange

# The system calls and their errno are what is tested.
# ruff: noqa: PTH208

pytestmark = pytest.mark.timeout(60)


def test_a_throwaway_workspace_keeps_nothing(mounted: Mounted) -> None:
    """Everything can be changed in it, and neither the log nor main sees any of it."""
    root = mounted.call("status")["main_root"]
    mounted.call("create_test_workspace", "test-1", root)
    ws = mounted.mountpoint / "ws/test-1"
    before = mounted.call("status")["head_seq"]
    assert (ws / "README.md").read_text() == "hello\n"
    times = (ws / "run.sh").stat().st_mtime_ns
    with (ws / "README.md").open("a") as file:
        file.write("more\n")
    (ws / "out").mkdir()
    (ws / "out/result.txt").write_text("ok")
    (ws / "src").rename(ws / "code")
    assert sorted(os.listdir(ws / "code")) == ["app.py", "lib"]
    assert (ws / "code/lib/util.py").read_text().startswith("def")
    assert not (ws / "src").exists()
    (ws / "src").mkdir()
    assert os.listdir(ws / "src") == []
    (ws / "run.sh").chmod(0o700)
    assert (ws / "run.sh").stat().st_mtime_ns == times
    (ws / "link").unlink()
    assert not (ws / "link").exists()
    (ws / "link").write_text("a file now")
    (ws / "code/app.py").rename(ws / "README.md")
    assert (ws / "README.md").read_text().startswith("one")
    subprocess.run(["rm", "-rf", str(ws / "code")], check=True)
    assert not (ws / "code").exists()
    assert sorted(os.listdir(ws)) == [".gitignore", "README.md", "link", "out", "run.sh", "src"]
    assert mounted.call("status")["head_seq"] == before
    assert (mounted.main / "README.md").read_text() == "hello\n"
    mounted.call("destroy_workspace", "test-1")
    assert not ws.exists()
    assert not (mounted.repository / ".patchwork/work/test-1").exists()


def test_each_test_has_its_own(mounted: Mounted) -> None:
    """Two on the same tree do not see each other, and programs work in them."""
    root = mounted.call("status")["main_root"]
    tops = []
    for number in range(2):
        mounted.call("create_test_workspace", f"test-{number}", root)
        tops.append(mounted.mountpoint / f"ws/test-{number}")
    (tops[0] / "x").write_text("0")
    assert not (tops[1] / "x").exists()
    done = subprocess.run(
        ["sh", "-c", "sed -i s/one/1/ src/app.py && cp -a src copy && ./run.sh && git init -q ."],
        cwd=tops[1],
        check=True,
        capture_output=True,
    )
    assert done.stdout == b"hi\n"
    assert (tops[1] / "copy/app.py").read_text().startswith("1\n")
    assert (tops[0] / "src/app.py").read_text().startswith("one\n")


def test_names_are_exchanged_in_one(mounted: Mounted) -> None:
    """Also what the tree has, and still nothing is logged."""
    mounted.call("create_test_workspace", "test-1", mounted.call("status")["main_root"])
    ws = mounted.mountpoint / "ws/test-1"
    before = mounted.call("status")["head_seq"]
    (ws / "new").write_text("new")
    exchange(ws / "new", ws / "README.md")
    exchange(ws / "src", ws / "link")
    assert (ws / "new").read_text() == "hello\n"
    assert (ws / "README.md").read_text() == "new"
    assert (ws / "src").is_symlink()
    assert (ws / "link/lib/util.py").read_text().startswith("def")
    assert sorted(os.listdir(ws / "link")) == ["app.py", "lib"]
    exchange(ws / "link/lib", ws / "run.sh")
    assert (ws / "run.sh/util.py").read_text().startswith("def")
    assert (ws / "link/lib").read_bytes().startswith(b"#!")
    assert mounted.call("status")["head_seq"] == before
