"""Changes, versions, landing, follow-ups and what they refuse."""

import msgspec
import pytest

from pwfs.model.changes import ChangeStatus
from pwfs.model.errors import (
    ChangeIsFinal,
    Conflicted,
    DependencyCycle,
    DependencyNotLanded,
    EmptySlug,
    IllegalTransition,
    NotFound,
    NothingToFreeze,
)
from pwfs.model.events import EventType
from pwfs.model.ops import OpType
from pwfs.model.paths import RepoPath
from pwfs.model.views import ConflictPolicy, ConflictType, Overlay
from pwfs.repo.edits import Edit
from pwfs.repo.repository import Repository
from tests.repo.conftest import LINES
from tests.repo.support import delete, entry, rename, shown, workspace_on, write


def _types(repo: Repository, since: int = 0) -> list[EventType]:
    return [event.type for event in repo.events(since)]


def test_ids_are_slugs(repo: Repository) -> None:
    """A title's slug is the id; the second of the same title gets -2, an empty one is refused."""
    assert repo.create_change("Add user auth!", author="a").id == "add-user-auth"
    assert repo.create_change("add USER auth", author="a").id == "add-user-auth-2"
    before = repo.log.last_event_id()
    with pytest.raises(EmptySlug):
        repo.create_change("!!!", author="a")
    assert repo.log.last_event_id() == before


def test_write_version_land(repo: Repository) -> None:
    """A save is one operation; a version freezes it; landing makes it main, and at-SEQ the past."""
    before = shown(repo)
    workspace = workspace_on(repo, "Edit")
    ops = write(repo, workspace, "src/app.py", "print(2)\n")
    assert [op.op_type for op in ops] == [OpType.MODIFY]
    assert write(repo, workspace, "src/app.py", "print(2)\n") == []
    write(repo, workspace, "new/file", "n\n")
    delete(repo, workspace, "src/b.py")
    version = repo.create_version("edit", "first", agent="a")
    assert len(version.operations) == 3
    with pytest.raises(NothingToFreeze):
        repo.create_version("edit", "again", agent="a")
    past = repo.main()[0]
    landing = repo.land("edit", agent="a")
    expected = {"README": LINES, "src/app.py": "print(2)\n", "new/file": "n\n"}
    assert shown(repo) == expected == shown(repo, workspace)
    assert shown(repo, f"at-{past}") == before
    assert repo.change("edit").status is ChangeStatus.LANDED
    assert not landing.verified
    assert EventType.CHANGE_LANDED in _types(repo)
    with pytest.raises(ChangeIsFinal):
        repo.record(workspace, [Edit(OpType.DELETE, RepoPath("README"), None)])


def test_parent_chain(repo: Repository) -> None:
    """Each operation on a path names the one before it, across changes once they land."""
    one = workspace_on(repo, "One")
    first = write(repo, one, "README", "1\n")[0]
    second = write(repo, one, "README", "2\n")[0]
    assert second.parent_seq == first.id
    imported = repo.log.op(first.parent_seq)
    assert imported is not None
    assert imported.path == "README"
    repo.land("one", agent="a")
    two = workspace_on(repo, "Two")
    assert write(repo, two, "README", "3\n")[0].parent_seq == second.id


def test_live_merge_and_resolution(repo: Repository) -> None:
    """Main moving under a draft merges into it; a conflict shows markers until it is written."""
    one, two = workspace_on(repo, "One"), workspace_on(repo, "Two")
    write(repo, one, "README", LINES.replace("line 1\n", "ONE\n"))
    write(repo, two, "README", LINES.replace("line 8\n", "TWO\n").replace("line 1\n", "two\n"))
    repo.land("one", agent="a")
    text = shown(repo, two)["README"]
    assert "<<<<<<< main@" in text
    assert "ONE" in text
    assert "TWO" in text
    assert [c.type for c in repo.conflicts("two")] == [ConflictType.CONTENT]
    with pytest.raises(Conflicted) as caught:
        repo.land("two", agent="a")
    assert caught.value.paths == ("README",)
    assert repo.change("two").status is ChangeStatus.DRAFT
    resolved = LINES.replace("line 1\n", "both\n").replace("line 8\n", "TWO\n")
    write(repo, two, "README", resolved)
    assert repo.conflicts("two") == []
    repo.land("two", agent="a")
    assert shown(repo)["README"] == resolved


def test_conflicts_between_open_changes(repo: Repository) -> None:
    """Two drafts on the same lines conflict before either lands; the event says so once."""
    one, two = workspace_on(repo, "One"), workspace_on(repo, "Two")
    write(repo, one, "README", LINES.replace("line 1\n", "ONE\n"))
    repo.detect_conflicts("one", [RepoPath("README")])
    write(repo, two, "README", LINES.replace("line 1\n", "two\n"))
    for change in ("two", "one", "two"):
        repo.detect_conflicts(change, [RepoPath("README")])
    found = [e for e in repo.events() if e.type is EventType.CONFLICT_DETECTED]
    assert len(found) == 1
    assert found[0].payload["their_change"] == "one"
    assert "ONE" in str(repo.told(found[0]).payload["conflict_markers"])
    assert [c.their_change for c in repo.conflicts("two")] == ["one"]
    write(repo, two, "README", LINES.replace("line 8\n", "TWO\n"))
    repo.detect_conflicts("two", [RepoPath("README")])
    assert _types(repo)[-1] is EventType.CONFLICT_RESOLVED
    assert repo.conflicts("one") == []


def test_an_event_names_the_contents_of_a_conflict(repo: Repository) -> None:
    """It is small whatever the files are, and who reads it gets the three texts."""
    one, two = workspace_on(repo, "One"), workspace_on(repo, "Two")
    text = "".join(f"line {number}\n" for number in range(20_000))
    write(repo, one, "large", text.replace("line 7\n", "ONE\n"))
    write(repo, two, "large", text.replace("line 7\n", "TWO\n"))
    repo.detect_conflicts("two", [RepoPath("large")])
    (event,) = repo.events(types=[EventType.CONFLICT_DETECTED])
    assert len(str(event.payload)) < 1_000
    (conflict,) = repo.conflicts("two")
    assert repo.told(event).payload == msgspec.to_builtins(conflict)
    assert "ONE" in conflict.their_content and "TWO" in conflict.your_content


def test_a_conflict_whose_content_is_lost_is_told_all_the_same(repo: Repository) -> None:
    """The event has no text in its place; asking for the conflict itself is refused."""
    one, two = workspace_on(repo, "One"), workspace_on(repo, "Two")
    write(repo, one, "same", "one\n")
    (op,) = write(repo, two, "same", "two\n")
    repo.detect_conflicts("two", [RepoPath("same")])
    (event,) = repo.events(types=[EventType.CONFLICT_DETECTED])
    assert op.new.entry is not None
    file = repo.layout.blobs / op.new.entry.content_hash[:2] / op.new.entry.content_hash[2:]
    aside = file.rename(file.with_name("aside"))
    told = repo.told(event).payload
    assert (told["your_content"], told["their_content"]) == ("", "one\n")
    aside.rename(file)


def test_events_of_earlier_versions_are_told_as_they_are(repo: Repository) -> None:
    """They hold the texts themselves; their conflict is told once more if it is still there."""
    one, two = workspace_on(repo, "One"), workspace_on(repo, "Two")
    write(repo, one, "same", "one\n")
    write(repo, two, "same", "two\n")
    payload = msgspec.to_builtins(repo.conflicts("two")[0])
    with repo.transaction():
        repo.publish(EventType.CONFLICT_DETECTED, **payload)
    repo.detect_conflicts("two", [RepoPath("same")])
    first, second = repo.events(types=[EventType.CONFLICT_DETECTED])
    assert repo.told(first) == first
    assert repo.told(second).payload == first.payload


def test_a_file_and_a_directory_of_one_name_meet(repo: Repository) -> None:
    """Two drafts that need one name for different things conflict, whoever is asked first."""
    one, two = workspace_on(repo, "One"), workspace_on(repo, "Two")
    write(repo, one, "thing", "a file\n")
    write(repo, two, "thing/inside", "in a directory\n")
    repo.detect_conflicts("two", [RepoPath("thing/inside")])
    found = [e.payload for e in repo.events() if e.type is EventType.CONFLICT_DETECTED]
    assert [payload["type"] for payload in found] == ["file_directory"]
    for name in ("one", "two"):
        assert [c.type for c in repo.conflicts(name)] == [ConflictType.FILE_DIRECTORY]


def test_dependencies_lie_below(repo: Repository) -> None:
    """A change shows its dependency below it, must land after it, and may not form a cycle."""
    one = workspace_on(repo, "One")
    write(repo, one, "README", LINES.replace("line 1\n", "ONE\n"))
    change = repo.create_change("Two", author="b", depends_on=["one"])
    two = repo.create_workspace(change.id, agent="b").id
    assert "ONE" in shown(repo, two)["README"]
    write(repo, one, "README", LINES.replace("line 1\n", "ONE!\n"))
    assert "ONE!" in shown(repo, two)["README"]
    write(repo, two, "README", shown(repo, two)["README"].replace("line 8\n", "TWO\n"))
    with pytest.raises(DependencyNotLanded):
        repo.land("two", agent="b")
    with pytest.raises(DependencyCycle):
        repo.set_dependencies("one", ["two"])
    repo.land("one", agent="a")
    repo.land("two", agent="b")
    assert shown(repo)["README"] == LINES.replace("line 1\n", "ONE!\n").replace("line 8\n", "TWO\n")


def test_later_edits_follow_up(repo: Repository) -> None:
    """What was edited after the landed version moves to ID-2, and the workspace with it."""
    workspace = workspace_on(repo, "Edit")
    write(repo, workspace, "README", LINES.replace("line 1\n", "v1\n"))
    repo.create_version("edit", "v1", agent="a")
    write(repo, workspace, "README", LINES.replace("line 1\n", "v2\n"))
    write(repo, workspace, "later", "x\n")
    before = shown(repo, workspace)
    member_root = repo.candidate(repo.main()[0], [])  # main is unmoved by a look
    assert member_root.root == repo.main()[1]
    with repo.transaction():
        change = repo.change("edit")
        repo._move_status(change, ChangeStatus.TESTING)
        layer = repo.layer(repo.change("edit"), 1)
        root, listings = repo.compose(*repo.main(), (layer,)).write()
        repo.log.put_trees(listings)
        repo._land(repo.change("edit"), 1, root, change.author, seqs={})
    following = repo.change("edit-2")
    assert following.metadata["follows"] == "edit"
    assert repo.workspace(workspace).change_id == "edit-2"
    assert shown(repo, workspace) == before
    assert repo.conflicts("edit-2") == []
    assert "v1" in shown(repo)["README"]
    repo.land("edit-2", agent="a")
    assert shown(repo) == before


def test_write_begun_before_landing_is_not_lost(repo: Repository) -> None:
    """A file opened before its change landed and saved after goes to a follow-up change."""
    workspace = workspace_on(repo, "Edit")
    write(repo, workspace, "README", LINES.replace("line 1\n", "v1\n"))
    seen = repo.live(workspace).seen(RepoPath("README"))
    repo.land("edit", agent="a")
    text = LINES.replace("line 1\n", "late\n")
    repo.record(workspace, [Edit(OpType.MODIFY, RepoPath("README"), entry(repo, text), seen=seen)])
    assert repo.workspace(workspace).change_id == "edit-2"
    assert shown(repo, workspace)["README"] == text


def test_two_workspaces_on_one_change(repo: Repository) -> None:
    """Writers on one change see each other's saves; a save over an unseen one is merged."""
    one = workspace_on(repo, "Edit")
    two = repo.create_workspace("edit", agent="agent-2").id
    seen = repo.live(two).seen(RepoPath("README"))
    write(repo, one, "README", LINES.replace("line 1\n", "ONE\n"))
    assert "ONE" in shown(repo, two)["README"]
    text = LINES.replace("line 8\n", "TWO\n")
    repo.record(two, [Edit(OpType.MODIFY, RepoPath("README"), entry(repo, text), seen=seen)])
    merged = shown(repo, one)["README"]
    assert merged == shown(repo, two)["README"]
    assert "ONE" in merged
    assert "TWO" in merged


def test_rename_keeps_identity(repo: Repository) -> None:
    """A rename is one operation; edits that land meanwhile arrive under the new name."""
    one, two = workspace_on(repo, "One"), workspace_on(repo, "Two")
    ops = rename(repo, one, "README", "docs/README")
    assert [op.op_type for op in ops] == [OpType.RENAME]
    write(repo, two, "README", LINES.replace("line 1\n", "two\n"))
    repo.land("two", agent="b")
    assert "two" in shown(repo, one)["docs/README"]
    assert "README" not in shown(repo, one)
    three = workspace_on(repo, "Three")
    write(repo, three, "README", shown(repo, three)["README"].replace("line 8\n", "3\n"))
    repo.land("one", agent="a")
    assert "3\n" in shown(repo, three)["docs/README"]
    write(repo, three, "docs/README", "rewritten\n")
    assert shown(repo, three)["docs/README"] == "rewritten\n"
    repo.land("three", agent="c")
    assert shown(repo)["docs/README"] == "rewritten\n"


def test_save_by_temporary_file(repo: Repository) -> None:
    """A new file renamed over an old one modifies the old one and keeps its history."""
    workspace = workspace_on(repo, "Edit")
    first = write(repo, workspace, "README", "1\n")[0]
    write(repo, workspace, "README.tmp", "2\n")
    ops = rename(repo, workspace, "README.tmp", "README")
    assert [(op.op_type, op.path, op.new.old_path) for op in ops] == [
        (OpType.MODIFY, "README", "README.tmp")
    ]
    assert first.id in {op.id for op in repo.ops(path="README")}
    assert shown(repo, workspace)["README"] == "2\n"
    assert "README.tmp" not in shown(repo, workspace)


def test_new_file_in_a_deleted_ones_place(repo: Repository) -> None:
    """A file deleted and replaced by renaming a new one is edited, not added a second time."""
    workspace = workspace_on(repo, "Edit")
    delete(repo, workspace, "README")
    write(repo, workspace, "tmp", "")
    rename(repo, workspace, "tmp", "README")
    assert shown(repo, workspace)["README"] == ""
    assert repo.conflicts("edit") == []


def test_new_file_where_one_was_moved_away(repo: Repository) -> None:
    """A name that a rename left free can be used again, and the renamed file stays."""
    workspace = workspace_on(repo, "Edit")
    rename(repo, workspace, "README", "moved")
    ops = write(repo, workspace, "README", "new\n")
    assert [op.op_type for op in ops] == [OpType.CREATE]
    assert shown(repo, workspace)["README"] == "new\n"
    assert shown(repo, workspace)["moved"] == LINES
    repo.land("edit", agent="a")
    assert shown(repo)["moved"] == LINES


def test_rebase(repo: Repository) -> None:
    """A rebase writes a merged version on the head; a conflict stops it and changes nothing."""
    one, two = workspace_on(repo, "One"), workspace_on(repo, "Two")
    write(repo, one, "README", LINES.replace("line 1\n", "ONE\n"))
    write(repo, two, "README", LINES.replace("line 8\n", "TWO\n"))
    repo.create_version("two", "v1", agent="b")
    repo.land("one", agent="a")
    version = repo.rebase("two", agent="b")
    assert (version.number, version.base_seq) == (2, repo.main()[0])
    assert [op.op_type for op in repo.log.ops_numbered(version.operations)] == [OpType.MODIFY]
    assert repo.conflicts("two") == []
    three = workspace_on(repo, "Three")
    write(repo, three, "README", shown(repo)["README"].replace("line 8\n", "3\n"))
    repo.land("two", agent="b")
    head, events = repo.head_seq(), repo.log.last_event_id()
    with pytest.raises(Conflicted):
        repo.rebase("three", agent="c")
    assert (repo.head_seq(), repo.log.last_event_id()) == (head, events)


def test_policies(repo: Repository) -> None:
    """warn shows markers, last_write takes yours, manual refuses and names the paths."""
    one, two = workspace_on(repo, "One"), workspace_on(repo, "Two")
    write(repo, one, "README", LINES.replace("line 1\n", "ONE\n"))
    write(repo, two, "README", LINES.replace("line 1\n", "two\n"))
    from pwfs.model.views import BaseType, ViewBase

    for policy in ConflictPolicy:
        overlays = [Overlay(repo.change("one").id), Overlay(repo.change("two").id)]
        repo.create_view(
            policy.value,
            owner="a",
            base=ViewBase(BaseType.MAIN_AT_LATEST),
            overlays=overlays,
            policy=policy,
        )
    tree = repo.materialize("warn")
    flagged = [file for file in tree.entries if file.is_conflict]
    assert [file.path for file in flagged] == ["README"]
    assert b"<<<<<<< one@" in repo.read_file("warn", "README")
    assert repo.read_file("last_write", "README") == LINES.replace("line 1\n", "two\n").encode()
    covered = [f.conflict_info for f in repo.materialize("last_write").entries if f.is_conflict]
    assert covered[0] is not None
    assert "ONE" in covered[0].their_content
    with pytest.raises(Conflicted) as caught:
        repo.materialize("manual")
    assert caught.value.paths == ("README",)
    assert repo.read_file("manual", "src/b.py") == b"b\n"


def test_pinned_workspace_syncs(repo: Repository) -> None:
    """A pinned workspace stays on its base until it is synced."""
    one = workspace_on(repo, "One")
    repo.create_change("Two", author="b")
    two = repo.create_workspace("two", agent="b", pin=True).id
    write(repo, one, "src/b.py", "new\n")
    repo.land("one", agent="a")
    assert shown(repo, two)["src/b.py"] == "b\n"
    repo.sync_workspace(two)
    assert shown(repo, two)["src/b.py"] == "new\n"


def test_life_cycle_refuses(repo: Repository) -> None:
    """Steps outside the life cycle, and unknown changes, are refused."""
    repo.create_change("One", author="a")
    with pytest.raises(NothingToFreeze):
        repo.land("one", agent="a")
    repo.set_status("one", ChangeStatus.READY)
    with pytest.raises(IllegalTransition):
        repo.set_status("one", ChangeStatus.READY)
    repo.set_status("one", ChangeStatus.ABANDONED)
    with pytest.raises(IllegalTransition):
        repo.set_status("one", ChangeStatus.READY)
    with pytest.raises(NotFound):
        repo.change("nope")
