"""The stream's own clockwork, on a clock that jumps."""

from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import cast

import trio
from trio.testing import MockClock

from pwfs.model.events import Event, EventType
from pwfs.model.ids import EventId
from pwfs_daemon.web.events import HEARTBEAT_S, stream_events
from pwfs_daemon.web.services import Services


class Store:
    """Events in a list, and who wants to hear of them."""

    def __init__(self) -> None:
        self.stored: list[Event] = []
        self.subscribers: list[Callable[[], None]] = []

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        self.subscribers.append(callback)
        return lambda: self.subscribers.remove(callback)

    def events(self, since: int, *, limit: int) -> list[Event]:
        return [event for event in self.stored if event.id > since][:limit]

    def told(self, event: Event) -> Event:
        return event

    def happen(self, kind: EventType) -> None:
        number = EventId(len(self.stored) + 1)
        self.stored.append(Event(number, kind, datetime.now(UTC), {"number": number}))
        for subscriber in list(self.subscribers):
            subscriber()


class Around:
    """As much of the services as a stream needs."""

    def __init__(self) -> None:
        self.repo = Store()
        self.stopping = trio.Event()


async def test_silence_is_broken_by_heartbeats(autojump_clock: MockClock) -> None:
    """A comment every 15 seconds keeps proxies from closing the stream."""
    around = Around()
    async with aclosing(stream_events(cast(Services, around), EventId(0), None)) as stream:
        assert await anext(stream) == b": connected\n\n"
        for beat in range(1, 4):
            assert await anext(stream) == b": heartbeat\n\n"
            assert trio.current_time() == beat * HEARTBEAT_S
        around.repo.happen(EventType.CHANGE_LANDED)
        assert (await anext(stream)).startswith(b"id: 1\nevent: change_landed\ndata: {")
    assert around.repo.subscribers == []


async def test_events_not_asked_for_do_not_wake_the_reader(autojump_clock: MockClock) -> None:
    """The cursor passes them, and the heartbeat keeps its time."""
    around = Around()
    wanted = frozenset({EventType.CHANGE_LANDED})

    async def happen_now_and_then() -> None:
        for _ in range(7):
            await trio.sleep(HEARTBEAT_S / 4)
            around.repo.happen(EventType.OP_APPENDED)

    async with (
        trio.open_nursery() as nursery,
        aclosing(stream_events(cast(Services, around), EventId(0), wanted)) as stream,
    ):
        await anext(stream)
        nursery.start_soon(happen_now_and_then)
        assert await anext(stream) == b": heartbeat\n\n"
        assert trio.current_time() == HEARTBEAT_S
        assert await anext(stream) == b": heartbeat\n\n"
        assert trio.current_time() == 2 * HEARTBEAT_S
        around.repo.happen(EventType.CHANGE_LANDED)
        assert (await anext(stream)).startswith(b"id: 8\n")


async def test_a_stream_ends_with_the_daemon(autojump_clock: MockClock) -> None:
    """What was stored before the end is still sent."""
    around = Around()
    async with aclosing(stream_events(cast(Services, around), EventId(0), None)) as stream:
        await anext(stream)
        around.repo.happen(EventType.CHANGE_LANDED)
        assert b"id: 1\n" in await anext(stream)
        around.stopping.set()
        assert [chunk async for chunk in stream] == []
