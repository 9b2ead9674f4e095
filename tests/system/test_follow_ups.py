"""Work goes on while a version is tested: nothing of it is lost when that version lands."""

import os
import threading
from functools import partial
from pathlib import Path

import pytest

from tests.system.conftest import LINES
from tests.system.people import System, until


def queue_waits_for(system: System, gate: Path) -> None:
    """Makes tests wait until a file is there."""
    command = f"while [ ! -e {gate} ]; do sleep 0.05; done"
    system.request("PUT", "config/test-cmd", json={"value": command})


def is_landed(system: System, change: str) -> bool:
    """Whether a change is part of main."""
    return bool(system.get(f"changes/{change}")["status"] == "landed")


def test_a_draft_that_went_on_follows_in_a_change_of_its_own(
    system: System, tmp_path: Path
) -> None:
    """The workspace moves with it and shows the same; what landed is the version alone."""
    gate = tmp_path / "gate"
    queue_waits_for(system, gate)
    change = system.change("Going on")
    ws, co_worker = system.workspace(change), system.workspace(change)
    (ws / "src/app.py").write_text(LINES.replace("line 1\n", "first\n"))
    (ws / "first.txt").write_text("first")
    system.post("queue", change_id=change, agent_id="tester")
    (ws / "src/app.py").write_text(LINES.replace("line 1\n", "second\n"))
    (ws / "second.txt").write_text("second")
    (ws / "first.txt").rename(ws / "moved.txt")
    (co_worker / "README.md").unlink()
    before = {path: (ws / path).read_text() for path in ("src/app.py", "second.txt", "moved.txt")}
    gate.touch()
    until(lambda: is_landed(system, change), "the version lands")
    assert (system.main / "src/app.py").read_text() == LINES.replace("line 1\n", "first\n")
    assert (system.main / "first.txt").read_text() == "first"
    assert (system.main / "README.md").exists()
    assert not (system.main / "second.txt").exists()
    follow_up = system.get(f"changes/{change}-2")
    assert follow_up["metadata"]["follows"] == change
    for place in (ws, co_worker):
        assert {path: (place / path).read_text() for path in before} == before
        assert not (place / "first.txt").exists()
        assert not (place / "README.md").exists()
    (co_worker / "third.txt").write_text("third")
    assert (ws / "third.txt").read_text() == "third"
    assert system.get(f"changes/{change}-2/conflicts")["conflicts"] == []
    system.land(f"{change}-2")
    for path, text in {**before, "third.txt": "third"}.items():
        assert (system.main / path).read_text() == text
    assert not (system.main / "first.txt").exists()
    assert not (system.main / "README.md").exists()


def test_a_workspace_without_more_is_read_only_until_it_is_switched(system: System) -> None:
    """Every way of writing is EROFS after the landing, and works after `workspace switch`."""
    change = system.change("Done")
    ws = system.workspace(change)
    (ws / "done.txt").write_text("done")
    (ws / "scratch.o").write_text("scratch")
    system.land(change)
    for write in (
        lambda: (ws / "done.txt").write_text("no"),
        lambda: (ws / "new.txt").write_text("no"),
        lambda: (ws / "done.txt").unlink(),
        lambda: (ws / "done.txt").rename(ws / "other"),
        lambda: (ws / "done.txt").chmod(0o755),
        lambda: os.truncate(ws / "done.txt", 1),
        lambda: (ws / "link").symlink_to("done.txt"),
    ):
        with pytest.raises(OSError, match="Read-only"):
            write()
    assert (ws / "done.txt").read_text() == "done"
    assert system.get(f"workspaces/{ws.name}")["read_only"]
    assert {each["status"] for each in system.get("changes")["changes"]} == {"landed"}
    system.change("Next")
    system.project.patchwork("workspace", "switch", ws.name, "next")
    (ws / "done.txt").write_text("more")
    (ws / "new.txt").write_text("new")
    assert (ws / "scratch.o").read_text() == "scratch"
    system.land("next")
    assert (system.main / "done.txt").read_text() == "more"
    assert (system.main / "new.txt").read_text() == "new"


def has_saved(saved: list[str], number: int) -> bool:
    """Whether there are more saves than that."""
    return len(saved) > number


def test_a_writer_who_never_stops_loses_nothing(system: System) -> None:
    """Saves go on during ten landings of whatever was frozen: every one is in main in the end."""
    change = system.change("Stream")
    ws = system.workspace(change)
    saved: list[str] = []
    stop = threading.Event()
    refused: list[OSError] = []

    def save() -> None:
        while not stop.is_set() and len(saved) < 5000:
            text = f"save {len(saved)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            try:
                file = os.open(ws / f"f{len(saved) % 7}.txt", flags)
            except OSError as error:
                refused.append(error)
                continue
            # What was open when its change landed may still be written and closed.
            os.write(file, text.encode())
            os.close(file)
            saved.append(text)

    writer = threading.Thread(target=save)
    writer.start()
    try:
        for _ in range(10):
            known = len(saved)
            until(partial(has_saved, saved, known + 5), "a few saves")
            current = system.get(f"workspaces/{ws.name}")["change_id"]
            system.land(current)
            if system.get(f"workspaces/{ws.name}")["read_only"]:
                fresh = system.change("Stream")
                system.post(f"workspaces/{ws.name}/switch", change_id=fresh)
    finally:
        stop.set()
        writer.join(20)
    assert not writer.is_alive()
    current = system.get(f"workspaces/{ws.name}")["change_id"]
    if system.get(f"workspaces/{ws.name}")["read_only"] is False and system.ops(current):
        system.land(current)
    newest = {index % 7: text for index, text in enumerate(saved)}
    for number, text in newest.items():
        assert (system.main / f"f{number}.txt").read_text() == text
    assert {error.errno for error in refused} <= {30}
    logged = [
        op["content_hash"] for op in system.pages("ops") if op["metadata"].get("moved_from") is None
    ]
    assert len(logged) >= len(saved)
