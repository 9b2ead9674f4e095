"""Hard links of versioned files: several names of one inode, though the log has only copies.

That two names are one file is the workspace's own, kept in the attributes' rows: names whose rows
have the same ``group`` are one file for as long as the view shows the same at each. A change
elsewhere to one of them parts it from the others. When one name is looked up, the node gets all
of them, so the link count is right, and a write goes to each.
"""

import secrets
from collections.abc import Sequence

import msgspec

from pwfs.fs.attributes import Attrs
from pwfs.fs.nodes import Kind, Node
from pwfs.fs.resolving import Resolving
from pwfs.model.entries import FileEntry
from pwfs.model.paths import RepoPath, split
from pwfs.repo.core import Movement
from pwfs.views.editor import Found

_GROUP_BITS = 62


class Linking(Resolving):
    """The part of a workspace that knows which names are one file."""

    def adopt(self, directory: Node, name: str, path: RepoPath, found: Found | None) -> Node | None:
        row = self.rows.get(path)
        if row is None or row.group is None or row.shadowed or not isinstance(found, FileEntry):
            return super().adopt(directory, name, path, found)
        others = self._linked(path, found)
        for other in others:
            known = self.known(other)
            if known is not None and known.entry == found and known.kind is not Kind.SCRATCH:
                known.attach(directory, name)
                self.share_row(known)
                return known
        node = super().adopt(directory, name, path, found)
        if node is not None and node.entry == found and others:
            for other in others:
                self._attach(node, other)
            self.share_row(node)
        return node

    def _linked(self, path: RepoPath, entry: FileEntry) -> list[RepoPath]:
        """The other names that are the same file as a path, which shows ``entry``."""
        return [
            other
            for other in self.rows.linked(path)
            if other != path and self.view_get(other) == entry
        ]

    def _attach(self, node: Node, path: RepoPath) -> None:
        """Gives a node a name that nobody has looked up yet."""
        *above, name = path.split("/")
        directory = self.root
        for part in above:
            child = self.child(directory, part)
            if child is None or child.kind is not Kind.DIRECTORY:
                break
            directory = child
        else:
            assert directory.children is not None
            if name not in directory.children:
                node.attach(directory, name)
        self.table.drop_unused(directory)

    def share_row(self, node: Node) -> None:
        """Makes the rows of all names one, so that what changes for one changes for each."""
        for directory, name in node.names():
            if node.attrs is not None and directory.is_attached:
                self.rows.share(directory.path_of(name), node.attrs)

    def grouped(self, node: Node) -> Attrs:
        """The row of a versioned file that is to have further names, and to stay one file."""
        attrs = self.freeze_times(node)
        if attrs.group is None:
            attrs.group = new_group()
            self.keep_attrs(node)
        return attrs

    # Parting

    def supersede(self, node: Node, directory: Node, name: str) -> None:
        path = directory.path_of(name)
        super().supersede(node, directory, name)
        self._unshare(path)
        if node.link_count:
            # What is written to it goes to the names that it still has.
            node.stale = None
            if self.invalidator is not None and node.lookups:
                self.invalidator.attributes(node.ino)

    def _unshare(self, path: RepoPath) -> None:
        row = self.rows.get(path)
        if row is not None and row.group is not None:
            self.rows.put(path, _copy(row))

    def moved(self, movement: Movement) -> None:
        super().moved(movement)
        # A group of which a name is just being renamed or written here stays as it is until then.
        self._part(
            sorted(
                path
                for path in movement.paths - self.recording
                if self.recording.isdisjoint(self.rows.linked(path))
            )
        )

    def settle_names(self, paths: Sequence[RepoPath]) -> None:
        super().settle_names(paths)
        self._part(paths)

    def _part(self, paths: Sequence[RepoPath]) -> None:
        """Takes names from their group that do not show any more what the others show."""
        for path in paths:
            row = self.rows.get(path)
            if row is None or row.group is None:
                continue
            found = self.view_get(path)
            if not isinstance(found, FileEntry) or not self._linked(path, found):
                directory, name = split(path)
                above = self.known(directory)
                node = above.children.get(name) if above is not None and above.children else None
                if node is not None and node.link_count > 1:
                    # Being written: it parts when that is logged.
                    continue
                parted = _copy(row)
                parted.group = None
                self.rows.put(path, parted)
                if node is not None:
                    node.attrs = parted


def new_group() -> int:
    """A number for names that are one file."""
    return secrets.randbits(_GROUP_BITS)


def _copy(row: Attrs) -> Attrs:
    return Attrs(**msgspec.structs.asdict(row))
