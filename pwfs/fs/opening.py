"""The files that programs have open, and what the native library answers about them."""

import errno
import os

import pyfuse3
from pyfuse3 import FileInfo, RequestContext

from pwfs.fs.content import Handle
from pwfs.fs.errors import refusal
from pwfs.fs.granting import HANDLE_OF_GRANT
from pwfs.fs.handles import Handles
from pwfs.fs.native import LOOKED_UP
from pwfs.fs.nodes import Kind, Node, NodeTable
from pwfs.fs.spaces import Space


class Opening(pyfuse3.Operations):
    """The part of the handlers that knows which files are open, and grants them."""

    def __init__(self, table: NodeTable) -> None:
        super().__init__()
        self._table = table
        self.handles = Handles()

    def _opened(self, node: Node, flags: int, ctx: RequestContext) -> FileInfo:
        return FileInfo(fh=self.handles.open(node, flags, ctx))

    def handle(self, fh: int) -> Handle:
        """The open file that a number stands for."""
        if not fh & HANDLE_OF_GRANT:
            return self.handles[fh]
        node = self._table.peek(fh ^ HANDLE_OF_GRANT)
        if node is None:
            raise refusal(errno.ESTALE)
        return Handle(node, os.O_RDONLY, 0)

    def learned(self, ino: int, what: int) -> None:
        """Takes note of what the library answered: see `pwfs.fs.native.Library.take_news`."""
        node = self._table.peek(ino)
        if what == LOOKED_UP:
            assert node is not None, f"inode {ino} was granted"
            node.lookups += 1
            return
        handle = self.handles.find(what)
        if handle is None:
            if node is not None:
                node.space.changed_on_disk(node)
            return
        # Until now it counted among those that may be written without our seeing it.
        node = self.handles.close(what).node
        node.space.changed_on_disk(node)
        self.let_go(node)
        self._table.drop_unused(node)

    def _grant(self, node: Node, fd: int | None = None) -> None:
        """Has the library open a file for readers, and read from ``fd``, if its bytes are at rest.

        Without a descriptor the first read comes here, if the bytes are yet to be verified.
        """
        # What lost its name may have no other place than the descriptor that is held for readers.
        has_name = node.parent is not None
        if self._table.grants.are_given and has_name and node.space.is_at_rest(node):
            self._table.grants.grant(node, fd, node.space.good_file(node))
            self.let_go(node)

    def _grant_on_disk(self, node: Node) -> None:
        """Has the library write a file in scratch that is open for writing."""
        content = node.content
        if content is not None and content.is_scratch:
            self._grant(node, content.fd)

    def _grant_to_writers(self, node: Node) -> None:
        """Has the library answer what it can of a file that is open for writing."""
        self._grant_on_disk(node)
        if node.kind is Kind.FILE and not node.space.is_at_rest(node):
            self._table.grants.grant_plain(node)

    def let_go(self, node: Node) -> None:
        """After a file was read by a handle of the library: keeps no descriptor for nobody."""
        if node.content is not None and not node.handles:
            node.space.let_go(node)

    def open_for_writing(self, space: Space) -> set[Node]:
        """The files of a space that programs hold open and may write."""
        self._table.grants.take_news()
        return {h.node for h in self.handles if h.may_write and h.node.space is space}
