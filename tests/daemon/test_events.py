"""The event stream: live, resumable, filtered, and no burden on the daemon."""

import json
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.project import Project


@pytest.fixture
def api(project: Project) -> Iterator[httpx.Client]:
    """A client on the Unix socket of a running daemon."""
    project.patchwork("status")
    with project.api() as client:
        yield client


def take(response: httpx.Response, number: int) -> list[dict[str, Any]]:
    """Reads so many events from a stream, each with the id it was sent under."""
    found: list[dict[str, Any]] = []
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            event = json.loads(fields["data"])
            assert (str(event["id"]), event["type"]) == (fields["id"], fields["event"])
            found.append(event)
            fields = {}
            if len(found) == number:
                return found
    raise AssertionError(f"the stream ended after {found}")


def create(api: httpx.Client, title: str) -> None:
    """Makes an event happen."""
    assert api.post("changes", json={"title": title}).status_code == 201


def test_a_stream_tells_what_happens_from_now_on(project: Project, api: httpx.Client) -> None:
    """What was before is not repeated, what comes is there at once."""
    create(api, "Before")
    with project.api() as listener, listener.stream("GET", "events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        create(api, "After")
        (event,) = take(response, 1)
    assert event["type"] == "change_created"
    assert event["payload"]["change_id"] == "after"


def test_a_stream_resumes_behind_the_last_event_seen(project: Project, api: httpx.Client) -> None:
    """A reader that was away misses nothing and sees nothing twice."""
    for number in range(4):
        create(api, f"Number {number}")
    with project.api() as listener:
        with listener.stream("GET", "events", params={"since": 0}) as response:
            first = take(response, 2)
        headers = {"Last-Event-ID": str(first[-1]["id"])}
        with listener.stream("GET", "events", params={"since": 0}, headers=headers) as response:
            rest = take(response, 2)
    names = [event["payload"]["change_id"] for event in first + rest]
    assert names == ["number-0", "number-1", "number-2", "number-3"]


def test_types_select(project: Project, api: httpx.Client) -> None:
    """Only the types asked for are sent; one that does not exist is refused."""
    create(api, "One")
    api.post("views", json={"id": "v"})
    params = {"types": "view_created,view_deleted", "since": "0"}
    with project.api() as listener, listener.stream("GET", "events", params=params) as response:
        (event,) = take(response, 1)
    assert event["type"] == "view_created"
    assert api.get("events", params={"types": "weather"}).status_code == 400


def test_events_can_be_read_in_pages(api: httpx.Client) -> None:
    """Who asks for JSON gets what is stored, and no stream."""
    for number in range(3):
        create(api, f"Number {number}")
    asked = {"Accept": "application/json"}
    found = api.get("events", params={"limit": 2}, headers=asked).json()
    assert len(found["events"]) == 2
    rest = api.get("events", params={"after": found["next"]}, headers=asked).json()
    assert [event["payload"]["title"] for event in rest["events"]] == ["Number 2"]


def test_open_streams_end_with_the_daemon(project: Project, api: httpx.Client) -> None:
    """A reader is told the end properly, and neither it nor an idle connection delays it."""
    with project.api() as listener, listener.stream("GET", "events") as response:
        lines = response.iter_lines()
        assert next(lines).startswith(":")
        started = time.monotonic()
        pid = project.kill(signal.SIGTERM)
        assert not any(lines)
        assert wait_for_end(pid)
    assert time.monotonic() - started < 1.5
    assert not (project.state_dir / "daemon.json").exists()


def test_a_reader_that_stopped_reading_does_not_keep_the_daemon(
    project: Project, api: httpx.Client
) -> None:
    """It is cut off after the grace, while what it did not read stays in the store."""
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.connect(project.whereabouts["socket"])
        stuck.sendall(b"GET /api/events?since=0 HTTP/1.1\r\nHost: x\r\n\r\n")
        create(api, "Filled")
        for number in range(3):
            payload = {"metadata": {"filler": f"{number}" * 200_000}}
            assert api.patch("changes/filled/metadata", json=payload).status_code == 200
        project.patchwork("serve", "--stop")
    assert project.json("change", "show", "filled")["metadata"]["filler"][0] == "2"


def wait_for_end(pid: int) -> bool:
    """Waits a few seconds for a process to end."""
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], 10)[0])
    finally:
        os.close(descriptor)
