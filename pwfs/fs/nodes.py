"""The inodes that the kernel knows: where each one is, and when it can be forgotten.

Everything here runs on the trio thread. A node is in its parent's ``children`` under each of its
names; what is no longer there (unlinked, or replaced by somebody else's edit) stays in the table
for as long as the kernel or an open handle holds it.
"""

import enum
import errno
import hashlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pwfs.fs.errors import refusal
from pwfs.fs.granting import Grants
from pwfs.fs.native import Granted
from pwfs.model.entries import FileEntry
from pwfs.model.paths import ROOT, RepoPath

if TYPE_CHECKING:
    from pwfs.fs.attributes import Attrs
    from pwfs.fs.content import Content
    from pwfs.fs.gathering import Gathering
    from pwfs.fs.spaces import Space

_INO_MASK = (1 << 63) - 1
_INO_RESERVED_MAX = 1


class Kind(enum.IntEnum):
    """What a node is; SCRATCH is anything but a directory that is kept on disk, unversioned."""

    DIRECTORY = 1
    FILE = 2
    LINK = 3
    SCRATCH = 4


class Node:
    """One inode.

    ``entry`` is what the log knows of a FILE or LINK. ``fresh`` says that the log does not know
    the name yet. ``stale`` are the paths at which somebody else's edit took this file's place:
    what is still written through old handles is captured there. ``version`` of a directory rises
    with each change of its names, ``gathering`` is what the kernel may keep of them (see
    `pwfs.fs.gathering`); ``subdirectories`` is None while they are not counted.
    ``remains`` is a descriptor (O_PATH) of a file in scratch that lost its last name while nobody
    had it open: the kernel may still name it, for who holds a FIFO, or a descriptor like this one.
    ``granted`` says as what the native library answers for it, None where it does not;
    ``readers`` of its ``handles`` were opened so before (see `pwfs.fs.granting`).
    """

    __slots__ = (
        "attrs",
        "cached_path",
        "children",
        "content",
        "entry",
        "extra",
        "fresh",
        "fresh_names",
        "gathering",
        "granted",
        "handles",
        "identity",
        "ino",
        "kind",
        "lookups",
        "name",
        "parent",
        "readers",
        "remains",
        "space",
        "stale",
        "subdirectories",
        "version",
    )

    def __init__(self, space: "Space", kind: Kind, parent: "Node | None", name: str) -> None:
        self.space = space
        self.kind = kind
        self.parent = parent
        self.name = name
        self.ino = 0
        self.lookups = 0
        self.handles = 0
        self.children: dict[str, Node] | None = {} if kind is Kind.DIRECTORY else None
        self.cached_path: RepoPath | None = None
        self.entry: FileEntry | None = None
        self.content: Content | None = None
        self.attrs: Attrs | None = None
        self.extra: list[tuple[Node, str]] | None = None
        self.stale: list[RepoPath] | None = None
        self.fresh = False
        self.fresh_names: set[str] | None = None
        self.identity: tuple[int, int] | None = None
        self.remains: int | None = None
        self.granted: Granted | None = None
        self.readers = 0
        self.version = 0
        self.gathering: Gathering | None = None
        self.subdirectories: int | None = None

    @property
    def is_directory(self) -> bool:
        """Whether it has children."""
        return self.children is not None

    @property
    def is_attached(self) -> bool:
        """Whether the space's root still leads here (it counts itself)."""
        node = self
        while node.parent is not None:
            node = node.parent
        return node.cached_path == ROOT

    @property
    def path(self) -> RepoPath:
        """Where it is in its space, by its first name; ESTALE when no name leads here."""
        chain: list[Node] = []
        node = self
        while node.cached_path is None:
            if node.parent is None:
                raise refusal(errno.ESTALE)
            chain.append(node)
            node = node.parent
        path = node.cached_path
        for node in reversed(chain):
            path = RepoPath(f"{path}/{node.name}" if path else node.name)
            if node.children is not None:
                node.cached_path = path
        return path

    def path_of(self, name: str) -> RepoPath:
        """The path of a child of this directory."""
        above = self.path
        return RepoPath(f"{above}/{name}" if above else name)

    def names(self) -> Iterator[tuple["Node", str]]:
        """All directories and names that lead here."""
        if self.parent is not None:
            yield self.parent, self.name
        if self.extra:
            yield from self.extra

    @property
    def link_count(self) -> int:
        """How many names lead here."""
        return (self.parent is not None) + (len(self.extra) if self.extra else 0)

    def targets(self) -> list[RepoPath]:
        """The paths that what is written here belongs to."""
        return [*self.shown_paths(), *(self.stale or ())]

    def shown_paths(self) -> list[RepoPath]:
        """The paths at which it is shown."""
        return [place.path_of(name) for place, name in self.names() if place.is_attached]

    # The tree of known nodes

    def attach(self, directory: "Node", name: str) -> None:
        """Gives the node a (further) name."""
        assert directory.children is not None
        assert name not in directory.children, f"{name} is taken"
        if self.children is not None or (
            self.kind is not Kind.SCRATCH and directory.granted is Granted.NAMES
        ):
            directory.revoke()
        directory.children[name] = self
        if self.parent is None:
            self.parent, self.name = directory, name
        else:
            self.extra = [*(self.extra or ()), (directory, name)]

    def detach(self, directory: "Node", name: str) -> None:
        """Takes a name away."""
        assert directory.children is not None
        if directory.children.get(name) is self:
            del directory.children[name]
        if self.parent is directory and self.name == name:
            self.parent = None
            if self.extra:
                self.parent, self.name = self.extra.pop(0)
        elif self.extra:
            self.extra = [place for place in self.extra if place != (directory, name)]
        self.forget_paths()
        if self.children is not None:
            # A directory shows its names' last change by its path, and other links without one.
            self.revoke()
            directory.revoke()

    def recount(self) -> None:
        """Has the directories in this one counted anew when somebody asks: others came or went."""
        self.revoke()
        self.subdirectories = None

    def revoke(self) -> None:
        """Has every program that opens it ask again, before anything about it changes."""
        if self.granted is not None:
            self.space.table.grants.revoke(self)

    def drop_remains(self) -> None:
        """Closes what was kept of a file without a name."""
        if self.remains is not None:
            os.close(self.remains)
            self.remains = None

    def forget_paths(self) -> None:
        """Drops what is cached of the paths here and below."""
        if self.children is None:
            return
        pending = [self]
        while pending:
            node = pending.pop()
            node.cached_path = None
            assert node.children is not None
            pending += [child for child in node.children.values() if child.children is not None]

    def known_below(self) -> Iterator["Node"]:
        """All known nodes below this directory."""
        pending = list((self.children or {}).values())
        while pending:
            node = pending.pop()
            yield node
            if node.children:
                pending += node.children.values()


class NodeTable:
    """All nodes by inode number."""

    def __init__(self) -> None:
        self._nodes: dict[int, Node] = {}
        self.grants = Grants()

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(list(self._nodes.values()))

    def add(self, node: Node, ino: int) -> None:
        """Enters a node under a number, or under another one if that is in use."""
        salt = 0
        wanted = ino
        while ino in self._nodes or ino <= _INO_RESERVED_MAX:
            salt += 1
            ino = inode_number(str(wanted), str(salt))
        node.ino = ino
        self._nodes[ino] = node

    def add_root(self, node: Node, ino: int) -> None:
        """Enters the mount's own top directory."""
        node.ino = ino
        self._nodes[ino] = node

    def peek(self, ino: int) -> Node | None:
        """Finds a node."""
        return self._nodes.get(ino)

    def get(self, ino: int) -> Node:
        """Finds a node that the kernel names; ESTALE when it is gone."""
        node = self._nodes.get(ino)
        if node is None or node.space.is_gone:
            raise refusal(errno.ESTALE)
        return node

    def revoke_all(self, space: "Space") -> None:
        """Has programs ask for every file of a space, as it is gone, or nobody will answer."""
        for node in self._nodes.values():
            if node.space is space:
                node.revoke()

    async def quiet(self) -> None:
        """Waits until no thread copies or hashes the content of any node."""
        for node in self:
            while node.content is not None and node.content.busy is not None:
                await node.content.busy.wait()

    def forget(self, ino: int, count: int) -> None:
        """Takes note that the kernel gave back ``count`` look-ups."""
        # It may have been looked up without our being asked.
        self.grants.take_news()
        node = self._nodes.get(ino)
        if node is None:
            return
        node.lookups -= count
        assert node.lookups >= 0, f"inode {ino} was forgotten too often"
        self.drop_unused(node)

    def drop_unused(self, node: Node | None) -> None:
        """Forgets a node that nobody can ask for, and then perhaps its parents."""
        while node is not None and self._is_unused(node):
            if self._nodes.get(node.ino) is not node:
                # Forgotten before; its number may be another node's by now.
                return
            node.revoke()
            if not self._is_unused(node):
                # Closed, but that is not known yet, or looked up meanwhile.
                return
            del self._nodes[node.ino]
            places = list(node.names())
            for directory, name in places:
                assert directory.children is not None
                if directory.children.get(name) is node:
                    del directory.children[name]
            # Whoever still holds the object must not find anything below it any more.
            node.parent = node.extra = node.cached_path = None
            node.drop_remains()
            node.space.on_dropped(node)
            for directory, _ in places[1:]:
                self.drop_unused(directory)
            node = places[0][0] if places else None

    def _is_unused(self, node: Node) -> bool:
        return not (
            node.lookups
            or node.handles
            or node.children
            or node.content is not None
            or node.fresh
            or (node.space.root is node and node.space.keeps_root)
        )


def inode_number(*parts: str) -> int:
    """Derives an inode number that is the same after a restart."""
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") & _INO_MASK
