# The system calls are what is tested.
"""A file stays the same file: its inode number and its links, whatever happens around it."""

import os
from pathlib import Path

import pytest

from pwfs.fs.nodes import Kind, Node, NodeTable
from pwfs.fs.spaces import Space
from tests.fs.conftest import Mounted, is_tracked

pytestmark = pytest.mark.timeout(60)


def test_a_file_keeps_its_number_while_it_is_saved(mounted: Mounted, place: Path) -> None:
    """In place, cut, mapped to no other: one number for as long as it lives, over restarts too."""
    file = place / "f"
    file.write_text("one")
    number = file.stat().st_ino
    numbers = {number}
    with file.open("r+b", buffering=0) as opened:
        for text in (b"two", b"three"):
            os.pwrite(opened.fileno(), text, 0)
            os.fsync(opened.fileno())
            numbers.add(os.fstat(opened.fileno()).st_ino)
    file.write_text("four")
    file.chmod(0o755)
    os.truncate(file, 2)
    numbers.add(file.stat().st_ino)
    mounted.restart()
    numbers.add(file.stat().st_ino)
    file.write_text("five")
    (place / "d").mkdir()
    file.rename(place / "d/g")
    numbers.add((place / "d/g").stat().st_ino)
    mounted.restart()
    numbers.add((place / "d/g").stat().st_ino)
    assert numbers == {number}
    if is_tracked(place):
        assert mounted.read("ws-work", "kept/d/g") == b"five"


def test_a_save_by_rename_has_the_new_files_number(mounted: Mounted, place: Path) -> None:
    """As on a disk: what was renamed over is gone, what came keeps its number and times."""
    (place / "f").write_text("old")
    old = (place / "f").stat().st_ino
    (place / "f.tmp").write_text("new")
    new = (place / "f.tmp").stat()
    os.replace(place / "f.tmp", place / "f")
    assert (place / "f").stat().st_ino == new.st_ino != old
    mounted.restart()
    after = (place / "f").stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_size) == (new.st_ino, new.st_mtime_ns, 3)


def test_directories_keep_their_number_and_times(mounted: Mounted, place: Path) -> None:
    """Of main, made, filled and moved; a restart is nothing that happened to them."""
    ws = place.parent
    (place / "filled").mkdir()
    (place / "filled/f").write_text("x")
    (place / "moved").mkdir()
    (place / "moved").rename(place / "there")
    (ws / "src/lib/new.py").write_text("x")
    directories = [ws, ws / "src", ws / "src/lib", place, place / "filled", place / "there"]
    before = [(d.stat().st_ino, d.stat().st_mtime_ns, d.stat().st_nlink) for d in directories]
    mounted.restart()
    assert [(d.stat().st_ino, d.stat().st_mtime_ns, d.stat().st_nlink) for d in directories] == (
        before
    )


def test_links_stay_links_while_the_directory_of_one_is_renamed(mounted: Mounted) -> None:
    """Of two names of a file, one moves with its directory while nobody knows the file."""
    workspace = mounted.workspace()
    (workspace / "b").hardlink_to(workspace / "src/app.py")
    before = (workspace / "b").stat()
    mounted.stop()
    mounted.start()
    (workspace / "src").rename(workspace / "source")
    mounted.stop()
    mounted.start()
    for name in ("source/app.py", "b"):
        after = (workspace / name).stat()
        assert (after.st_ino, after.st_nlink) == (before.st_ino, 2), name
    (workspace / "b").write_bytes(b"two\n")
    assert (workspace / "source/app.py").read_bytes() == b"two\n"


def test_a_forgotten_directory_leads_nowhere() -> None:
    """Whoever still holds it makes nothing below it that would take another's inode number."""
    table = NodeTable()
    space = Space("space", table)
    table.add_root(space.root, 1)
    directory = Node(space, Kind.DIRECTORY, None, "")
    table.add(directory, 2)
    directory.attach(space.root, "d")
    table.drop_unused(directory)
    assert not directory.is_attached
    assert space.root.children == {}
