"""The files and directories that programs hold open, by the numbers that the kernel uses."""

from collections.abc import Iterator, Mapping

from pyfuse3 import RequestContext

from pwfs.fs.content import Handle
from pwfs.fs.handover import (
    KeptState,
    keep_handle,
    keep_nodes,
    restore_handle,
    restore_nodes,
)
from pwfs.fs.nodes import Node, NodeTable
from pwfs.fs.processes import caller
from pwfs.fs.spaces import Space

HANDLE_OF_DIRECTORY = 1 << 63
"""Set in handles of directories that the kernel does not open; the rest is the inode's number."""


class Handles:
    """All open files, and directories that the kernel opens; a number is given out once."""

    def __init__(self) -> None:
        self._files: dict[int, Handle] = {}
        self._directories: dict[int, Node] = {}
        self._next = 1

    def __iter__(self) -> Iterator[Handle]:
        return iter(self._files.values())

    def __len__(self) -> int:
        return len(self._files) + len(self._directories)

    def _number(self) -> int:
        number = self._next
        self._next += 1
        return number

    def open(self, node: Node, flags: int, ctx: RequestContext) -> int:
        """Enters an open file."""
        number = self._number()
        handle = self._files[number] = Handle(node, flags, ctx.pid)
        if handle.may_write:
            handle.process = caller(ctx)
        node.handles += 1
        return number

    def find(self, number: int) -> Handle | None:
        """The open file that a number stands for."""
        return self._files.get(number)

    def __getitem__(self, number: int) -> Handle:
        return self._files[number]

    def close(self, number: int) -> Handle:
        """Takes an open file out."""
        handle = self._files.pop(number)
        handle.node.handles -= 1
        return handle

    def open_directory(self, node: Node) -> int:
        """Enters an open directory."""
        number = self._number()
        self._directories[number] = node
        node.handles += 1
        return number

    def directory(self, number: int) -> Node:
        """The open directory that a number stands for."""
        return self._directories[number]

    def close_directory(self, number: int) -> Node:
        """Takes an open directory out."""
        node = self._directories.pop(number)
        node.handles -= 1
        return node

    # For the daemon that takes over

    def keep(self, table: NodeTable) -> KeptState:
        """Writes down every inode and open handle that the kernel may name."""
        spaces, nodes = keep_nodes(table)
        return KeptState(
            spaces=spaces,
            nodes=nodes,
            handles=[keep_handle(number, handle) for number, handle in self._files.items()],
            directories={number: node.ino for number, node in self._directories.items()},
            next_handle=self._next,
        )

    def restore(self, table: NodeTable, kept: KeptState, spaces: Mapping[str, Space]) -> None:
        """Puts everything back under its number.

        Raises:
            HandoverRefused: something does not fit.
        """
        nodes = restore_nodes(table, spaces, kept.nodes)
        for handle in kept.handles:
            if handle.ino in nodes:
                self._files[handle.number] = restore_handle(handle, nodes[handle.ino])
        for number, ino in kept.directories.items():
            node = nodes.get(ino)
            if node is not None:
                node.handles += 1
                self._directories[number] = node
        self._next = kept.next_handle
