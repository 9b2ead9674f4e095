"""pyfuse3's handlers: they find the node, ask its space, and turn errors into errno.

A handler without an `await` on something slow is atomic: pyfuse3 runs each in a task of the one
trio thread.
"""

import errno
import os
from collections.abc import Sequence

import pyfuse3
import structlog
import trio
from pyfuse3 import (
    EntryAttributes,
    FileInfo,
    ReaddirToken,
    RequestContext,
    SetattrFields,
    StatvfsData,
)

from pwfs.fs.answering import answering
from pwfs.fs.attributes import negative
from pwfs.fs.disk import disk_usage
from pwfs.fs.errors import refusal
from pwfs.fs.granting import HANDLE_OF_GRANT
from pwfs.fs.handles import HANDLE_OF_DIRECTORY
from pwfs.fs.invalidate import Invalidator
from pwfs.fs.listing import Lister
from pwfs.fs.native import Granted
from pwfs.fs.nodes import Kind, Node, NodeTable
from pwfs.fs.opening import Opening
from pwfs.fs.watching import Announcer, Verb
from pwfs.model.errors import StoreBusy
from pwfs.model.paths import NAME_LENGTH_MAX_BYTES, RESERVED_NAME

_log = structlog.get_logger(__name__)
_CAPABILITY = b"security.capability"
_LOCKED_WAIT_S = 0.05
"""Telling the kernel takes a fraction of that, unless two requests wait for each other."""


class MountOperations(Opening):
    """The dispatch; all state but open handles is the nodes' and the spaces'."""

    supports_dot_lookup = True
    enable_writeback_cache = False
    enable_acl = False

    def __init__(self, table: NodeTable, statfs_of: str) -> None:
        super().__init__(table)
        self._statfs_of = statfs_of
        self.invalidator: Invalidator | None = None
        self.announcer: Announcer | None = None
        self.lister = Lister(table, parent_of=self._parent, on_shown=self._shown)

    def stacktrace(self) -> None:
        """Off: it would let any program print the daemon's stacks."""

    # Names

    def _name(self, name: bytes) -> str:
        """Reads the name of something that is to be made."""
        if len(name) > NAME_LENGTH_MAX_BYTES:
            raise refusal(errno.ENAMETOOLONG)
        try:
            return name.decode()
        except UnicodeDecodeError:
            raise refusal(errno.EILSEQ) from None

    def _looked_up(self, node: Node) -> EntryAttributes:
        attributes = node.space.attributes(node)
        self._shown(node)
        return attributes

    def _shown(self, node: Node) -> None:
        """Takes note that the kernel is told of a node."""
        node.lookups += 1
        if node.granted in (None, Granted.PLAIN):
            self._grant(node)

    @answering
    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        directory = self._table.get(parent_inode)
        if not directory.is_directory:
            raise refusal(errno.ENOTDIR)
        if len(name) > NAME_LENGTH_MAX_BYTES:
            raise refusal(errno.ENAMETOOLONG)
        if name == b".":
            return self._looked_up(directory)
        if name == b"..":
            return self._looked_up(self._parent(directory))
        try:
            text = name.decode()
        except UnicodeDecodeError:
            raise refusal(errno.ENOENT) from None
        if self._is_announcer(ctx):
            assert self.announcer is not None
            answer = self.announcer.looked_up(directory, text)
            if answer is not None:
                return answer
        node = None if text == RESERVED_NAME else directory.space.child(directory, text)
        if node is not None:
            return self._looked_up(node)
        if not directory.space.remembers_absence:
            raise refusal(errno.ENOENT)
        if self._table.grants.are_given:
            directory.space.grant_names(directory)
        return negative()

    def _is_announcer(self, ctx: RequestContext) -> bool:
        """Whether this asks the process that tells watchers of changes made elsewhere."""
        return self.announcer is not None and ctx.pid == self.announcer.pid

    def _announced(
        self, verb: Verb, directory: Node, name: str, ctx: RequestContext
    ) -> Node | None:
        """What a name leads to, if this request is to tell of it and nothing is to be done.

        Raises:
            FUSEError: the process asks for anything else than it was told to.
        """
        if not self._is_announcer(ctx):
            return None
        assert self.announcer is not None
        if not self.announcer.expects(verb, directory, name):
            raise refusal(errno.EPERM)
        node = directory.space.child(directory, name)
        if node is None:
            raise refusal(errno.ENOENT)
        return node

    def _is_announced_removal(
        self, verb: Verb, directory: Node, name: str, ctx: RequestContext
    ) -> bool:
        """Whether this request is to tell of a name that is gone, or leads elsewhere now."""
        if not self._is_announcer(ctx):
            return False
        assert self.announcer is not None
        if not self.announcer.expects(verb, directory, name):
            raise refusal(errno.EPERM)
        return True

    def _parent(self, directory: Node) -> Node:
        if directory.parent is not None:
            return directory.parent
        return self._table.get(pyfuse3.ROOT_INODE)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for ino, count in inode_list:
            self._table.forget(ino, count)

    @answering
    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        node = self._table.get(inode)
        if node.is_directory and node.granted is None and self._table.grants.are_given:
            node.space.grant_names(node)
            node.space.grant_shown(node)
        return node.space.attributes(node)

    @answering
    async def setattr(
        self,
        inode: int,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        node = self._table.get(inode)
        if self._is_announcer(ctx):
            return node.space.attributes(node)
        handle = self.handles.find(fh) if fh is not None else None
        before = self._queued()
        await node.space.setattr(node, attr, fields, handle, ctx)
        if fields.update_mtime and node.is_directory:
            self.lister.times_set(node)
        await self._told(before)
        return node.space.attributes(node)

    @answering
    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        node = self._table.get(inode)
        return await node.space.readlink(node)

    # During most requests the kernel holds the locks of the directories concerned, or that of the
    # file, for which a rename waits with its directories locked. To wait then for names to be
    # invalidated could be to wait for oneself, so a new epoch tells the kernel what moved; on a
    # kernel that knows no epochs the wait is short. Only `flush` and the doors, which hold no lock,
    # may wait for good.

    def _queued(self) -> int:
        return self.invalidator.queued_names if self.invalidator is not None else 0

    async def _told(self, before: int) -> None:
        """Tells the kernel what moved because of this request, while it may hold locks."""
        if self.invalidator is None or self.invalidator.queued_names == before:
            return
        if not self.invalidator.bump():
            with trio.move_on_after(_LOCKED_WAIT_S):
                await self.invalidator.drain()

    async def _settled(self, before: int) -> None:
        """Waits until what moved because of this request has reached the kernel."""
        if self.invalidator is not None and self.invalidator.queued_names != before:
            await self.invalidator.drain()

    @answering
    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        directory = self._table.get(parent_inode)
        told = self._announced(Verb.MAKE_FILE, directory, self._name(name), ctx)
        if told is not None:
            return self._looked_up(told)
        before = self._queued()
        node = await directory.space.mknod(directory, self._name(name), mode, rdev, ctx)
        answer = self._looked_up(node)
        await self._told(before)
        return answer

    @answering
    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext
    ) -> EntryAttributes:
        directory = self._table.get(parent_inode)
        told = self._announced(Verb.MAKE_DIRECTORY, directory, self._name(name), ctx)
        if told is not None:
            return self._looked_up(told)
        node = await directory.space.mkdir(directory, self._name(name), mode, ctx)
        if self._table.grants.are_given:
            # Files will be made in it, and perhaps other directories beside it.
            node.space.grant_names(directory)
            node.space.grant_names(node)
        return self._looked_up(node)

    @answering
    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        directory = self._table.get(parent_inode)
        told = self._announced(Verb.MAKE_LINK, directory, self._name(name), ctx)
        if told is not None:
            return self._looked_up(told)
        before = self._queued()
        node = await directory.space.symlink(directory, self._name(name), target, ctx)
        answer = self._looked_up(node)
        await self._told(before)
        return answer

    @answering
    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        node = self._table.get(inode)
        directory = self._table.get(new_parent_inode)
        if node.space is not directory.space:
            raise refusal(errno.EXDEV)
        before = self._queued()
        await node.space.link(node, directory, self._name(new_name), ctx)
        answer = self._looked_up(node)
        await self._told(before)
        return answer

    @answering
    async def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        directory = self._table.get(parent_inode)
        if self._is_announced_removal(Verb.REMOVE, directory, self._name(name), ctx):
            return
        before = self._queued()
        await directory.space.unlink(directory, self._name(name), ctx)
        await self._told(before)

    @answering
    async def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        directory = self._table.get(parent_inode)
        if self._is_announced_removal(Verb.REMOVE_DIRECTORY, directory, self._name(name), ctx):
            return
        await directory.space.rmdir(directory, self._name(name), ctx)

    @answering
    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        old, new = self._table.get(parent_inode_old), self._table.get(parent_inode_new)
        if old.space is not new.space:
            raise refusal(errno.EXDEV)
        if flags & ~(pyfuse3.RENAME_NOREPLACE | pyfuse3.RENAME_EXCHANGE):
            raise refusal(errno.EINVAL)
        before = self._queued()
        await old.space.rename(old, self._name(name_old), new, self._name(name_new), flags, ctx)
        if old is not new:
            for directory, name in ((old, name_old), (new, name_new)):
                await self._moved(directory, name)
        await self._told(before)

    async def _moved(self, directory: Node, name: bytes) -> None:
        """Has a directory that came into another one listed with it as its parent."""
        node = (directory.children or {}).get(self._name(name))
        if node is not None and node.is_directory:
            await self.lister.moved(node)

    @answering
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        directory = self._table.get(parent_inode)
        text = self._name(name)
        existing = directory.space.child(directory, text)
        if existing is None:
            node = await directory.space.create(directory, text, mode, flags, ctx)
        elif flags & os.O_EXCL:
            raise refusal(errno.EEXIST)
        else:
            node = existing
            await node.space.open(node, flags, ctx)
        info = self._opened(node, flags, ctx)
        self._grant_to_writers(node)
        return info, self._looked_up(node)

    # Files

    @answering
    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        node = self._table.get(inode)
        if node.kind is Kind.DIRECTORY:
            raise refusal(errno.EISDIR)
        if self._is_announcer(ctx):
            assert self.announcer is not None
            if not self.announcer.expects_touch(node):
                raise refusal(errno.EPERM)
            return self._opened(node, os.O_RDONLY, ctx)
        node.handles += 1
        try:
            await node.space.open(node, flags, ctx)
        finally:
            node.handles -= 1
        opened = self._opened(node, flags, ctx)
        if not flags & (os.O_ACCMODE | os.O_TRUNC):
            self._grant(node)
        else:
            self._grant_to_writers(node)
        return opened

    @answering
    async def read(self, fh: int, off: int, size: int) -> bytes:
        node = self.handle(fh).node
        data = await node.space.read(node, off, size)
        content = node.content
        if len(data) == size and content is not None:
            # There is more to come, perhaps, and it need not come here.
            self._grant(node, content.fd)
        self.let_go(node)
        return data

    @answering
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        handle = self.handles[fh]
        written = await handle.node.space.write(handle, off, buf)
        self._grant_on_disk(handle.node)
        return written

    @answering
    async def flush(self, fh: int) -> None:
        handle = self.handle(fh)
        if self.announcer is not None and handle.pid == self.announcer.pid:
            return
        before = self._queued()
        await handle.node.space.flush(handle)
        await self._settled(before)

    @answering
    async def fsync(self, fh: int, datasync: bool) -> None:
        handle = self.handle(fh)
        before = self._queued()
        await handle.node.space.fsync(handle)
        await self._told(before)

    @answering
    async def release(self, fh: int) -> None:
        if fh & HANDLE_OF_GRANT:
            handle = self.handle(fh)
            self._table.grants.released(handle.node)
        else:
            handle = self.handles.close(fh)
        try:
            await handle.node.space.release(handle)
        except StoreBusy:
            # Not to be tried again, the handle is gone. The capturer logs it, or a door does.
            pass
        finally:
            self._table.drop_unused(handle.node)

    # Directories. Where the kernel can it lists them without opening them (see `pwfs.fs.native`).

    def _directory(self, fh: int) -> Node:
        if not fh & HANDLE_OF_DIRECTORY:
            return self.handles.directory(fh)
        return self._table.get(fh ^ HANDLE_OF_DIRECTORY)

    @answering
    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        node = self._table.get(inode)
        if not node.is_directory:
            raise refusal(errno.ENOTDIR)
        return self.handles.open_directory(node)

    @answering
    async def readdir(self, fh: int, start_id: int, token: ReaddirToken) -> None:
        is_kept = bool(fh & HANDLE_OF_DIRECTORY)
        await self.lister.answer(self._directory(fh), start_id, token, is_kept=is_kept)

    @answering
    async def releasedir(self, fh: int) -> None:
        self._table.drop_unused(self.handles.close_directory(fh))

    @answering
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        node = self._directory(fh)
        await node.space.sync(node)

    # The rest

    @answering
    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        return disk_usage(self._statfs_of)

    @answering
    async def access(self, inode: int, mode: int, ctx: RequestContext) -> bool:
        # default_permissions: the kernel has decided already.
        return True

    @answering
    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        if name == _CAPABILITY:
            node = self._table.peek(inode)
            if node is None or node.attrs is None or not node.attrs.xattrs:
                raise refusal(errno.ENODATA)
        if name.startswith(b"system."):
            raise refusal(errno.EOPNOTSUPP)
        node = self._table.get(inode)
        return node.space.getxattr(node, name)

    @answering
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        if name.startswith(b"system."):
            raise refusal(errno.EOPNOTSUPP)
        node = self._table.get(inode)
        node.space.setxattr(node, name, value)

    @answering
    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        node = self._table.get(inode)
        return list(node.space.listxattr(node))

    @answering
    async def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        if name.startswith(b"system."):
            raise refusal(errno.EOPNOTSUPP)
        node = self._table.get(inode)
        node.space.removexattr(node, name)
