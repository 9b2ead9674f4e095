"""What views with conflicts, dependencies and pins show in the mount."""

import errno
import hashlib

import pytest

from tests.system.conftest import LINES
from tests.system.people import Refused, System, files_below


def edited(old: str, new: str) -> str:
    """The known file with one line changed."""
    assert f"{old}\n" in LINES
    return LINES.replace(f"{old}\n", f"{new}\n")


@pytest.fixture
def quarrel(system: System) -> System:
    """Two changes that disagree about a line and agree about all else."""
    for title, text in (("Mine", "of mine"), ("Theirs", "of theirs")):
        change = system.change(title)
        system.put(change, "modify", "src/app.py", edited("line 7", text).encode())
        system.put(change, "create", f"{change}.txt", text.encode())
        system.put(
            change, "modify", "src/lib/util.py", edited(f"line {2 * len(text)}", text).encode()
        )
    return system


OVERLAYS = [{"change_id": "theirs"}, {"change_id": "mine"}]


def test_manual_refuses_the_conflicted_file_only(quarrel: System) -> None:
    """EIO for that file, everything else works, and the API names it."""
    quarrel.post("views", id="m", overlays=OVERLAYS, conflict_policy="manual")
    view = quarrel.mount / "views/m"
    with pytest.raises(OSError, match="Input/output") as refused:
        (view / "src/app.py").read_bytes()
    assert refused.value.errno == errno.EIO
    assert (view / "src/app.py").exists()
    assert sorted(path.name for path in (view / "src").iterdir()) == ["app.py", "lib"]
    assert (view / "mine.txt").read_text() == "of mine"
    assert (view / "theirs.txt").read_text() == "of theirs"
    both = LINES.replace("line 14\n", "of mine\n").replace("line 18\n", "of theirs\n")
    assert (view / "src/lib/util.py").read_text() == both
    for path in ("tree", "files/src/app.py"):
        with pytest.raises(Refused) as conflict:
            quarrel.get(f"views/m/{path}")
        assert conflict.value.status == 409
        assert conflict.value.problem["fields"]["paths"] == ["src/app.py"]
    quarrel.put("mine", "modify", "src/app.py", edited("line 30", "of mine, elsewhere").encode())
    assert "of mine, elsewhere" in (view / "src/app.py").read_text()


def test_a_manual_workspace_is_resolved_by_writing(quarrel: System) -> None:
    """The file cannot be read, but written whole; then it is a file again."""
    ws = quarrel.workspace("mine", conflict_policy="manual")
    assert (ws / "src/app.py").read_text() == edited("line 7", "of mine")
    quarrel.land("theirs")
    with pytest.raises(OSError, match="Input/output"):
        (ws / "src/app.py").read_bytes()
    assert (ws / "theirs.txt").read_text() == "of theirs"
    (ws / "src/app.py").write_text(edited("line 7", "of both"))
    assert (ws / "src/app.py").read_text() == edited("line 7", "of both")
    assert quarrel.get("changes/mine/conflicts")["conflicts"] == []
    quarrel.land("mine")
    assert (quarrel.main / "src/app.py").read_text() == edited("line 7", "of both")


def test_last_write_shows_yours_and_says_what_it_covered(quarrel: System) -> None:
    """Nothing is covered silently: the result names the content that lost."""
    quarrel.post("views", id="l", overlays=OVERLAYS, conflict_policy="last_write")
    view = quarrel.mount / "views/l"
    assert (view / "src/app.py").read_text() == edited("line 7", "of mine")
    rows = {row["path"]: row for row in quarrel.get("views/l/tree")["entries"]}
    covered = rows["src/app.py"]
    assert covered["is_conflict"] and "of theirs" in str(covered["conflict_info"])
    assert not rows["src/lib/util.py"]["is_conflict"]


def test_warn_shows_markers(quarrel: System) -> None:
    """Both sides stand in the file, with their names, and its size is that of what is read."""
    quarrel.post("views", id="w", overlays=OVERLAYS)
    path = quarrel.mount / "views/w/src/app.py"
    text = path.read_text()
    lines = text.splitlines()
    start = lines.index("<<<<<<< theirs@draft")
    assert lines[start : start + 7] == [
        "<<<<<<< theirs@draft",
        "of theirs",
        "||||||| base",
        "line 7",
        "=======",
        "of mine",
        ">>>>>>> mine@draft",
    ]
    assert path.stat().st_size == len(text)
    assert quarrel.read("w", "src/app.py") == text.encode()
    (found,) = quarrel.get("changes/mine/conflicts")["conflicts"]
    assert (found["path"], found["their_change"]) == ("src/app.py", "theirs")


def test_every_policy_shows_in_the_mount_what_the_api_says(quarrel: System) -> None:
    """Byte for byte the tree's contents, for each view that can be materialized."""
    for policy in ("warn", "last_write"):
        quarrel.post("views", id=policy, overlays=OVERLAYS, conflict_policy=policy)
        shown = files_below(quarrel.mount / "views" / policy)
        hashes = {path: hashlib.sha256(content).hexdigest() for path, content in shown.items()}
        assert hashes == quarrel.tree(policy)


def test_dependencies_lie_below(system: System) -> None:
    """A change that needs another shows it, live, until it has landed, and after."""
    base = system.change("Base")
    system.put(base, "create", "base.txt", b"base")
    system.put(base, "modify", "src/app.py", edited("line 3", "base's").encode())
    ws = system.workspace(system.change("Upper", after=(base,)))
    assert (ws / "base.txt").read_text() == "base"
    assert not (system.main / "base.txt").exists()
    text = (ws / "src/app.py").read_text()
    assert "base's" in text
    (ws / "src/app.py").write_text(text.replace("line 30\n", "upper's\n"))
    system.put(base, "modify", "base.txt", b"base again")
    system.put(base, "modify", "src/app.py", edited("line 3", "base's better").encode())
    assert (ws / "base.txt").read_text() == "base again"
    both = edited("line 3", "base's better").replace("line 30\n", "upper's\n")
    assert (ws / "src/app.py").read_text() == both
    with pytest.raises(Refused) as refused:
        system.land("upper")
    assert refused.value.problem["code"] == "dependency_not_landed"
    system.land(base)
    assert (ws / "src/app.py").read_text() == both
    system.land("upper")
    assert (system.main / "src/app.py").read_text() == both
    assert (system.main / "base.txt").read_text() == "base again"


def test_a_pinned_workspace_stays_until_it_is_synced(system: System) -> None:
    """Main moves below it at `sync` and not before; its own edits stay on top."""
    ws = system.workspace(system.change("Pinned"), pin=True)
    (ws / "src/app.py").write_text(edited("line 20", "pinned"))
    for number in range(3):
        other = system.change(f"Other {number}")
        system.put(other, "create", f"new-{number}", b"new")
        text = (system.main / "src/app.py").read_text()
        system.put(other, "modify", "src/app.py", (f"other {number}\n" + text).encode())
        system.land(other)
        assert (ws / "src/app.py").read_text() == edited("line 20", "pinned")
        assert not (ws / f"new-{number}").exists()
    system.post(f"workspaces/{ws.name}/sync")
    start = "other 2\nother 1\nother 0\n"
    assert (ws / "src/app.py").read_text() == start + edited("line 20", "pinned")
    assert (ws / "new-2").read_text() == "new"
    system.land("pinned")
    assert (system.main / "src/app.py").read_text() == start + edited("line 20", "pinned")
