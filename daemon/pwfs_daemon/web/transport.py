"""Tells the transports apart: the Unix socket is the local user's, TCP needs a token."""

import enum
import hmac
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio
from quart import request

from pwfs.model.errors import Unauthenticated
from pwfs_daemon.web.services import services

SCOPE_KEY = "patchwork.transport"

# The ASGI callables: their messages are plain dictionaries.
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Transport(enum.StrEnum):
    """How a request came."""

    UNIX = "unix"
    TCP = "tcp"


class TaggedApplication:
    """An ASGI application that marks each request with the transport it came by."""

    def __init__(self, application: Application, transport: Transport) -> None:
        self._application = application
        self._transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] == "http":
            tagged = {**scope, SCOPE_KEY: self._transport}
            await self._application(tagged, receive, partial(_send, send))


async def _send(send: Send, message: Any) -> None:
    """Sends a message, the last one of a response whole.

    While it sends that one Hypercorn tells Quart-Trio that the request is over, which cancels the
    task that sends: without the shield it would not come to make the connection ready for the next
    request.
    """
    is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
    with trio.CancelScope(shield=is_last):
        await send(message)


async def authenticate() -> None:
    """Lets a request through or refuses it; runs before every route.

    A browser's preflight (OPTIONS) never carries a token and reveals nothing.

    Raises:
        Unauthenticated: it came over TCP and does not carry the token.
    """
    if request.scope.get(SCOPE_KEY) is Transport.UNIX or request.method == "OPTIONS":
        return
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    expected = services().token.encode()
    if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), expected):
        raise Unauthenticated
