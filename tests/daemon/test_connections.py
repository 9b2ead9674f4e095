"""A client's connection ends with the client, and whatever it sends, nothing else ends with it."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from pwfs_daemon.web.serve import Server, configuration
from tests.support.project import Project

UPGRADE = b"GET /api/head HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
STRANGE = {
    "an upgrade with settings that are none": (
        UPGRADE + b"Upgrade: h2c\r\nHTTP2-Settings: A\r\n\r\n",
        b"HTTP/1.1 200",
    ),
    "an upgrade to HTTP/2": (
        UPGRADE + b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        b"HTTP/1.1 200",
    ),
    "HTTP/2 at once": (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\1" + b"\xff" * 200,
        b"HTTP/1.1 404",
    ),
    "a web socket": (
        b"GET /api/head HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 400",
    ),
    "a chunk without a length": (
        b"POST /api/blobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 400",
    ),
    "no HTTP": (b"\xff\xfe\r\n\r\n", b"HTTP/1.1 400"),
}


def connect(project: Project) -> socket.socket:
    """Connects to the daemon without knowing any HTTP."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(project.whereabouts["socket"])
    return client


def sockets_of(project: Project) -> int:
    """How many sockets the daemon has open."""
    links = Path(f"/proc/{project.whereabouts['pid']}/fd").iterdir()
    return sum(target.startswith("socket:") for target in _targets(links))


def _targets(links: Iterator[Path]) -> Iterator[str]:
    for link in links:
        # Between listing and reading a descriptor may be closed.
        with contextlib.suppress(FileNotFoundError):
            yield str(link.readlink())


def test_a_connection_ends_with_its_client(project: Project) -> None:
    """Fifty clients that were answered, or said nothing, are let go of when they go."""
    project.patchwork("status")
    first = sockets_of(project)
    clients = [project.api() for _ in range(25)]
    for client in clients:
        assert client.get("head").status_code == 200
    silent = [connect(project) for _ in range(25)]
    assert sockets_of(project) >= first + 20
    for client in clients:
        client.close()
    for other in silent:
        other.close()
    deadline = time.monotonic() + 10
    while sockets_of(project) > first:
        assert time.monotonic() < deadline, (first, sockets_of(project))
        time.sleep(0.05)


def test_what_is_sent_ends_no_daemon(project: Project) -> None:
    """It is answered, the daemon goes on, and stops when it is told to, whoever is connected."""
    project.patchwork("status")
    pid = project.whereabouts["pid"]
    with contextlib.ExitStack() as clients:
        for name, (request, answer) in STRANGE.items():
            client = clients.enter_context(connect(project))
            client.sendall(request)
            assert client.recv(len(answer)) == answer, name
        with project.api() as api:
            assert api.get("status").json()["daemon"]["pid"] == pid
        project.patchwork("serve", "--stop")


async def _overlong(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-length", b"1")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"longer than that"})


@pytest.mark.allow_log("Error in ASGI Framework", "a connection is closed for a defect")
async def test_a_defect_ends_one_connection() -> None:
    """An answer that cannot be sent closes its connection; the server goes on with the next."""
    server = Server(_overlong, configuration())
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            ours, theirs = trio.socket.socketpair()
            nursery.start_soon(server.serve, trio.SocketStream(theirs))
            async with trio.SocketStream(ours) as client:
                await client.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = b"".join([part async for part in client])
                assert answer.startswith(b"HTTP/1.1 200")
        await server.finish()
