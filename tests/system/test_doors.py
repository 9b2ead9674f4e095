# What the system call answers is what is tested.
# ruff: noqa: PTH208
"""Promise 7 across the doors: what returned in one of them is there in every other."""

import os
from pathlib import Path

import pytest

from tests.system.conftest import LINES
from tests.system.people import Refused, System, files_below


def test_what_the_api_wrote_the_mount_shows(system: System) -> None:
    """An operation, a version and a landing are in every directory when the answer is there."""
    change = system.change("By the API")
    ws = system.workspace(change)
    other = system.workspace(system.change("Other"))
    for round_number in range(15):
        name, text = f"api/{round_number}.txt", f"text {round_number}\n".encode()
        assert not (ws / name).exists()
        assert (ws / "src/app.py").read_text().startswith(f"api {round_number - 1}\n") or (
            round_number == 0
        )
        system.put(change, "create", name, text)
        assert (ws / name).read_bytes() == text
        assert f"{round_number}.txt" in os.listdir(ws / "api")
        edited = f"api {round_number}\n{LINES}".encode()
        system.put(change, "modify", "src/app.py", edited)
        assert (ws / "src/app.py").read_bytes() == edited
        assert (ws / "src/app.py").stat().st_size == len(edited)
        system.put(change, "rename", f"api/r{round_number}", None, old_path=name)
        assert not (ws / name).exists()
        assert (ws / f"api/r{round_number}").read_bytes() == text
        system.put(change, "delete", f"api/r{round_number}", None)
        assert not (ws / f"api/r{round_number}").exists()
    assert (system.main / "src/app.py").read_text() == LINES
    system.post(f"changes/{change}/versions", message="One")
    seq = system.land(change)
    for place in (system.main, other, ws, system.mount / f"at/{seq}"):
        assert (place / "src/app.py").read_text() == f"api 14\n{LINES}"
    assert not (system.main / "api").exists()


def test_what_was_closed_in_the_mount_the_api_shows(system: System) -> None:
    """File by file, after each close, rename and deletion; and the operation that it became."""
    change = system.change("By the mount")
    ws = system.workspace(change)
    view = ws.name
    for round_number in range(15):
        text = f"{round_number}\n" * (round_number * 300 + 1)
        (ws / "f.txt").write_text(text)
        assert system.read(view, "f.txt") == text.encode()
        newest = system.get("ops", change_id=change, newest_first=True, limit=1)["ops"][0]
        assert (newest["path"], newest["id"]) == ("f.txt", system.get("head")["seq"])
        with (ws / "f.txt").open("ab") as file:
            file.write(b"more")
        assert system.read(view, "f.txt") == text.encode() + b"more"
        (ws / "f.txt").rename(ws / "g.txt")
        assert "f.txt" not in system.tree(view)
        assert system.read(view, "g.txt") == text.encode() + b"more"
        (ws / "g.txt").unlink()
        with pytest.raises(Refused) as gone:
            system.read(view, "g.txt")
        assert gone.value.status == 404


def test_co_workers_and_views_follow_each_other(system: System) -> None:
    """Two workspaces of a change, a third that lays it over its own, and views of it."""
    change = system.change("Shared")
    first, second = system.workspace(change), system.workspace(change)
    third = system.workspace(
        system.change("Reviewer"), overlays=[{"change_id": change, "version": 0}]
    )
    system.post("views", id="live", overlays=[{"change_id": change}])
    view = system.mount / "views/live"
    shows = [first, second, third, view]
    for number in range(10):
        writer = (first, second)[number % 2]
        text = f"{number}\n" * (number + 1)
        name = f"n{number % 3}.txt"
        (writer / name).write_text(text)
        (writer / f"only-{number}").touch()
        for place in shows:
            assert (place / name).read_text() == text, place
            assert (place / f"only-{number}").exists(), place
        (writer / f"only-{number}").rename(writer / f"moved-{number}")
        for place in shows:
            assert not (place / f"only-{number}").exists(), place
            assert f"moved-{number}" in os.listdir(place), place
    expected = files_below(first)
    for place in shows[1:]:
        assert files_below(place) == expected, place
    with pytest.raises(OSError, match="Read-only"):
        (view / "n0.txt").write_text("no")


def test_an_overlay_floats_or_is_pinned(system: System) -> None:
    """A floating overlay shows the newest version when freezing it returned, a pinned one never."""
    change = system.change("Floating")
    ws = system.workspace(change)
    (ws / "v.txt").write_text("one")
    system.post(f"changes/{change}/versions", message="1")
    system.post("views", id="floats", overlays=[{"change_id": change}])
    system.post("views", id="pinned", overlays=[{"change_id": change, "version": 1, "pin": True}])
    floats, pinned = system.mount / "views/floats/v.txt", system.mount / "views/pinned/v.txt"
    for text in ("two", "three and more", "4"):
        before = floats.read_text()
        (ws / "v.txt").write_text(text)
        assert floats.read_text() == before
        system.post(f"changes/{change}/versions", message=text)
        assert floats.read_text() == text
        assert pinned.read_text() == "one"
    system.request("DELETE", "views/pinned")
    assert not (system.mount / "views/pinned").exists()
    system.project.patchwork("change", "abandon", change)
    assert not floats.exists()


def test_the_commands_wrote_and_the_directory_shows(system: System, tmp_path: Path) -> None:
    """The same through `patchwork` and an attached directory, which the command makes and takes."""
    patchwork = system.project.patchwork
    patchwork("change", "create", "By hand")
    ws = tmp_path / "a place"
    patchwork("workspace", "create", "by-hand", ws)
    (ws / "README.md").write_text("by hand\n")
    assert patchwork("cat", "ws-by-hand", "README.md").stdout == "by hand\n"
    assert "README.md" in patchwork("workspace", "scan", "ws-by-hand").stdout
    patchwork("land", "by-hand")
    assert (system.main / "README.md").read_text() == "by hand\n"
    with pytest.raises(OSError, match="Read-only"):
        (ws / "README.md").write_text("no")
    patchwork("workspace", "destroy", "ws-by-hand")
    assert not ws.exists() or os.listdir(ws) == []
