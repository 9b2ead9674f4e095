"""One client's connection: HTTP/1.1 by Hypercorn, over a trio stream.

Hypercorn's own server keeps the connection of a client that has gone for the rest of its idle time,
never ends one whose client asked for HTTP/2 and does not read, and a malformed request for HTTP/2
ends the whole server. Here a connection ends with its client, and speaks HTTP/1.1 only.
"""

import contextlib
import math

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import parse_socket_addr

READ_BYTES_MAX = 1 << 16


class Connection:
    """A connection from its acceptance to its end."""

    def __init__(
        self,
        application: AppWrapper,
        config: Config,
        context: WorkerContext,
        stream: trio.SocketStream,
    ) -> None:
        self._application = application
        self._config = config
        self._context = context
        self._stream = stream
        self._sending = trio.Lock()
        self._reading = trio.CancelScope()
        self._is_idle = True
        self._protocol: H11Protocol | None = None

    async def run(self) -> None:
        """Answers requests until either side closes."""
        socket = self._stream.socket
        try:
            client = parse_socket_addr(socket.family, socket.getpeername())
            server = parse_socket_addr(socket.family, socket.getsockname())
        except OSError:
            await self._close()  # the client has gone already
            return
        try:
            async with TaskGroup() as tasks:
                self._protocol = _OneProtocol(
                    self._application,
                    self._config,
                    self._context,
                    tasks,
                    ConnectionState({}),
                    False,
                    client,
                    server,
                    self._handle,
                )
                self._rest(is_idle=True)
                await self._read(self._protocol)
        finally:
            await self._close()

    def finish(self) -> None:
        """Ends it now if no request is under way; else it ends after the answer."""
        if self._is_idle:
            self._reading.cancel()

    def cut_off(self) -> None:
        """Makes every read and write fail."""
        with contextlib.suppress(OSError):
            self._stream.socket.shutdown(trio.socket.SHUT_RDWR)

    def _rest(self, *, is_idle: bool) -> None:
        """Counts the idle time from now on, or not."""
        self._is_idle = is_idle
        limit_s = self._config.keep_alive_timeout if is_idle else math.inf
        self._reading.deadline = trio.current_time() + limit_s

    async def _read(self, protocol: H11Protocol) -> None:
        with self._reading:
            while True:
                try:
                    data = bytes(await self._stream.receive_some(READ_BYTES_MAX))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    break
                await protocol.handle(RawData(data))
                if not data:
                    break
        await protocol.handle(Closed())

    async def _handle(self, event: Event) -> None:
        """Does what the protocol asks for."""
        match event:
            case RawData():
                await self._send(event.data)
            case Updated():
                self._rest(is_idle=event.idle)
            case Closed():
                await self._close()
                await self._gone()

    async def _send(self, data: bytes) -> None:
        async with self._sending:
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                await self._gone()

    async def _gone(self) -> None:
        """Lets the request under way know that nobody waits for its answer."""
        if self._protocol is not None:
            await self._protocol.handle(Closed())

    async def _close(self) -> None:
        with contextlib.suppress(
            trio.BrokenResourceError, trio.BusyResourceError, trio.ClosedResourceError
        ):
            await self._stream.send_eof()
        await self._stream.aclose()


class _OneProtocol(H11Protocol):
    """HTTP/1.1 that becomes nothing else: a server may ignore a wish to upgrade."""

    async def _check_protocol(self, event: object) -> None:
        pass
