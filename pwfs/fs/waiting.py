"""How pyfuse3's tasks wait for requests: at once when one is there already.

pyfuse3 asks its attribute ``trio``, which may be replaced, for a lock and for the next request. With
trio's own a task gives way twice for each request, a third of what a request costs. Fairness towards
the daemon's other tasks is kept here instead: they have their turn after a number of requests.

Nor does the thread go to sleep at once when there is nothing to do: see ``native/lead.c``.
"""

import select
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pyfuse3
import trio

from pwfs.fs.native import Library

IN_A_ROW_MAX = 16
"""So many requests may be taken before other tasks have their turn."""


class Turns:
    """A lock that is taken without giving way when it is free, and passed on in order."""

    def __init__(self) -> None:
        self._is_taken = False
        self._lot = trio.lowlevel.ParkingLot()

    async def __aenter__(self) -> None:
        if self._is_taken:
            # Who unparks this task leaves the lock taken, for it.
            await self._lot.park()
        self._is_taken = True

    async def __aexit__(self, *_: object) -> None:
        if self._lot:
            self._lot.unpark()
        else:
            self._is_taken = False


class Waiting:
    """What stands for the module ``trio``, and for ``trio.lowlevel``, in pyfuse3.

    With a ``library`` that takes the requests, ``fd`` tells that some are waiting; without, the
    connection with the kernel does. ``learn`` is called before each request, and must not wait.
    """

    Lock = Turns

    def __init__(
        self, library: Library | None, fd: int, learn: Callable[[], None] | None = None
    ) -> None:
        self._library = library
        self._learn = learn or _nothing
        self._fd = fd
        self._in_a_row = 0
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._emptied: trio.Event | None = None
        self.lowlevel = _Lowlevel(self)

    @property
    def is_native(self) -> bool:
        """Whether the library takes the requests."""
        return self._library is not None

    def install(self) -> None:
        """Has pyfuse3 wait by this from now on."""
        vars(pyfuse3)["trio"] = self

    def __getattr__(self, name: str) -> Any:
        return getattr(trio, name)

    def _is_ready(self) -> bool:
        return bool(self._library.waiting() if self._library else self._poll.poll(0))

    def _comes_soon(self) -> bool:
        """Whether a request comes before it would pay to sleep; not if others have work to do."""
        return (
            self._library is not None
            and self._in_a_row < IN_A_ROW_MAX
            and not trio.lowlevel.current_statistics().tasks_runnable
            and self._library.await_request()
        )

    async def wait_readable(self) -> None:
        """Returns when a request can be taken."""
        self._learn()
        if not self._is_ready() and not self._comes_soon():
            self._in_a_row = 0
            if self._emptied is not None:
                self._emptied.set()
            await trio.lowlevel.wait_readable(self._fd)
        elif self._in_a_row < IN_A_ROW_MAX:
            self._in_a_row += 1
        else:
            self._in_a_row = 0
            await trio.lowlevel.checkpoint()

    async def emptied(self) -> None:
        """Returns when pyfuse3 has taken all that the library had taken; no more may come."""
        self._emptied = trio.Event()
        if self._is_ready():
            await self._emptied.wait()

    def notify_closing(self) -> None:
        """Wakes who waits: the session ends."""
        with suppress(OSError):
            trio.lowlevel.notify_closing(self._fd)


def _nothing() -> None:
    """There is nothing to be learned."""


class _Lowlevel:
    """`Waiting`, as pyfuse3 calls it with the descriptor that it would wait for itself."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting

    def __getattr__(self, name: str) -> Any:
        return getattr(trio.lowlevel, name)

    async def wait_readable(self, _: int) -> None:
        """As `Waiting.wait_readable`."""
        await self._waiting.wait_readable()

    def notify_closing(self, _: int) -> None:
        """As `Waiting.notify_closing`."""
        self._waiting.notify_closing()
