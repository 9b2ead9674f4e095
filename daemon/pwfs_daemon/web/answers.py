"""Requests and answers as JSON: strict bodies, typed query parameters, pages."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec
from quart import Response, request

from pwfs.model.errors import InvalidArgument, TooLarge
from pwfs.repo.json import to_json

JSON_SIZE_BYTES_MAX = 8 * 1024 * 1024
TAKEN_SIZE_BYTES_MAX = 64 * 1024
PAGE_DEFAULT = 100
PAGE_MAX = 1000

T = TypeVar("T")


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The base of all request bodies: a misspelt field is refused, not ignored."""


class Acting(Body):
    """Who does it."""

    agent_id: str = "local"


def answer(value: object, status: int = 200) -> Response:
    """Sends a value of the model, or plain data holding such values, as JSON."""
    return Response(
        msgspec.json.encode(to_json(value)), status=status, content_type="application/json"
    )


def no_content() -> Response:
    """Says that it is done and there is nothing to tell."""
    return Response(b"", status=204)


async def read_body(kind: type[T]) -> T:
    """Reads the request's JSON; an empty body counts as ``{}``.

    Raises:
        InvalidArgument: it is not JSON or not of the shape.
        TooLarge: it is above `JSON_SIZE_BYTES_MAX`.
    """
    content = await request.get_data()
    if len(content) > JSON_SIZE_BYTES_MAX:
        raise TooLarge(size_bytes=len(content), size_bytes_max=JSON_SIZE_BYTES_MAX)
    try:
        return msgspec.json.decode(content or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(name="body", reason=str(error)) from None


async def take_body() -> None:
    """Reads a short body before anything is answered; runs before every route.

    An answer that comes while the client still sends closes the connection under it, and over
    TCP the answer may be lost with it. A long body is the route's to read.
    """
    if 0 < (request.content_length or 0) <= TAKEN_SIZE_BYTES_MAX:
        await request.get_data()


def query_text(name: str) -> str | None:
    """Reads a query parameter; absent and empty are the same."""
    return request.args.get(name) or None


def query_number(name: str, default: int | None = None) -> int | None:
    """Reads a whole number that is not negative.

    Raises:
        InvalidArgument: the parameter is something else.
    """
    text = query_text(name)
    if text is None:
        return default
    return parse_number(name, text)


def parse_number(name: str, text: str) -> int:
    """Reads a whole number that SQLite can hold and that is not negative.

    Raises:
        InvalidArgument: it is something else.
    """
    if not (text.isascii() and text.isdigit()) or int(text) >= 1 << 63:
        raise InvalidArgument(name=name, reason=f"{text!r} is not a whole number of at least 0")
    return int(text)


def query_flag(name: str) -> bool:
    """Reads ``true`` or ``false`` (the default).

    Raises:
        InvalidArgument: the parameter is something else.
    """
    text = request.args.get(name, "false").lower()
    if text not in ("true", "1", "false", "0"):
        raise InvalidArgument(name=name, reason=f"{text!r} is neither true nor false")
    return text in ("true", "1")


def query_limit() -> int:
    """Reads ``limit``, the length of a page.

    Raises:
        InvalidArgument: it is not from 1 to `PAGE_MAX`.
    """
    limit = query_number("limit", PAGE_DEFAULT)
    if limit is None or not 1 <= limit <= PAGE_MAX:
        raise InvalidArgument(name="limit", reason=f"must be from 1 to {PAGE_MAX}")
    return limit


def page(name: str, found: Sequence[object], limit: int, cursor: str) -> Response:
    """Sends one page of at most ``limit`` of the values found (ask for one more than that).

    ``next`` is what to give as ``after`` for the next page, null on the last.
    """
    shown = [to_json(value) for value in found[:limit]]
    last = shown[-1] if len(found) > limit else None
    return answer({name: shown, "next": last[cursor] if isinstance(last, dict) else None})
