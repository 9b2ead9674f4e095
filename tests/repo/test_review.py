"""Losses that a review found, each as the shortest story that shows it."""

import os
from pathlib import Path

import pytest

from pwfs.model.errors import AlreadyQueued
from pwfs.model.events import EventType
from pwfs.model.ops import OpType
from pwfs.model.paths import RepoPath
from pwfs.model.queue import AttemptState, QueueItem, TestKey
from pwfs.repo import live
from pwfs.repo.edits import Edit
from pwfs.repo.repository import Repository
from pwfs.repo.sources import Merging
from tests.repo.conftest import LINES
from tests.repo.support import delete, entry, rename, shown, workspace_on, write


def submit(repo: Repository, change: str) -> QueueItem:
    """Puts a change into the queue."""
    repo.set_setting("test_cmd", "true")
    return repo.submit([change], agent="tester")


def land(repo: Repository, item: QueueItem) -> None:
    """Lands an item on main's head as the queue does when its test passed."""
    head, _ = repo.main()
    root = repo.candidate(head, item.members).root
    assert root is not None
    key = TestKey(root, repo.config.test_cmd, "environment")
    attempt = repo.start_attempt(item, head, item.members, key)
    repo.finish_attempt(attempt.id, AttemptState.PASSED, 0)
    repo.land_item(item.id, attempt.id)


def check_unmoved(repo: Repository, workspace: str, before: dict[str, str]) -> None:
    """What a workspace shows is what it showed, and not in conflict."""
    assert shown(repo, workspace) == before
    assert repo.live(workspace).conflicts() == ()


def test_two_renames_over_one_file(repo: Repository) -> None:
    """A second file renamed over the same target is no conflict with what the first replaced."""
    workspace = workspace_on(repo, "Edit")
    rename(repo, workspace, "README", "src/b.py")
    rename(repo, workspace, "src/app.py", "src/b.py")
    check_unmoved(repo, workspace, {"src/b.py": "print(1)\n"})


def test_rename_on_a_file_that_replaced_a_moved_one(repo: Repository) -> None:
    """A file renamed back over the one that took its place: that one stays gone where it was."""
    workspace = workspace_on(repo, "Edit")
    rename(repo, workspace, "README", "moved")
    write(repo, workspace, "src/b.py", "edited\n")
    rename(repo, workspace, "src/b.py", "README")
    rename(repo, workspace, "moved", "README")
    check_unmoved(repo, workspace, {"README": LINES, "src/app.py": "print(1)\n"})


def test_main_edits_what_was_moved_and_made_anew(repo: Repository) -> None:
    """Main's edit of a file goes along with its renaming, not into the new file of that name."""
    one, two = workspace_on(repo, "One"), workspace_on(repo, "Two")
    rename(repo, one, "README", "moved")
    write(repo, one, "README", "new\n")
    edited = LINES.replace("line 1\n", "two\n")
    write(repo, two, "README", edited)
    repo.land("two", agent="b")
    expected = {"src/app.py": "print(1)\n", "src/b.py": "b\n", "moved": edited, "README": "new\n"}
    check_unmoved(repo, one, expected)
    del expected["README"]
    delete(repo, one, "README")
    check_unmoved(repo, one, expected)


def test_rebase_of_renames(repo: Repository) -> None:
    """A rebase keeps files that changed places, replaced others, or took a moved one's name."""
    workspace = workspace_on(repo, "Edit")
    rename(repo, workspace, "src/app.py", "t")
    rename(repo, workspace, "src/b.py", "src/app.py")
    rename(repo, workspace, "t", "src/b.py")
    before = shown(repo, workspace)
    repo.rebase("edit", agent="a")
    check_unmoved(repo, workspace, before)

    other = workspace_on(repo, "Other")
    rename(repo, other, "src/app.py", "src/b.py")
    write(repo, other, "src/app.py", "print(1)\n")
    before = shown(repo, other)
    repo.rebase("other", agent="a")
    check_unmoved(repo, other, before)


def test_rebase_of_two_files_with_one_origin(repo: Repository) -> None:
    """A file made where another was moved away, and moved too, is not that other one's double."""
    workspace = workspace_on(repo, "Edit")
    rename(repo, workspace, "README", "first")
    write(repo, workspace, "README", "new\n")
    rename(repo, workspace, "README", "second")
    before = shown(repo, workspace)
    assert (before["first"], before["second"]) == (LINES, "new\n")
    repo.rebase("edit", agent="a")
    check_unmoved(repo, workspace, before)


def test_follow_up_of_a_temporary_file_that_landed(repo: Repository) -> None:
    """A version frozen between writing a temporary file and renaming it does not bring it back."""
    workspace = workspace_on(repo, "Edit")
    write(repo, workspace, "README.tmp", "saved\n")
    item = submit(repo, "edit")
    rename(repo, workspace, "README.tmp", "README")
    before = shown(repo, workspace)
    land(repo, item)
    assert repo.workspace(workspace).change_id == "edit-2"
    check_unmoved(repo, workspace, before)


def test_follow_up_of_renames_of_what_landed(repo: Repository) -> None:
    """Renaming and editing on, while a version with renames is tested, is continued as it is."""
    workspace = workspace_on(repo, "Edit")
    rename(repo, workspace, "src/app.py", "src/b.py")
    write(repo, workspace, "src/b.py", "version\n")
    item = submit(repo, "edit")
    rename(repo, workspace, "src/b.py", "later")
    write(repo, workspace, "later", "later\n")
    write(repo, workspace, "src/b.py", "new b\n")
    write(repo, workspace, "src/app.py", "new app\n")
    before = shown(repo, workspace)
    land(repo, item)
    check_unmoved(repo, workspace, before)
    repo.land("edit-2", agent="a")
    assert shown(repo) == before


def test_follow_up_of_a_name_used_and_left_again(repo: Repository) -> None:
    """A name that the version moved away from can be used for a moment without a conflict."""
    workspace = workspace_on(repo, "Edit")
    rename(repo, workspace, "src/app.py", "app")
    item = submit(repo, "edit")
    rename(repo, workspace, "README", "src/app.py")
    rename(repo, workspace, "src/app.py", "README")
    before = shown(repo, workspace)
    land(repo, item)
    check_unmoved(repo, workspace, before)
    assert repo.live(workspace).get(RepoPath("src/app.py")) is None


def rename_directory(repo: Repository, workspace: str, old: str, new: str) -> None:
    """Renames a directory as the mount does."""
    names = (RepoPath(old), RepoPath(new))
    files = list(repo.live(workspace).files(names[0]))
    repo.record(
        workspace,
        [
            Edit(
                OpType.RENAME,
                RepoPath(new + path[len(old) :]),
                file,
                old_path=path,
                directory_rename=names,
            )
            for path, file in files
        ],
    )


@pytest.mark.parametrize("and_back", [False, True])
def test_follow_up_of_a_file_in_a_directory_left(repo: Repository, and_back: bool) -> None:
    """A file made anew in a directory that the version renamed stays where it was made."""
    workspace = workspace_on(repo, "Edit")
    rename_directory(repo, workspace, "src", "lib")
    if and_back:
        rename_directory(repo, workspace, "lib", "src")
    item = submit(repo, "edit")
    write(repo, workspace, "lib/new.py" if and_back else "src/new.py", "new\n")
    before = shown(repo, workspace)
    land(repo, item)
    check_unmoved(repo, workspace, before)


def test_follow_up_of_a_new_file_that_passed_by(repo: Repository) -> None:
    """A new file moved onto a deleted one's name and away again is based on itself alone."""
    workspace = workspace_on(repo, "Edit")
    delete(repo, workspace, "README")
    write(repo, workspace, "new", "new\n")
    item = submit(repo, "edit")
    write(repo, workspace, "new", "newer\n")
    rename(repo, workspace, "new", "README")
    rename(repo, workspace, "README", "new")
    before = shown(repo, workspace)
    land(repo, item)
    check_unmoved(repo, workspace, before)


def test_save_over_a_co_workers_save_after_main_moved(repo: Repository) -> None:
    """Two writers of one file that began before and after main moved: neither loses a line."""
    one = workspace_on(repo, "Edit")
    two = repo.create_workspace("edit", agent="agent-2").id
    readme = RepoPath("README")
    first = repo.live(one).seen(readme)
    other = workspace_on(repo, "Other")
    write(repo, other, "src/b.py", "moved\n")
    repo.land("other", agent="c")
    second = repo.live(two).seen(readme)
    for workspace, seen, line in ((one, first, "line 1\n"), (two, second, "line 8\n")):
        text = LINES.replace(line, f"{workspace}\n")
        repo.record(workspace, [Edit(OpType.MODIFY, readme, entry(repo, text), seen=seen)])
    merged = shown(repo, one)["README"]
    assert f"{one}\n" in merged
    assert f"{two}\n" in merged


def test_what_a_durable_save_merged_is_durable(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content that an fsync leaves in the log is synced, though it is not what was written."""
    one = workspace_on(repo, "Edit")
    two = repo.create_workspace("edit", agent="agent-2").id
    seen = repo.live(two).seen(RepoPath("README"))
    write(repo, one, "README", LINES.replace("line 1\n", "ONE\n"))
    mine = entry(repo, LINES.replace("line 8\n", "TWO\n"))
    (op,) = repo.record(two, [Edit(OpType.MODIFY, RepoPath("README"), mine, seen=seen)])
    assert op.content_hash is not None
    assert op.content_hash != mine.content_hash
    synced: list[str] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    repo.log.sync()
    merged = str(repo.blobs.path(op.content_hash))
    assert merged in synced
    assert synced.index(merged) < synced.index(f"{repo.layout.database}-wal")


def test_a_merge_whose_content_is_gone_is_made_again(repo: Repository) -> None:
    """A power failure may keep the note of a merge and lose its content, which nothing else has."""
    one, two = workspace_on(repo, "One"), workspace_on(repo, "Two")
    write(repo, one, "README", LINES.replace("line 1\n", "ONE\n"))
    write(repo, two, "README", LINES.replace("line 8\n", "TWO\n"))
    repo.land("one", agent="a")
    merged = repo.live(two).file(RepoPath("README"))
    assert merged is not None
    repo.blobs.path(merged.content_hash).unlink()
    repo.merger = Merging(repo.log, repo.blobs)  # as after a restart
    repo.release_live(two)
    assert "TWO" in shown(repo, two)["README"]


def test_dependencies_that_fork_and_join_cost_little(repo: Repository) -> None:
    """Looking for a cycle visits each change once, not each way to it."""
    below: list[str] = []
    for level in range(40):
        below = [
            repo.create_change(f"Level {level} {side}", author="a", depends_on=below).id
            for side in "ab"
        ]
    top = repo.create_change("Top", author="a", depends_on=below).id
    apart = repo.create_change("Apart", author="a").id
    assert repo.set_dependencies(apart, [top]).dependencies == (top,)


def test_position_is_told_again_after_leaving_the_queue(repo: Repository) -> None:
    """A version that is submitted a second time has its position published a second time."""
    workspace = workspace_on(repo, "Edit")
    write(repo, workspace, "README", "1\n")
    for _ in range(2):
        item = submit(repo, "edit")
        repo.cancel(item.id, agent="a")
    told = [e for e in repo.events() if e.type is EventType.QUEUE_POSITION]
    assert [event.payload["position"] for event in told] == [0, 0]


def test_what_a_refused_transaction_told_is_told_later(repo: Repository) -> None:
    """What was published in a transaction that failed counts as not published."""
    workspace = workspace_on(repo, "Edit")
    write(repo, workspace, "README", "1\n")
    other = workspace_on(repo, "Other")
    write(repo, other, "README", "2\n")
    before = repo.log.last_event_id()

    def fail() -> None:
        with repo.transaction():
            repo.detect_conflicts("other")
            submit(repo, "edit")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert repo.log.last_event_id() == before
    repo.detect_conflicts("other")
    submit(repo, "edit")
    types = [event.type for event in repo.events(before)]
    assert EventType.CONFLICT_DETECTED in types
    assert EventType.QUEUE_POSITION in types


def test_large_draft_follows_a_rename_after_sliding(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A draft too large to compose anew finds a file that main renamed under a late save."""
    monkeypatch.setattr(live, "REBUILD_EDITS_MAX", 0)
    workspace = workspace_on(repo, "Edit")
    write(repo, workspace, "src/app.py", "2\n")
    readme = RepoPath("README")
    seen = repo.live(workspace).seen(readme)
    other = workspace_on(repo, "Other")
    rename(repo, other, "README", "GUIDE")
    repo.land("other", agent="a")
    text = LINES.replace("line 1\n", "late\n")
    repo.record(workspace, [Edit(OpType.MODIFY, readme, entry(repo, text), seen=seen)])
    after = shown(repo, workspace)
    assert after["GUIDE"] == text
    repo.release_live(workspace)
    assert shown(repo, workspace) == after


def test_folded_edits_of_what_is_final_are_let_go(repo: Repository) -> None:
    """A daemon that lands changes for weeks does not keep them all in memory."""
    for number in range(5):
        workspace = workspace_on(repo, f"Edit {number}")
        write(repo, workspace, "README", f"{number}\n")
        repo.land(f"edit-{number}", agent="a")
        repo.destroy_workspace(workspace)
    assert not repo._drafts
    assert len(repo._versions) <= 5


def test_two_edits_that_main_brings_to_one_path(repo: Repository) -> None:
    """Main renames a file that a change edited onto a name that the change uses: both are shown."""
    workspace, other = workspace_on(repo, "Edit"), workspace_on(repo, "Other")
    write(repo, workspace, "src/b.py", "edited\n")
    rename(repo, workspace, "src/app.py", "taken")
    rename(repo, other, "src/b.py", "taken")
    repo.land("other", agent="b")
    texts = "".join(shown(repo, workspace).values())
    assert "edited\n" in texts
    assert "print(1)\n" in texts
    assert repo.conflicts("edit")
    repo.release_live(workspace)
    assert "".join(shown(repo, workspace).values()) == texts


@pytest.mark.parametrize("by_rename", [False, True])
def test_new_file_under_the_old_name_of_an_edited_one(repo: Repository, by_rename: bool) -> None:
    """An edit that followed main's rename stays there when its old name is used again."""
    workspace, other = workspace_on(repo, "Edit"), workspace_on(repo, "Other")
    write(repo, workspace, "README", LINES.replace("line 1\n", "mine\n"))
    rename(repo, other, "README", "GUIDE")
    repo.land("other", agent="b")
    if by_rename:
        rename(repo, workspace, "src/b.py", "README")
    else:
        write(repo, workspace, "README", "b\n")
    assert shown(repo, workspace)["README"] == "b\n"
    assert "mine\n" in shown(repo, workspace)["GUIDE"]
    assert repo.conflicts("edit") == []


def test_main_moves_a_file_onto_one_whose_origin_it_deleted(repo: Repository) -> None:
    """Where a renamed file's origin is gone and its new name is main's now, both are shown."""
    workspace, other = workspace_on(repo, "Edit"), workspace_on(repo, "Other")
    rename(repo, workspace, "src/app.py", "taken")
    delete(repo, other, "src/app.py")
    rename(repo, other, "src/b.py", "taken")
    repo.land("other", agent="b")
    text = shown(repo, workspace)["taken"]
    assert "print(1)\n" in text
    assert "b\n" in text.splitlines(keepends=True)


def test_rebase_waits_for_the_test(repo: Repository) -> None:
    """A rebase would repeat what the tested version does, and its follow-up would do it twice."""
    workspace = workspace_on(repo, "Edit")
    write(repo, workspace, "src/b.py", "edited\n")
    item = submit(repo, "edit")
    rename(repo, workspace, "src/app.py", "src/b.py")
    head = repo.head_seq()
    with pytest.raises(AlreadyQueued):
        repo.rebase("edit", agent="a")
    assert repo.head_seq() == head
    delete(repo, workspace, "src/b.py")
    before = shown(repo, workspace)
    land(repo, item)
    check_unmoved(repo, workspace, before)
    repo.rebase("edit-2", agent="a")
    check_unmoved(repo, workspace, before)


def test_a_directory_of_ones_own_that_was_moved_is_no_others(repo: Repository) -> None:
    """A change moves a directory that it made; another change has one of the first name.

    What is in the other's stays there, and the two compare without a conflict.
    """
    ours, theirs = workspace_on(repo, "Ours"), workspace_on(repo, "Theirs")
    write(repo, ours, "new/a", "ours\n")
    rename_directory(repo, ours, "new", "moved")
    write(repo, theirs, "new/b", "theirs\n")
    for change in ("ours", "theirs"):
        repo.detect_conflicts(change)
    assert repo.conflicts("ours") == []
    repo.land("theirs", agent="tester")
    assert {"new/b", "moved/a"} <= shown(repo, ours).keys()
    repo.land("ours", agent="tester")
    assert {"new/b", "moved/a"} <= shown(repo).keys()
