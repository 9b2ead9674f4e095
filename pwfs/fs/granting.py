"""Files that the native library opens and reads for programs by itself (``native/grants.c``).

A node is granted while opening it for reading needs no decision and its bytes are at rest: those of
a blob, or a real file in scratch. Whoever is about to change the node's content, kind or last name
revokes that first; the files that are open by then count among the node's handles from there on.
"""

import os
from typing import TYPE_CHECKING

from pwfs.fs.native import Library
from pwfs.store.verifying import GoodFile

if TYPE_CHECKING:
    from pwfs.fs.nodes import Node

HANDLE_OF_GRANT = 1 << 63
"""Set in the handles that the library gives out; the rest is the inode's number."""


class Grants:
    """What the library may answer; without one nothing."""

    def __init__(self) -> None:
        self._library: Library | None = None
        self._left = 0

    def begin(self, library: Library) -> None:
        """Has the library answer from now on."""
        self._library = library

    @property
    def are_given(self) -> bool:
        """Whether there is somebody to grant anything to."""
        return self._library is not None

    def grant(self, node: "Node", fd: int | None, good: GoodFile | None) -> None:
        """Lets a file be opened for reading without asking.

        It is read from a copy of ``fd``, or from the file of its content that was found good.
        """
        if self._library is None:
            return
        copy = -1 if fd is None else os.dup(fd)
        if self._library.grant(node.ino, node.readers, copy, good):
            node.is_granted = True
            node.handles -= node.readers
            self._left -= node.readers
            node.readers = 0

    def revoke(self, node: "Node") -> None:
        """Ends that, before anything changes."""
        if node.is_granted and self._library is not None:
            node.is_granted = False
            self.take_back(node, self._library.revoke(node.ino))

    def take_back(self, node: "Node", opens: int) -> None:
        """Counts files that are open by handles of the library among the node's own."""
        node.readers += opens
        node.handles += opens
        self._left += opens

    def released(self, node: "Node") -> None:
        """Takes note that a file was closed for which the library has no grant any more."""
        self.revoke(node)
        if node.readers:
            node.readers -= 1
            node.handles -= 1
            self._left -= 1

    def pass_on(self, pid: int) -> None:
        """Has the daemon asked about everything that one process opens; -1 for none."""
        if self._library is not None:
            self._library.pass_on(max(pid, 0))

    def __len__(self) -> int:
        """How many files are open by handles of the library."""
        return self._left + (self._library.granted_opens() if self._library is not None else 0)
