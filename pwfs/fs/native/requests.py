"""Answers the requests that come by the native library: a task each, as pyfuse3's own have."""

import errno
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import trio
from pyfuse3 import FUSEError

from pwfs.fs.answering import answering
from pwfs.fs.native import Handlers, Library
from pwfs.fs.operations import MountOperations

_T = TypeVar("_T")


class NativeRequests:
    """The functions that the library calls, and the nursery in which the answers are worked out.

    The library calls from inside ``pyfuse3.main``, so on the trio thread, in a task. Each request
    is answered exactly once; one that is cancelled, as at the end of the mount, with EIO.
    """

    def __init__(
        self, library: Library, operations: MountOperations, nursery: trio.Nursery
    ) -> None:
        self._library = library
        self._operations = operations
        self._nursery = nursery
        kinds = dict(Handlers._fields_)
        self._handlers = Handlers(
            kinds["fallocate"](self._fallocate),
            kinds["lseek"](self._lseek),
            kinds["copy_file_range"](self._copy_file_range),
        )
        library.answer_by(self._handlers)

    def close(self) -> None:
        """Passes nothing on any more; the library answers ENOSYS."""
        self._library.answer_by(Handlers())

    def _fallocate(self, request: int, fh: int, mode: int, offset: int, length: int) -> None:
        work = partial(self.fallocate, fh, mode, offset, length)
        self._begin(request, work, self._library.reply_done)

    def _lseek(self, request: int, fh: int, offset: int, whence: int) -> None:
        work = partial(self.lseek, fh, offset, whence)
        self._begin(request, work, self._library.reply_offset)

    def _copy_file_range(
        self, request: int, fh_in: int, offset_in: int, fh_out: int, offset_out: int, length: int
    ) -> None:
        work = partial(self.copy_file_range, fh_in, offset_in, fh_out, offset_out, length)
        self._begin(request, work, self._library.reply_count)

    def _begin(
        self,
        request: int,
        work: Callable[[], Coroutine[Any, Any, _T]],
        reply: Callable[[int, _T], None],
    ) -> None:
        async def answer() -> None:
            respond = partial(self._library.reply_error, request, errno.EIO)
            try:
                respond = partial(reply, request, await work())
            except FUSEError as error:
                respond = partial(self._library.reply_error, request, error.errno)
            finally:
                respond()

        try:
            self._nursery.start_soon(answer)
        except RuntimeError:
            # The nursery is closed. Nothing may be raised into C.
            self._library.reply_error(request, errno.EIO)

    @answering
    async def fallocate(self, fh: int, mode: int, offset: int, length: int) -> None:
        """Allocates, zeroes or frees a range."""
        handle = self._operations.handle(fh)
        await handle.node.space.fallocate(handle, mode, offset, length)

    @answering
    async def lseek(self, fh: int, offset: int, whence: int) -> int:
        """Finds data or a hole."""
        node = self._operations.handle(fh).node
        try:
            return await node.space.seek(node, offset, whence)
        finally:
            self._operations.let_go(node)

    @answering
    async def copy_file_range(
        self, fh_in: int, offset_in: int, fh_out: int, offset_out: int, length: int
    ) -> int:
        """Copies from one open file to another; returns how many bytes."""
        source, target = self._operations.handle(fh_in), self._operations.handle(fh_out)
        try:
            return await target.node.space.copy_range(source, offset_in, target, offset_out, length)
        finally:
            self._operations.let_go(source.node)
