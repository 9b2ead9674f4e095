"""Losses that a review found, each as the shortest story that shows it."""

from pwfs.model.ops import OpType
from pwfs.model.paths import RepoPath
from pwfs.model.queue import AttemptState, QueueItem, TestKey
from pwfs.repo.edits import Edit
from pwfs.repo.repository import Repository
from tests.repo.conftest import LINES
from tests.repo.support import delete, rename, shown, workspace_on, write


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


def test_follow_up_of_a_file_in_a_directory_left(repo: Repository) -> None:
    """A file made anew in a directory that the version renamed stays where it was made."""
    workspace = workspace_on(repo, "Edit")
    moves = [
        Edit(
            OpType.RENAME,
            RepoPath(f"lib/{name}"),
            repo.live(workspace).file(RepoPath(f"src/{name}")),
            old_path=RepoPath(f"src/{name}"),
            directory_rename=(RepoPath("src"), RepoPath("lib")),
        )
        for name in ("app.py", "b.py")
    ]
    repo.record(workspace, moves)
    item = submit(repo, "edit")
    write(repo, workspace, "src/new.py", "new\n")
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
