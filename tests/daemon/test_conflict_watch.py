"""Conflicts are published when they arise, not when somebody asks or lands."""

import json
import time
from typing import Any

from tests.support.project import Project


def conflicts(project: Project, number: int) -> list[dict[str, Any]]:
    """Waits for so many conflict events and returns their types and payloads."""
    deadline = time.monotonic() + 20
    params = {"types": "conflict_detected,conflict_resolved", "since": "0"}
    with project.api() as api, api.stream("GET", "events", params=params) as response:
        found: list[dict[str, Any]] = []
        for line in response.iter_lines():
            assert time.monotonic() < deadline, found
            if line.startswith("data: "):
                found.append(json.loads(line[6:]))
            if len(found) == number:
                return found
    raise AssertionError(found)


def two_changes(project: Project) -> None:
    """Makes two changes with a workspace each."""
    for name in ("One", "Two"):
        change = project.json("change", "create", name)["id"]
        project.patchwork("workspace", "create", change, f"ws-{change}")


def test_two_open_changes_that_meet_in_a_file_are_told(project: Project) -> None:
    """Nobody asked: the second save is enough, and the event has the three contents."""
    two_changes(project)
    (project.directory / "ws-one" / "same.txt").write_text("one\n")
    (project.directory / "ws-two" / "same.txt").write_text("two\n")
    (event,) = conflicts(project, 1)
    payload = event["payload"]
    assert payload["path"] == "same.txt"
    assert {payload["your_change"], payload["their_change"]} == {"one", "two"}
    assert {payload["your_content"], payload["their_content"]} == {"one\n", "two\n"}
    assert payload["base_content"] == ""


def test_what_was_written_while_nobody_watched_is_compared_at_the_start(
    project: Project,
) -> None:
    """A daemon that was killed right behind a save tells of the conflict when it is back."""
    two_changes(project)
    (project.directory / "ws-one" / "same.txt").write_text("one\n")
    (project.directory / "ws-two" / "same.txt").write_text("two\n")
    project.kill()
    project.patchwork("status")
    (event,) = conflicts(project, 1)
    assert event["type"] == "conflict_detected"


def test_a_conflict_that_is_gone_is_told_too(project: Project) -> None:
    """Writing the same content on both sides resolves it."""
    two_changes(project)
    (project.directory / "ws-one" / "same.txt").write_text("one\n")
    (project.directory / "ws-two" / "same.txt").write_text("two\n")
    conflicts(project, 1)
    (project.directory / "ws-two" / "same.txt").write_text("one\n")
    events = conflicts(project, 2)
    assert [event["type"] for event in events] == ["conflict_detected", "conflict_resolved"]
