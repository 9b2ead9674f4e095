"""Runs the application under Hypercorn, once per listening socket."""

import logging
import os
import socket
from typing import cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from hypercorn.typing import Framework
from quart_trio import QuartTrio

from pwfs_daemon.sockets import sever_connections
from pwfs_daemon.web.services import Services
from pwfs_daemon.web.transport import Application, TaggedApplication, Transport

GRACE_S = 2.0
KEEP_ALIVE_S = 60.0


async def serve_socket(
    application: QuartTrio,
    services: Services,
    listener: socket.socket,
    transport: Transport,
    *,
    task_status: trio.TaskStatus[list[str]],
) -> None:
    """Answers requests on a listening socket until ``services.stopping``.

    Requests under way then get `GRACE_S` to finish; readers that stopped reading are cut off.
    """
    config = Config()
    # Hypercorn closes the descriptor it is given.
    config.bind = [f"fd://{os.dup(listener.fileno())}"]
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.errorlog.setLevel(logging.WARNING)
    config.graceful_timeout = GRACE_S
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.include_server_header = False
    # Blobs are sent in chunks of a request each; the default closes after 1,000.
    config.keep_alive_max_requests = 1_000_000

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cut_off, services.stopping, listener)
        await serve(
            cast(Framework, TaggedApplication(cast(Application, application), transport)),
            config,
            shutdown_trigger=services.stopping.wait,
            task_status=task_status,
            mode="asgi",
        )
        nursery.cancel_scope.cancel()


async def _cut_off(stopping: trio.Event, listener: socket.socket) -> None:
    await stopping.wait()
    await trio.sleep(GRACE_S)
    sever_connections(listener)
