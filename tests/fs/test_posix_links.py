# The system calls and their errno are what is tested.
# ruff: noqa: PT011, PT017
"""Hard links: names of one file, in a workspace and across restarts of the daemon."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from pwfs.fs.nodes import Kind, Node, NodeTable
from pwfs.fs.spaces import Space
from tests.fs.conftest import Mounted, is_tracked

pytestmark = pytest.mark.timeout(60)


def numbers(*files: Path) -> list[tuple[int, int]]:
    """Inode number and count of names of each."""
    return [(status.st_ino, status.st_nlink) for status in map(os.lstat, files)]


def test_names_of_one_file(mounted: Mounted, place: Path) -> None:
    """One number, one count, one content, one mode; a name can go without the others."""
    first, second = place / "first", place / "second"
    first.write_text("one")
    os.link(first, second)
    (place / "d").mkdir()
    os.link(second, place / "d/third")
    third = place / "d/third"
    ((ino, links),) = set(numbers(first, second, third))
    assert links == 3
    second.write_text("two")
    assert [file.read_text() for file in (first, second, third)] == ["two"] * 3
    third.chmod(0o755)
    assert first.stat().st_mode & 0o777 == 0o755
    if is_tracked(place):
        paths = ["kept/d/third", "kept/first", "kept/second"]
        ops = mounted.ops()
        assert ops[:3] == [("create", paths[1]), ("copy", paths[2]), ("copy", paths[0])]
        # One write, then one chmod, each logged for every name.
        for logged in (ops[3:6], ops[6:]):
            assert sorted(logged) == [("modify", path) for path in paths]
    second.unlink()
    assert numbers(first, third) == [(ino, 2)] * 2
    os.replace(first, place / "moved")
    assert numbers(place / "moved", third) == [(ino, 2)] * 2
    (place / "other").write_text("other")
    os.replace(place / "other", third)
    assert numbers(place / "moved") == [(ino, 1)]
    assert third.read_text() == "other"


def test_renaming_one_name_over_another_does_nothing(place: Path) -> None:
    """POSIX: both are the same file, so both stay."""
    (place / "a").write_text("x")
    os.link(place / "a", place / "b")
    os.rename(place / "a", place / "b")
    assert numbers(place / "a") == numbers(place / "b")


def test_links_survive_a_restart(mounted: Mounted, place: Path) -> None:
    """The same numbers; the count is right before the other name was asked for."""
    (place / "d").mkdir()
    first, second = place / "first", place / "d/second"
    first.write_text("one")
    os.link(first, second)
    before = numbers(first, second)
    mounted.restart()
    assert numbers(first) == before[:1]
    assert numbers(second) == before[1:]
    mounted.restart()
    with second.open("r+") as file:
        file.write("two")
    assert first.read_text() == "two"
    assert numbers(first, second) == before
    mounted.restart()
    assert [first.read_text(), second.read_text()] == ["two", "two"]
    second.unlink()
    assert numbers(first) == [(before[0][0], 1)]
    if is_tracked(place):
        assert mounted.read("ws-work", "kept/first") == b"two"
        assert "kept/d/second" not in mounted.files()


def test_a_file_of_main_can_be_linked(mounted: Mounted) -> None:
    """The versioned file and its link are one, after a restart too, symbolic links as well."""
    ws = mounted.workspace()
    os.link(ws / "README.md", ws / "src/readme")
    os.link(ws / "link", ws / "link2", follow_symlinks=False)
    mounted.restart()
    assert len(set(numbers(ws / "src/readme", ws / "README.md"))) == 1
    assert len(set(numbers(ws / "link2", ws / "link"))) == 1
    assert (ws / "src/readme").stat().st_nlink == 2
    (ws / "src/readme").write_text("changed\n")
    assert (ws / "README.md").read_text() == "changed\n"
    assert mounted.read("ws-work", "README.md") == b"changed\n"
    assert mounted.read("ws-work", "src/readme") == b"changed\n"
    assert (mounted.main / "README.md").read_bytes() == b"hello\n"


def test_links_survive_a_kill_while_written(mounted: Mounted) -> None:
    """What was not closed is recovered under each name, and the names stay one file."""
    ws = mounted.workspace()
    (ws / "a").write_text("closed")
    os.link(ws / "a", ws / "b")
    before = numbers(ws / "a", ws / "b")
    file = (ws / "b").open("r+b", buffering=0)
    file.write(b"open")
    mounted.kill()
    with pytest.raises(OSError):
        file.write(b"lost")
    try:
        file.close()
    except OSError as error:
        assert error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    mounted.start()
    assert [(ws / name).read_text() for name in ("a", "b")] == ["opened"] * 2
    assert numbers(ws / "a", ws / "b") == before
    (ws / "a").write_text("on")
    assert (ws / "b").read_text() == "on"


def test_a_change_elsewhere_parts_a_name_from_the_others(mounted: Mounted) -> None:
    """A co-worker saves one name: that one follows, the others stay linked, and for good."""
    ws = mounted.workspace()
    other = mounted.workspace_on("work")
    for name in ("b", "c"):
        os.link(ws / "README.md", ws / name)
    (other / "b").write_text("theirs\n")
    assert (ws / "b").read_text() == "theirs\n"
    assert (ws / "b").stat().st_nlink == 1
    assert numbers(ws / "c")[0][1] == 2
    assert len(set(numbers(ws / "README.md", ws / "c"))) == 1
    (ws / "c").write_text("ours\n")
    (ws / "b").chmod(0o700)
    for name, text in {"README.md": "ours\n", "c": "ours\n", "b": "theirs\n"}.items():
        assert (ws / name).read_text() == text
        assert (other / name).read_text() == text
        assert mounted.read("ws-work", name).decode() == text
    (other / "b").write_text("ours\n")
    (other / "b").chmod(0o644)
    assert (ws / "README.md").stat().st_mode & 0o111 == 0
    mounted.restart()
    assert (ws / "b").stat().st_nlink == 1
    assert len(set(numbers(ws / "README.md", ws / "c"))) == 1
    assert (ws / "c").stat().st_nlink == 2


def test_a_name_is_changed_elsewhere_while_the_file_is_written(mounted: Mounted) -> None:
    """Both edits are kept: the written name is merged, the others take what was written."""
    ws = mounted.workspace()
    other = mounted.workspace_on("work")
    os.link(ws / "src/app.py", ws / "app2.py")
    lines = (ws / "src/app.py").read_text().splitlines(keepends=True)
    with (ws / "src/app.py").open("r+") as file:
        file.write("ONE".ljust(len(lines[0]) - 1))
        file.flush()
        (other / "app2.py").write_text("".join([*lines[:-1], "SEVEN\n"]))
    assert (ws / "src/app.py").read_text() == "".join(["ONE\n", *lines[1:]])
    merged = "".join(["ONE\n", *lines[1:-1], "SEVEN\n"])
    assert (ws / "app2.py").read_text() == (other / "app2.py").read_text() == merged
    assert (ws / "src/app.py").stat().st_nlink == (ws / "app2.py").stat().st_nlink == 1


def test_links_do_not_lead_out_of_the_log(mounted: Mounted) -> None:
    """Half logged and half ignored is EXDEV: `mv` and `cp -l` then copy or say so."""
    ws = mounted.workspace()
    (ws / "build").mkdir()
    os.link(ws / "README.md", ws / "second")
    with pytest.raises(OSError) as refused:
        os.link(ws / "README.md", ws / "build/link")
    assert refused.value.errno == errno.EXDEV
    with pytest.raises(OSError) as refused:
        os.rename(ws / "second", ws / "build/second")
    assert refused.value.errno == errno.EXDEV
    subprocess.run(["mv", ws / "second", ws / "build/second"], check=True)
    assert (ws / "build/second").read_bytes() == b"hello\n"
    assert (ws / "README.md").stat().st_nlink == 1
    (ws / "build/a").write_text("ignored")
    os.link(ws / "build/a", ws / "build/b")
    with pytest.raises(OSError) as refused:
        os.rename(ws / "build/b", ws / "b")
    assert refused.value.errno == errno.EXDEV
    subprocess.run(["mv", ws / "build/b", ws / "b"], check=True)
    assert mounted.read("ws-work", "b") == b"ignored"
    assert (ws / "build/a").stat().st_nlink == 1


def test_links_come_out_of_an_ignored_directory(mounted: Mounted) -> None:
    """With all their names they stay links; from names that are left behind they are parted."""
    ws = mounted.workspace()
    (ws / "build/d").mkdir(parents=True)
    (ws / "build/d/a").write_text("pair")
    os.link(ws / "build/d/a", ws / "build/d/b")
    (ws / "build/d/c").write_text("half")
    os.link(ws / "build/d/c", ws / "build/left")
    assert (ws / "build/left").stat().st_nlink == 2
    with (ws / "build/left").open("ab", buffering=0) as opened:
        (ws / "build/d").rename(ws / "d")
        opened.write(b" way")
    for _ in range(2):
        assert len(set(numbers(ws / "d/b", ws / "d/a"))) == 1
        assert numbers(ws / "d/a")[0][1] == 2
        assert numbers(ws / "d/c")[0][1] == numbers(ws / "build/left")[0][1] == 1
        mounted.restart()
    (ws / "d/b").write_text("two")
    assert (ws / "d/a").read_text() == "two"
    assert (ws / "d/c").read_text() == "half"
    assert (ws / "build/left").read_text() == "half way"
    assert mounted.read("ws-work", "d/a") == mounted.read("ws-work", "d/b") == b"two"
    assert set(mounted.files()) & {"build/left", "d/c"} == {"d/c"}


def test_linked_names_of_a_directory_move_with_it(mounted: Mounted, place: Path) -> None:
    """Renaming a directory leaves the links of what is in it alone, also across a restart."""
    (place / "d").mkdir()
    (place / "d/in").write_text("x")
    os.link(place / "d/in", place / "out")
    os.rename(place / "d", place / "e")
    before = numbers(place / "e/in", place / "out")
    assert len(set(before)) == 1
    mounted.restart()
    assert numbers(place / "out", place / "e/in") == before
    (place / "out").write_text("y")
    assert (place / "e/in").read_text() == "y"


def test_a_node_is_forgotten_with_all_its_names() -> None:
    """A linked file that nobody uses takes no memory, nor do the directories of its names."""
    table = NodeTable()
    space = Space("space", table)
    table.add(space.root, 100)
    file = Node(space, Kind.FILE, None, "")
    table.add(file, 200)
    for number in range(3):
        directory = Node(space, Kind.DIRECTORY, None, "")
        table.add(directory, 300 + number)
        directory.attach(space.root, f"d{number}")
        file.attach(directory, "name")
    file.lookups = 2
    table.forget(200, 1)
    assert len(table) == 5
    table.forget(200, 1)
    assert len(table) == 1
    assert space.root.children == {}
