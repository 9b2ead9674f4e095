"""``/api/events``: what happened, as server-sent events that can be resumed.

A reader holds a number, not a queue: it is woken by the repository and reads the next events from
the store at its own pace, so a slow one costs the daemon nothing.
"""

from collections.abc import AsyncGenerator

import msgspec
import trio
from quart import Blueprint, Response, request

from pwfs.model.errors import InvalidArgument
from pwfs.model.events import Event, EventType
from pwfs.model.ids import EventId
from pwfs.repo.json import to_json
from pwfs_daemon.web.answers import page, parse_number, query_limit, query_number, query_text
from pwfs_daemon.web.openapi import takes
from pwfs_daemon.web.services import Services, repository, services

routes = Blueprint("events", __name__)

HEARTBEAT_S = 15.0
BATCH = 200


@routes.get("/events")
@takes(None, "types", "since", "limit", "after")
async def get_events() -> Response:
    """Streams events from a number on; without one, those from now on.

    A browser's EventSource sends ``Last-Event-ID`` when it reconnects, which counts more than
    ``since``. With ``Accept: application/json`` it is a page of stored events instead.
    """
    found = services()
    await found.captured()
    types = _types(query_text("types"))
    resumed = request.headers.get("Last-Event-ID")
    since = parse_number("Last-Event-ID", resumed) if resumed else query_number("since")
    if request.accept_mimetypes.best == "application/json":
        return _page(types, since or 0)
    start = EventId(repository().log.last_event_id() if since is None else since)
    response = Response(
        stream_events(found, start, types),
        content_type="text/event-stream; charset=utf-8",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
    response.timeout = None
    return response


def _page(types: frozenset[EventType] | None, since: int) -> Response:
    limit = query_limit()
    after = query_number("after", since) or 0
    found = repository().events(after, types, limit=limit + 1)
    return page("events", [repository().told(event) for event in found], limit, "id")


def _types(text: str | None) -> frozenset[EventType] | None:
    if text is None:
        return None
    try:
        return frozenset(EventType(name) for name in text.split(","))
    except ValueError as error:
        known = ", ".join(EventType)
        raise InvalidArgument(name="types", reason=f"{error}; there are {known}") from None


async def stream_events(
    found: Services, cursor: EventId, types: frozenset[EventType] | None
) -> AsyncGenerator[bytes, None]:
    """Yields the stream's text: events behind the cursor as they come, and heartbeats.

    It ends with the daemon.
    """
    moved = trio.Event()

    def wake() -> None:
        moved.set()

    unsubscribe = found.repo.subscribe(wake)
    try:
        # Sent at once, so that the client knows that nothing from here on escapes it.
        yield b": connected\n\n"
        due = trio.current_time() + HEARTBEAT_S
        while not found.stopping.is_set():
            moved = trio.Event()
            # All types are read, so that the cursor passes those not asked for.
            events = found.repo.events(cursor, limit=BATCH)
            cursor = events[-1].id if events else cursor
            wanted = [event for event in events if types is None or event.type in types]
            if wanted:
                for event in wanted:
                    yield _encode(found.repo.told(event))
                due = trio.current_time() + HEARTBEAT_S
            elif trio.current_time() >= due:
                yield b": heartbeat\n\n"
                due = trio.current_time() + HEARTBEAT_S
            elif events:
                await trio.lowlevel.checkpoint()
            else:
                await _wait_for_news(moved, found.stopping, due)
    finally:
        unsubscribe()


async def _wait_for_news(moved: trio.Event, stopping: trio.Event, until: float) -> None:
    """Waits for an event or the end of the daemon, at most until a moment of trio's clock."""

    async def wait(event: trio.Event, scope: trio.CancelScope) -> None:
        await event.wait()
        scope.cancel()

    with trio.move_on_at(until):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, stopping, nursery.cancel_scope)
            await wait(moved, nursery.cancel_scope)


def _encode(event: Event) -> bytes:
    data = msgspec.json.encode(to_json(event))
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.id, event.type.value.encode(), data)
