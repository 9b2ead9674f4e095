"""What the mount knows of a workspace's files that the log does not."""

from collections.abc import Iterable

from pwfs.fs.nodes import Kind, Node
from pwfs.fs.workspace import WorkspaceSpace
from pwfs.model.paths import RepoPath
from pwfs.model.standing import Unsettled


def open_paths(nodes: Iterable[Node]) -> list[RepoPath]:
    """The paths at which files are shown, in order."""
    return sorted(path for node in nodes for path in node.shown_paths())


def unsettled(
    space: WorkspaceSpace, is_open: Iterable[Node], is_dirty: Iterable[Node]
) -> Unsettled:
    """Tells what is not, or may soon be more than, what the log has.

    ``is_open`` are files of the workspace that programs may write, ``is_dirty`` those of all
    workspaces that hold something which could not be logged.
    """
    return Unsettled(
        open=tuple(open_paths(node for node in is_open if node.kind is Kind.FILE)),
        pending=tuple(open_paths(node for node in is_dirty if node.space is space)),
        not_logged=tuple(space.large_files()),
    )
