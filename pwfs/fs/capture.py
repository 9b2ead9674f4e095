"""Captures files that stay open: after a second of quiet, or when somebody asks for everything."""

import math
import time

import structlog
import trio

from pwfs.fs.nodes import Node
from pwfs.fs.writing import Writing
from pwfs.model.errors import PatchworkError

QUIET_S = 1.0
_log = structlog.get_logger(__name__)


class Capturer:
    """The set of files with something not logged yet, and the task that logs it."""

    def __init__(self) -> None:
        self._dirty: dict[Node, None] = {}
        self._woken = trio.Event()

    def add(self, node: Node) -> None:
        """Takes note of a file that was written."""
        if not self._dirty:
            self._woken.set()
        self._dirty[node] = None

    async def run(self) -> None:
        """Logs each file once nobody has written to it for a while; until cancelled."""
        while True:
            if not self._dirty:
                self._woken = trio.Event()
                await self._woken.wait()
            now = time.monotonic()
            next_due = math.inf
            for node in list(self._dirty):
                content = node.content
                if content is None or not content.is_dirty:
                    self._dirty.pop(node, None)
                elif content.written_at + QUIET_S <= now:
                    await self._capture(node)
                else:
                    next_due = min(next_due, content.written_at + QUIET_S)
            if next_due < math.inf:
                await trio.sleep(max(0.0, next_due - time.monotonic()))
            elif self._dirty:
                await trio.sleep(QUIET_S)

    async def capture_all(self) -> None:
        """Logs everything that is written so far."""
        for node in list(self._dirty):
            await self._capture(node)

    async def _capture(self, node: Node) -> None:
        space = node.space
        assert isinstance(space, Writing)
        if space.is_gone:
            self._dirty.pop(node, None)
            return
        try:
            await space.capture(node)
        except (PatchworkError, OSError) as error:
            # It stays dirty and is tried again; `close` and `fsync` tell the program.
            _log.warning("an open file is not captured", path=str(node.name), error=str(error))
            if node.content is not None:
                node.content.written_at = time.monotonic() + 30
            return
        content = node.content
        if content is None or not content.is_dirty:
            self._dirty.pop(node, None)
        space.discard_idle(node)
        space.table.drop_unused(node)
