"""What programs do to a workspace is noted as touched, when it is done and before they are told.

`LiveSpace.moved` notes what comes from elsewhere. Noted is what was tried: a request that failed
half-way may have done something.
"""

import os

from pyfuse3 import EntryAttributes, RequestContext, SetattrFields

from pwfs.fs.content import Handle
from pwfs.fs.nodes import Node
from pwfs.fs.resolving import Resolving


class Noting(Resolving):
    """Stands before the parts of a workspace that change it."""

    def _note_name(self, directory: Node, name: str) -> None:
        if directory.is_attached:
            self.touched.note(directory.path_of(name))

    def _note(self, node: Node) -> None:
        self.touched.note_all(node.shown_paths())

    # Files

    def changed_on_disk(self, node: Node) -> None:
        self._note(node)

    async def open(self, node: Node, flags: int, ctx: RequestContext) -> None:
        try:
            await super().open(node, flags, ctx)
        finally:
            if flags & os.O_TRUNC:
                self._note(node)

    async def write(self, handle: Handle, offset: int, data: bytes) -> int:
        try:
            return await super().write(handle, offset, data)
        finally:
            self._note(handle.node)

    async def fallocate(self, handle: Handle, mode: int, offset: int, length: int) -> None:
        try:
            await super().fallocate(handle, mode, offset, length)
        finally:
            self._note(handle.node)

    async def copy_range(
        self, source: Handle, offset_in: int, target: Handle, offset_out: int, length: int
    ) -> int:
        try:
            return await super().copy_range(source, offset_in, target, offset_out, length)
        finally:
            self._note(target.node)

    async def setattr(
        self,
        node: Node,
        wanted: EntryAttributes,
        fields: SetattrFields,
        handle: Handle | None,
        ctx: RequestContext,
    ) -> None:
        try:
            await super().setattr(node, wanted, fields, handle, ctx)
        finally:
            self._note(node)

    # Names

    async def create(
        self, directory: Node, name: str, mode: int, flags: int, ctx: RequestContext
    ) -> Node:
        try:
            return await super().create(directory, name, mode, flags, ctx)
        finally:
            self._note_name(directory, name)

    async def mknod(
        self, directory: Node, name: str, mode: int, rdev: int, ctx: RequestContext
    ) -> Node:
        try:
            return await super().mknod(directory, name, mode, rdev, ctx)
        finally:
            self._note_name(directory, name)

    async def mkdir(self, directory: Node, name: str, mode: int, ctx: RequestContext) -> Node:
        try:
            return await super().mkdir(directory, name, mode, ctx)
        finally:
            self._note_name(directory, name)

    async def symlink(self, directory: Node, name: str, target: bytes, ctx: RequestContext) -> Node:
        try:
            return await super().symlink(directory, name, target, ctx)
        finally:
            self._note_name(directory, name)

    async def link(self, node: Node, directory: Node, name: str, ctx: RequestContext) -> None:
        try:
            await super().link(node, directory, name, ctx)
        finally:
            self._note_name(directory, name)

    async def unlink(self, directory: Node, name: str, ctx: RequestContext) -> None:
        try:
            await super().unlink(directory, name, ctx)
        finally:
            self._note_name(directory, name)

    async def rmdir(self, directory: Node, name: str, ctx: RequestContext) -> None:
        try:
            await super().rmdir(directory, name, ctx)
        finally:
            self._note_name(directory, name)

    async def rename(
        self,
        old_directory: Node,
        old_name: str,
        new_directory: Node,
        new_name: str,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        try:
            await super().rename(old_directory, old_name, new_directory, new_name, flags, ctx)
        finally:
            self._note_name(old_directory, old_name)
            self._note_name(new_directory, new_name)
