"""The parts of the mount: what every one of them answers, and the directories that are fixed."""

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from pyfuse3 import EntryAttributes, RequestContext, SetattrFields

from pwfs.fs.attributes import entry_attributes
from pwfs.fs.content import Handle
from pwfs.fs.errors import refusal
from pwfs.fs.nodes import Kind, Node, NodeTable, inode_number
from pwfs.model.paths import ROOT
from pwfs.store.verifying import GoodFile

if TYPE_CHECKING:
    from pwfs.fs.damage import Damages
    from pwfs.fs.invalidate import Invalidator
    from pwfs.fs.watching import Announcer

_STATIC_MODE = stat.S_IFDIR | 0o755


class Space:
    """A tree of nodes with one way of answering; this one refuses everything that writes.

    ``remembers_absence`` says whether the kernel is told of every name that comes, so that it may
    keep in mind which do not exist. ``keeps_root`` says whether the space stays though nobody uses
    it; else ``on_unused`` is called once nobody does.
    """

    remembers_absence = True
    keeps_root = True
    on_unused: Callable[[], object] | None = None

    def __init__(self, id_: str, table: NodeTable) -> None:
        self.id = id_
        self.table = table
        self.is_gone = False
        self.started_ns = time.time_ns()
        self.place = id_
        """Where it is in the mount, a relative path; the mount sets it."""
        self.invalidator: Invalidator | None = None
        self.announcer: Announcer | None = None
        self.damages: Damages | None = None
        self.root = Node(self, Kind.DIRECTORY, None, "")
        self.root.cached_path = ROOT

    def on_dropped(self, node: Node) -> None:
        """Is told of each node that left the table."""
        if node is self.root and self.on_unused is not None:
            self.on_unused()

    def close(self) -> None:
        """Lets go of what is no node's, when the space is gone."""

    # Looking

    def child(self, directory: Node, name: str) -> Node | None:
        """Finds what a name leads to, None for nothing."""
        raise NotImplementedError

    def scan(self, directory: Node) -> Mapping[str, object]:
        """Lists a directory; the values are hints for `child_hinted`."""
        raise NotImplementedError

    def child_hinted(self, directory: Node, name: str, hint: object) -> Node | None:
        """Does what `child` does, for a hint that is still right."""
        return self.child(directory, name)

    def stamp(self) -> object:
        """Is another object once hints and times may not be right, though the names are."""
        return None

    def times(self, directory: Node) -> Mapping[str, int] | None:
        """The modification times of a whole directory, where that saves looking them up."""
        return None

    def attributes(self, node: Node, times: Mapping[str, int] | None = None) -> EntryAttributes:
        """What ``stat`` shows."""
        raise NotImplementedError

    def check_exists(self, directory: Node) -> None:
        """Refuses to look into a directory that is gone."""
        if not directory.is_attached:
            raise refusal(errno.ENOENT)

    async def readlink(self, node: Node) -> bytes:
        """A symbolic link's target."""
        raise refusal(errno.EINVAL)

    async def open(self, node: Node, flags: int, ctx: RequestContext) -> None:
        """Checks that a file may be opened so; with O_TRUNC, empties it."""
        raise refusal(errno.EROFS if flags & os.O_ACCMODE else errno.EISDIR)

    async def read(self, node: Node, offset: int, size: int) -> bytes:
        """Reads from an open file."""
        raise refusal(errno.EIO)

    def is_at_rest(self, node: Node) -> bool:
        """Whether a file may be opened and read without asking, until the node is revoked."""
        return False

    def grant_names(self, directory: Node) -> None:
        """Lets the library look names up in a directory of which all is on disk, if it is one."""

    def grant_shown(self, directory: Node) -> None:
        """Lets the library say what stat(2) shows of a directory, until the node is revoked."""

    def changed_on_disk(self, node: Node) -> None:
        """Takes note that a file which is granted was, or may have been, changed."""

    def good_file(self, node: Node) -> GoodFile | None:
        """The file of a content at rest, if it was found good already."""
        return None

    def let_go(self, node: Node) -> None:
        """Closes the daemon's own descriptor of a file that nobody has open, if it can."""

    async def descriptor(self, node: Node) -> int:
        """The daemon's own descriptor of an open file, to read from; it may be replaced soon."""
        raise refusal(errno.EIO)

    async def seek(self, node: Node, offset: int, whence: int) -> int:
        """Finds data (SEEK_DATA) or a hole (SEEK_HOLE) in an open file."""
        return os.lseek(await self.descriptor(node), offset, whence)

    def getxattr(self, node: Node, name: bytes) -> bytes:
        """An extended attribute's value."""
        raise refusal(errno.ENODATA)

    def listxattr(self, node: Node) -> Iterable[bytes]:
        """The names of the extended attributes."""
        return ()

    # Writing

    async def setattr(
        self,
        node: Node,
        wanted: EntryAttributes,
        fields: SetattrFields,
        handle: Handle | None,
        ctx: RequestContext,
    ) -> None:
        """Changes attributes, the size among them."""
        raise refusal(errno.EROFS)

    async def create(
        self, directory: Node, name: str, mode: int, flags: int, ctx: RequestContext
    ) -> Node:
        """Makes a regular file that is open from the start, under a name that is free."""
        raise refusal(errno.EROFS)

    async def mknod(
        self, directory: Node, name: str, mode: int, rdev: int, ctx: RequestContext
    ) -> Node:
        """Makes a file of any kind but a directory or link."""
        raise refusal(errno.EROFS)

    async def mkdir(self, directory: Node, name: str, mode: int, ctx: RequestContext) -> Node:
        """Makes a directory."""
        raise refusal(errno.EROFS)

    async def symlink(self, directory: Node, name: str, target: bytes, ctx: RequestContext) -> Node:
        """Makes a symbolic link."""
        raise refusal(errno.EROFS)

    async def link(self, node: Node, directory: Node, name: str, ctx: RequestContext) -> None:
        """Gives a file another name."""
        raise refusal(errno.EROFS)

    async def unlink(self, directory: Node, name: str, ctx: RequestContext) -> None:
        """Takes away a name that is no directory's."""
        raise refusal(errno.EROFS)

    async def rmdir(self, directory: Node, name: str, ctx: RequestContext) -> None:
        """Takes away an empty directory."""
        raise refusal(errno.EROFS)

    async def rename(
        self,
        old_directory: Node,
        old_name: str,
        new_directory: Node,
        new_name: str,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        """Moves a name."""
        raise refusal(errno.EROFS)

    async def write(self, handle: Handle, offset: int, data: bytes) -> int:
        """Writes into an open file."""
        raise refusal(errno.EROFS)

    async def fallocate(self, handle: Handle, mode: int, offset: int, length: int) -> None:
        """Allocates, zeroes or frees a range of an open file."""
        raise refusal(errno.EROFS)

    async def copy_range(
        self, source: Handle, offset_in: int, target: Handle, offset_out: int, length: int
    ) -> int:
        """Copies between two open files, of which the target is here; returns how much."""
        raise refusal(errno.EROFS)

    async def flush(self, handle: Handle) -> None:
        """Answers a ``close``: afterwards the log has what was written."""

    async def fsync(self, handle: Handle) -> None:
        """Puts on disk what was written."""

    async def release(self, handle: Handle) -> None:
        """Ends a handle."""

    async def sync(self, directory: Node) -> None:
        """Puts on disk which names there are in a directory."""

    def setxattr(self, node: Node, name: bytes, value: bytes) -> None:
        """Sets an extended attribute."""
        raise refusal(errno.EROFS)

    def removexattr(self, node: Node, name: bytes) -> None:
        """Removes an extended attribute."""
        raise refusal(errno.EROFS)


class Collection(Space):
    """A fixed directory whose entries are other spaces: the top, ``at``, ``views``, ``ws``.

    ``open_space`` gives the space of a name, or None; it is asked again after `gone`. Of names
    that may come without `changed` being called, ``remembers_absence`` is False. Unless
    ``keeps_unused``, a space is let go when nobody uses it, to be opened anew.
    """

    def __init__(
        self,
        id_: str,
        table: NodeTable,
        *,
        list_names: Callable[[], Iterable[str]],
        open_space: Callable[[str], Space | None],
        remembers_absence: bool = True,
        keeps_unused: bool = True,
    ) -> None:
        super().__init__(id_, table)
        self.remembers_absence = remembers_absence
        self._keeps_unused = keeps_unused
        self._list_names = list_names
        self._open_space = open_space
        self._changed_ns = self.started_ns
        self.spaces: dict[str, Space] = {}

    def child(self, directory: Node, name: str) -> Node | None:
        space = self.spaces.get(name)
        if space is None:
            space = self._open_space(name)
            if space is None:
                return None
            self.spaces[name] = space
            if not self._keeps_unused:
                space.keeps_root = False
                space.on_unused = partial(self.spaces.pop, name, None)
            self.table.add(space.root, inode_number(self.id, name, "root"))
        return space.root

    def scan(self, directory: Node) -> Mapping[str, object]:
        return dict.fromkeys(self._list_names())

    def attributes(self, node: Node, times: Mapping[str, int] | None = None) -> EntryAttributes:
        return entry_attributes(
            node.ino,
            _STATIC_MODE,
            links=2,
            uid=os.getuid(),
            gid=os.getgid(),
            size=0,
            atime_ns=self._changed_ns,
            mtime_ns=self._changed_ns,
            ctime_ns=self._changed_ns,
        )

    def changed(self, name: str) -> None:
        """Notes that a name came or went, and tells the kernel."""
        self.root.version += 1
        self._changed_ns = max(time.time_ns(), self._changed_ns + 1)
        if self.invalidator is not None and self.root.lookups:
            self.invalidator.entry(self.root.ino, name)
            self.invalidator.names(self.root)

    def gone(self, name: str) -> Space | None:
        """Removes a space: what the kernel still holds of it is stale from now on."""
        space = self.spaces.pop(name, None)
        if space is not None:
            space.is_gone = True
            space.keeps_root = False
            self.table.revoke_all(space)
            self._ask_again(space)
            space.close()
            self.table.drop_unused(space.root)
        self.changed(name)
        return space

    def _ask_again(self, space: Space) -> None:
        """Has the kernel ask for every directory of a space that is gone: it may have listings."""
        for node in self.table:
            if node.space is space and node.is_directory and self.invalidator is not None:
                self.invalidator.names(node)
