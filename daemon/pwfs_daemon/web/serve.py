"""Runs the application under Hypercorn, once per listening socket.

Hypercorn speaks HTTP on each connection (`pwfs_daemon.web.connection`). A connection that ends by a
defect takes nothing else along, and each is ended when the daemon ends.
"""

import logging
import socket
from functools import partial
from typing import cast

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework
from quart_trio import QuartTrio

from pwfs.repo.health import guarded
from pwfs_daemon.web.connection import Connection
from pwfs_daemon.web.services import Services
from pwfs_daemon.web.transport import Application, TaggedApplication, Transport

log = structlog.get_logger(__name__)
GRACE_S = 2.0
KEEP_ALIVE_S = 60.0


async def serve_socket(
    application: QuartTrio,
    services: Services,
    listener: socket.socket,
    transport: Transport,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    """Answers requests on a listening socket until ``services.stopping``.

    Requests under way then get `GRACE_S` to finish; readers that stopped reading are cut off.
    """
    tagged = TaggedApplication(cast(Application, application), transport)
    server = Server(cast(ASGIFramework, tagged), configuration())
    # The listener itself stays open for a daemon that takes it over.
    accepting = trio.SocketListener(trio.socket.from_stdlib_socket(listener.dup()))
    async with trio.open_nursery() as nursery:
        try:
            async with accepting, trio.open_nursery() as door:
                accept = partial(trio.serve_listeners, handler_nursery=nursery)
                await door.start(accept, server.serve, [accepting])
                task_status.started()
                await services.stopping.wait()
                door.cancel_scope.cancel()
            with trio.move_on_after(GRACE_S):
                await server.finish()
        finally:
            server.cut_off()
        nursery.cancel_scope.cancel()


def configuration() -> Config:
    """What Hypercorn is told of every connection."""
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.errorlog.setLevel(logging.WARNING)
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.include_server_header = False
    # Blobs are sent in chunks of a request each; the default closes after 1,000.
    config.keep_alive_max_requests = 1_000_000
    return config


class Server:
    """The connections of one listening socket."""

    def __init__(self, application: ASGIFramework, config: Config) -> None:
        self._application = ASGIWrapper(application)
        self._config = config
        self._context = WorkerContext(None)
        self._connections: set[Connection] = set()
        self._ended = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answers one client until either side closes."""
        connection = Connection(self._application, self._config, self._context, stream)
        self._connections.add(connection)
        try:
            with guarded(log, "a connection is closed for a defect"):
                await connection.run()
        finally:
            self._connections.remove(connection)
            self._ended.set()

    async def finish(self) -> None:
        """Ends each connection once it is idle; returns when there is none."""
        await self._context.terminated.set()
        for connection in list(self._connections):
            connection.finish()
        while self._connections:
            self._ended = trio.Event()
            await self._ended.wait()

    def cut_off(self) -> None:
        """Ends what is left: a reader that stopped reading would keep the daemon from ending."""
        for connection in list(self._connections):
            connection.cut_off()
