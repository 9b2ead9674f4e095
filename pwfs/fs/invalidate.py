"""Tells the kernel which names and attributes changed, from a thread of its own.

A notification may block until a request for the same directory is answered, so it must never
come from the thread that answers; but for those of a kind that never blocks. The state has changed
before a notification is queued.
"""

import contextlib
import errno
import os
import struct
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import pyfuse3
import structlog
import trio

from pwfs.repo.health import guarded

if TYPE_CHECKING:
    from pwfs.fs.nodes import Node

_log = structlog.get_logger(__name__)
INC_EPOCH = struct.pack("IiQ", 16, 8, 0)
"""FUSE_NOTIFY_INC_EPOCH: every cached name is looked up again when it is next used."""
_INVAL_INODE = struct.Struct("IiQQqq")
_INVAL_INODE_CODE = 2
_NO_CONTENT = -1
NAMES_MAX = 20_000
_DROPPING_MAX = 8

_Item = tuple[int, bytes | None, int]
# libfuse says ENOSYS until the kernel has introduced itself: it remembers nothing by then.
_QUIET = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENOTEMPTY, errno.EBUSY, errno.ENOSYS})
_CLOSED = frozenset({errno.ENODEV, errno.ENOTCONN, errno.EBADF, errno.ECONNABORTED})


class Invalidator:
    """The queue of notifications and the thread that sends them."""

    def __init__(self, fuse_fd: int) -> None:
        self._fuse_fd = fuse_fd
        self._epochs = True
        self._condition = threading.Condition()
        self._queue: deque[_Item | Callable[[], None]] = deque()
        self._queued: set[_Item] = set()
        self._busy = False
        self._closing = False
        self._only_epochs = False
        self._dropping = trio.CapacityLimiter(_DROPPING_MAX)
        self.queued_names = 0
        """How many names were ever queued: callers compare it before and after."""
        self._thread = threading.Thread(target=self._run, name="fuse-invalidate", daemon=True)
        self._thread.start()

    def entry(self, directory_ino: int, name: str, *, deleted_ino: int = 0) -> None:
        """Queues a name that leads elsewhere now (or nowhere, or somewhere at last).

        ``deleted_ino`` is what it led to, if that has no name any more: who watches it is told.
        """
        self.queued_names += 1
        if self._only_epochs or (len(self._queued) >= NAMES_MAX and self._epochs):
            self.bump()
            return
        self._put((directory_ino, name.encode(), deleted_ino))

    def attributes(self, ino: int) -> None:
        """Queues an inode whose attributes changed."""
        if self._only_epochs:
            # The look-ups that an epoch brings about give the attributes, too.
            self.bump()
            return
        self._notify(ino, _NO_CONTENT, 0)

    def names(self, directory: "Node") -> None:
        """Has a directory's attributes asked for anew, as names in it are others now.

        Its modification time must be another one, too: by that the kernel sees that a listing which
        it keeps is of no use any more. If it may keep one it is told at once, which never blocks, so
        handlers may call it.
        """
        if directory.gathering is None:
            self.attributes(directory.ino)
        else:
            self._notify(directory.ino, _NO_CONTENT, 0)

    def forget_listing(self, directory_ino: int) -> None:
        """Has the kernel forget a listing that it keeps; for who knows that nobody is reading it."""
        self._notify(directory_ino, 0, 1)

    async def drop_listing(self, directory_ino: int) -> None:
        """Has the kernel forget a listing that it keeps, or gathers, by taking its beginning away.

        It may have to wait for a program that reads from it, and that for a page of a file of ours.
        """
        await trio.to_thread.run_sync(
            self._notify, directory_ino, 0, 1, abandon_on_cancel=True, limiter=self._dropping
        )

    def _notify(self, ino: int, offset: int, length: int) -> None:
        """Tells of attributes, and of a range of what is cached (with _NO_CONTENT of none)."""
        if self._closing:
            return
        notification = _INVAL_INODE.pack(
            _INVAL_INODE.size, _INVAL_INODE_CODE, 0, ino, offset, length
        )
        try:
            os.write(self._fuse_fd, notification)
        except OSError as error:
            if error.errno not in _QUIET | _CLOSED:
                _log.exception("invalidation failed", ino=ino)
                self.bump()

    def _put(self, item: _Item) -> None:
        with self._condition:
            if item not in self._queued:
                self._queued.add(item)
                self._queue.append(item)
                self._condition.notify()

    def bump(self) -> bool:
        """Makes the kernel ask for every name anew; never blocks, so handlers may call it.

        False on a kernel that knows no epochs.
        """
        if not self._epochs:
            return False
        try:
            os.write(self._fuse_fd, INC_EPOCH)
        except OSError as error:
            if error.errno in _CLOSED:
                return True
            self._epochs = False
        return self._epochs

    def never_wait(self) -> bool:
        """From now on tells the kernel by new epochs only; False where the kernel knows none.

        Then no thread may come to wait in the kernel for somebody whose request nobody answers.
        """
        self._only_epochs = self.bump()
        return self._only_epochs

    async def drain(self) -> None:
        """Returns when all that is queued now has reached the kernel."""
        with self._condition:
            if self._closing or (not self._queue and not self._busy):
                return
            done = trio.Event()
            token = trio.lowlevel.current_trio_token()

            def tell() -> None:
                with contextlib.suppress(trio.RunFinishedError):
                    token.run_sync_soon(done.set)

            self._queue.append(tell)
            self._condition.notify()
        await done.wait()

    def close(self) -> None:
        """Lets the thread end; whoever waits in `drain` is released. The session is closed."""
        self.say_no_more()
        self._thread.join(timeout=5)

    def say_no_more(self) -> None:
        """Sends nothing any more: the session is about to be closed."""
        with self._condition:
            self._closing = True
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._busy = False
                while not self._queue and not self._closing:
                    self._condition.wait()
                if not self._queue:
                    return
                item = self._queue.popleft()
                self._busy = True
                if isinstance(item, tuple):
                    self._queued.discard(item)
            if not isinstance(item, tuple):
                item()
            elif not self._closing:
                self._send(item)

    def _send(self, item: _Item) -> None:
        ino, name, deleted_ino = item
        # The thread must go on, or whoever drains the queue would wait for ever.
        with guarded(_log, "invalidation failed", ino=str(ino)) as attempt:
            try:
                if name is None:
                    pyfuse3.invalidate_inode(ino, attr_only=True)
                else:
                    pyfuse3.invalidate_entry(ino, name, deleted_ino)
            except OSError as error:
                if error.errno in _CLOSED:
                    self._closing = True
                elif error.errno not in _QUIET:
                    raise
        if attempt.error is not None:
            self.bump()
