"""Speaks HTTP with the daemon over its Unix socket, with the standard library only."""

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pwfs.model.errors import DaemonUnreachable, InvalidArgument
from pwfs_cli.failures import ApiProblem
from pwfs_cli.starting import connect_or_start

Json = Any
"""What JSON holds: the answers are printed, not computed with."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, connected: socket.socket) -> None:
        super().__init__("patchwork")
        self.sock = connected


class Client:
    """A connection to a repository's daemon, made when the first request is sent."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def send(
        self, method: str, path: str, body: object = None, /, **query: object
    ) -> http.client.HTTPResponse:
        """Sends one request and returns the response, its body not read yet.

        Raises:
            ApiProblem: the daemon refused.
            DaemonUnreachable: it went away meanwhile.
            InvalidArgument: something of the request is not UTF-8.
        """
        wanted = {k: _text(v) for k, v in query.items() if v is not None and v is not False}
        try:
            target = f"/api/{path}" + (f"?{urlencode(wanted)}" if wanted else "")
            content = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise InvalidArgument(name="argument", reason="it is not UTF-8") from None
        connection = _Connection(connect_or_start(self.root))
        try:
            try:
                connection.request(
                    method,
                    target,
                    body=content,
                    headers={"Content-Type": "application/json", "Connection": "close"},
                )
            except BrokenPipeError:
                # Refused before all of the body was read: the answer is there all the same.
                pass
            response = connection.getresponse()
            if response.status >= 400:
                raise _problem(response)
        except (OSError, http.client.HTTPException) as error:
            raise DaemonUnreachable(reason=f"it ended during the request ({error})") from error
        return response

    def request(self, method: str, path: str, body: object = None, /, **query: object) -> Json:
        """Sends one request and returns the JSON of its answer, ``{}`` when that is empty.

        Raises:
            ApiProblem: the daemon refused.
            DaemonUnreachable: it went away meanwhile.
        """
        with self.send(method, path, body, **query) as response:
            try:
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                raise DaemonUnreachable(reason=f"it ended while answering ({error})") from error
        return json.loads(content) if content else {}

    def get(self, path: str, /, **query: object) -> Json:
        """Asks for something."""
        return self.request("GET", path, **query)

    def post(self, path: str, body: object = None) -> Json:
        """Has something done."""
        return self.request("POST", path, {} if body is None else body)

    def pages(self, path: str, name: str, /, **query: object) -> Iterator[Json]:
        """Yields everything of a list that comes in pages."""
        after: object = None
        while True:
            answer = self.get(path, after=after, limit=1000, **query)
            yield from answer[name]
            after = answer["next"]
            if after is None:
                return

    def events(self, **query: object) -> Iterator[Json]:
        """Listens to events; what happens after this call is among what it yields.

        Raises:
            DaemonUnreachable: the daemon ended.
        """
        return self._read_events(self.send("GET", "events", **query))

    def _read_events(self, response: http.client.HTTPResponse) -> Iterator[Json]:
        with response:
            try:
                for line in response:
                    if line.startswith(b"data: "):
                        yield json.loads(line[6:])
            except (OSError, http.client.HTTPException) as error:
                raise DaemonUnreachable(reason=f"it ended ({error})") from error
        raise DaemonUnreachable(reason="it ended")


def _text(value: object) -> str:
    return "true" if value is True else str(value)


def _problem(response: http.client.HTTPResponse) -> ApiProblem:
    content = response.read()
    try:
        document = json.loads(content)
    except ValueError:
        document = {"detail": f"The daemon answered {response.status}", "category": "internal"}
    return ApiProblem(document)
