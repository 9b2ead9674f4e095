"""A file stays the same file: its inode number and its links, whatever happens around it."""

from pwfs.fs.nodes import Kind, Node, NodeTable
from pwfs.fs.spaces import Space
from tests.fs.conftest import Mounted


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
