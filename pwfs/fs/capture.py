"""Logs what waits: files that stay open, after a second of quiet, and what workspaces hold.

All of it is logged at once when somebody asks.
"""

import math
import time

import structlog
import trio

from pwfs.fs.holding import Holding
from pwfs.fs.nodes import Node
from pwfs.fs.writing import Writing
from pwfs.repo.health import guarded

QUIET_S = 1.0
RETRY_S = 30.0
_log = structlog.get_logger(__name__)


class Capturer:
    """The files and workspaces with something not logged yet, and the task that logs it.

    Workspaces stand beside the moment at which something that they hold is due.
    """

    def __init__(self) -> None:
        self._dirty: dict[Node, None] = {}
        self._holding: dict[Holding, float] = {}
        self._woken = trio.Event()

    def add(self, node: Node) -> None:
        """Takes note of a file that was written."""
        self._woken.set()
        self._dirty[node] = None

    def dirty(self) -> list[Node]:
        """The files with something that is not logged."""
        return [n for n in self._dirty if n.content is not None and n.content.is_dirty]

    def hold(self, space: Holding) -> None:
        """Takes note that a workspace holds something."""
        if space not in self._holding:
            self._woken.set()
            self._holding[space] = time.monotonic() + QUIET_S

    async def run(self) -> None:
        """Logs everything once it has been quiet for a while; until cancelled."""
        while True:
            if not self._dirty and not self._holding:
                self._woken = trio.Event()
                await self._woken.wait()
            next_due = min(await self._capture_quiet(), self._settle_quiet())
            # What comes meanwhile is not due before a second has passed.
            await trio.sleep(max(0.0, min(next_due - time.monotonic(), QUIET_S)))

    async def _capture_quiet(self) -> float:
        """Captures the files that are quiet; returns when the next will be."""
        next_due = math.inf
        for node in list(self._dirty):
            content = node.content
            if content is None or not content.is_dirty:
                self._dirty.pop(node, None)
            elif content.written_at + QUIET_S <= time.monotonic():
                await self._capture(node)
            else:
                next_due = min(next_due, content.written_at + QUIET_S)
        return next_due

    def _settle_quiet(self) -> float:
        """Logs what is held for long enough; returns when the next will be."""
        now = time.monotonic()
        for space, due in list(self._holding.items()):
            if due <= now:
                self._settle(space, now - QUIET_S)
        return min(self._holding.values(), default=math.inf)

    def _settle(self, space: Holding, until: float | None) -> None:
        if space.is_gone:
            self._holding.pop(space, None)
            return
        with guarded(_log, "what is held is not logged", workspace=space.id):
            oldest = space.settle_since(until)
            if oldest is None:
                self._holding.pop(space, None)
            else:
                self._holding[space] = oldest + QUIET_S
            return
        self._holding[space] = time.monotonic() + RETRY_S

    async def capture_all(self) -> None:
        """Logs everything that is written so far."""
        for node in list(self._dirty):
            await self._capture(node)
        self.settle_all()

    def settle_all(self) -> None:
        """Logs everything that is held."""
        for space in list(self._holding):
            self._settle(space, None)

    async def _capture(self, node: Node) -> None:
        space = node.space
        assert isinstance(space, Writing)
        if space.is_gone:
            self._dirty.pop(node, None)
            return
        with guarded(_log, "an open file is not captured", path=str(node.name)) as attempt:
            await space.capture(node)
        content = node.content
        if attempt.error is not None:
            # It stays dirty and is tried again; `close` and `fsync` tell the program.
            if content is not None:
                content.written_at = time.monotonic() + RETRY_S
            return
        if content is None or not content.is_dirty:
            self._dirty.pop(node, None)
        space.discard_idle(node)
        space.table.drop_unused(node)
