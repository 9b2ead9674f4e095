"""`patchwork status` in a workspace: what its change does, what is not settled, and how long it takes."""

import os
from pathlib import Path

from tests.system.people import System


def test_what_a_change_does_to_what_is_below(system: System, tmp_path: Path) -> None:
    """Added, deleted, modified and renamed files, each once, wherever one stands in it."""
    change = system.change("Work")
    place = tmp_path / "work"
    system.workspace(change, directory=str(place))
    (place / "src" / "new").write_text("new\n")
    (place / "data.bin").unlink()
    (place / "src" / "app.py").write_text("other\n")
    (place / "src" / "lib").rename(place / "library")
    (place / "build").mkdir()
    (place / "build" / "ignored").write_text("ignored\n")
    found = system.get("workspaces/ws-work/status")
    assert [(f["status"], f["old_path"], f["path"]) for f in found["files"]] == [
        ("deleted", None, "data.bin"),
        ("renamed", "src/lib/util.py", "library/util.py"),
        ("modified", None, "src/app.py"),
        ("added", None, "src/new"),
    ]
    assert (found["agent_id"], found["change_id"], found["status"]) == ("tester", change, "draft")
    assert found["base_seq"] == found["main_seq"]
    assert found["unfrozen"] == len(system.ops(change))
    assert (found["conflicts"], found["open"], found["not_logged"]) == ([], [], [])
    patchwork = system.project.patchwork
    shown = patchwork("status", cwd=place / "src").lines
    assert shown[-4:] == [
        "D data.bin",
        "R src/lib/util.py -> library/util.py",
        "M src/app.py",
        "A src/new",
    ]
    assert patchwork("workspace", "status", "ws-work").lines == shown
    assert patchwork("status", cwd=system.mount / "ws" / "ws-work").lines == shown
    assert patchwork("status", "--json", cwd=place).json == found
    assert "main_root" in patchwork("status", "--repository", "--json", cwd=place).json
    patchwork("workspace", "status", "nobodys", status=3)


def test_what_is_not_settled(system: System) -> None:
    """Files held open, files too large for the log, conflicts, a pinned base and the queue."""
    system.project.patchwork("config", "set", "max-blob-mb", "1")
    system.project.patchwork("queue", "pause")
    change, other = system.change("Work"), system.change("Other")
    place, theirs = system.workspace(change, pin=True), system.workspace(other)
    with (place / "src" / "app.py").open("ab", buffering=0) as opened:
        opened.write(b"mine\n")
        found = system.get("workspaces/ws-work/status")
        assert (found["open"], found["pending"]) == (["src/app.py"], [])
        assert [f["path"] for f in found["files"]] == ["src/app.py"], "it is captured for this"
    (place / "large.bin").write_bytes(os.urandom((1 << 20) + 1))
    (theirs / "src" / "app.py").write_text("theirs\n")
    landed = system.land(other)
    found = system.get("workspaces/ws-work/status")
    assert found["not_logged"] == [{"path": "large.bin", "size": (1 << 20) + 1}]
    assert found["open"] == []
    assert found["base_seq"] < found["main_seq"] == landed
    assert found["conflicts"] == []
    system.post("workspaces/ws-work/sync")
    found = system.get("workspaces/ws-work/status")
    assert found["base_seq"] == found["main_seq"]
    assert found["conflicts"] == [{"path": "src/app.py", "type": "content", "their_change": None}]
    (place / "src" / "app.py").write_text("resolved\n")
    system.project.patchwork("config", "set", "test-cmd", "true")
    system.post("queue", change_id=change)
    found = system.get("workspaces/ws-work/status")
    assert (found["conflicts"], found["unfrozen"], found["status"]) == ([], 0, "testing")
    assert (found["queue"]["change_id"], found["queue"]["position"]) == (change, 0)
    shown = system.project.patchwork("status", cwd=place).stdout
    assert "\nQueue: #1, position 0, " in shown
    assert "\nNot logged, above max-blob-mb: large.bin\n" in shown


def test_a_landed_change_has_nothing_left(system: System) -> None:
    """Its files are main's."""
    change = system.change("Work")
    place = system.workspace(change)
    (place / "new").write_text("new\n")
    system.land(change)
    found = system.get("workspaces/ws-work/status")
    assert (found["status"], found["read_only"], found["files"]) == ("landed", True, [])
