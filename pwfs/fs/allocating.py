"""Requests on a range of an open file in a workspace: allocating, punching holes, copying.

They come by the native library (`pwfs.fs.native`). To the log each is a write like any other.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import trio

from pwfs.fs.content import Content, Handle
from pwfs.fs.disk import allocate, copy_range
from pwfs.fs.processes import writes
from pwfs.fs.recovering import Recovering
from pwfs.fs.writing import INLINE_BYTES_MAX

_R = TypeVar("_R")


class Allocating(Recovering):
    """The part of a workspace that changes ranges of files without being sent the bytes."""

    async def fallocate(self, handle: Handle, mode: int, offset: int, length: int) -> None:
        content = await self._prepare(handle)
        work = partial(allocate, content.fd, mode, offset, length)
        await self._change(handle, content, work, length)

    async def copy_range(
        self, source: Handle, offset_in: int, target: Handle, offset_out: int, length: int
    ) -> int:
        # A duplicate: whoever writes to the source meanwhile may close its descriptor.
        fd = os.dup(await source.node.space.descriptor(source.node))
        try:
            content = await self._prepare(target)
            work = partial(copy_range, fd, offset_in, content.fd, offset_out, length)
            return await self._change(target, content, work, length)
        finally:
            os.close(fd)

    async def _prepare(self, handle: Handle) -> Content:
        content = await self.make_private(handle.node, writes(handle))
        content.growth = None
        return content

    async def _change(
        self, handle: Handle, content: Content, work: Callable[[], _R], length: int
    ) -> _R:
        """Changes a private file, in a thread where it may take long."""
        try:
            if length <= INLINE_BYTES_MAX:
                return work()
            content.busy = trio.Event()
            try:
                return await trio.to_thread.run_sync(work)
            finally:
                content.busy.set()
                content.busy = None
        finally:
            # A failure may have changed a part.
            if not content.is_scratch:
                self._wrote(handle.node, content, handle.process)
