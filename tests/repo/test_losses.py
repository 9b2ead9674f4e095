"""After a power failure: contents that were not synced may be gone, and the log must go on.

What such a failure does is done here by hand: blobs are cut, as a filesystem leaves them that wrote
their names and not their bytes. `tests/fs/test_power_loss.py` cuts a real filesystem's power.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pwfs.model.events import EventType
from pwfs.model.ids import BlobHash
from pwfs.model.ops import OpType
from pwfs.model.paths import RepoPath
from pwfs.repo.checking import FsckReport, fsck
from pwfs.repo.edits import Edit
from pwfs.repo.repository import Repository
from tests.repo.support import (
    delete,
    entry,
    make_repository,
    rename,
    shown,
    workspace_on,
    write,
)

Open = Callable[[], Repository]
pytestmark = pytest.mark.allow_log("a content that was not fsynced is lost")


def die(repo: Repository) -> None:
    """Ends a repository's use as a killed process does: nothing says that it was in order."""
    repo.log.close()
    repo._durable.abandon()
    repo._lock.release()


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Open]:
    """Opens the repository as it was left; checked at the end, where losses are known."""
    make_repository(tmp_path / "project", {"README": "hello\n", "a/b": "b\n"}).close()
    opened: list[Repository] = []

    def open_() -> Repository:
        opened.append(Repository.open(tmp_path / "project"))
        return opened[-1]

    yield open_
    report = fsck(opened[-1])
    opened[-1].close()
    assert report.is_clean, report.problems


def lose(repo: Repository, text: str) -> BlobHash:
    """Leaves nothing of a content but its name."""
    blob = entry(repo, text).content_hash
    path = repo.blobs.path(blob)
    path.unlink()
    path.touch()
    return blob


def test_a_new_file_that_is_lost_is_gone(reopen: Open) -> None:
    """There was nothing before it; the log says who lost what, and what came of it."""
    repo = reopen()
    workspace = workspace_on(repo, "Work")
    (op,) = write(repo, workspace, "new", "never synced\n")
    blob = lose(repo, "never synced\n")
    die(repo)
    repo = reopen()
    assert "new" not in shown(repo, workspace)
    last = repo.ops(change_id="work")[-1]
    assert (last.op_type, last.path, last.new.recovered) == (OpType.DELETE, "new", True)
    assert last.parent_seq == op.id
    (event,) = repo.log.events(types=[EventType.CONTENT_LOST])
    assert event.payload == {
        "change_id": "work",
        "path": "new",
        "seq": op.id,
        "content_hash": blob,
        "restored_seq": last.id,
        "restored_hash": None,
    }
    report: FsckReport = fsck(repo)
    assert len(report.lost) == 1
    assert f"operation {op.id} (new in work) names it" in report.lost[0]


def test_a_file_is_what_it_was_before(reopen: Open) -> None:
    """The newest content of it that is whole, in this change or below it."""
    repo = reopen()
    workspace = workspace_on(repo, "Work")
    write(repo, workspace, "README", "first\n")
    write(repo, workspace, "README", "second\n")
    write(repo, workspace, "README", "third\n")
    write(repo, workspace, "a/b", "lost\n")
    for text in ("second\n", "third\n", "lost\n"):
        lose(repo, text)
    die(repo)
    repo = reopen()
    assert shown(repo, workspace) == {"README": "first\n", "a/b": "b\n"}
    assert len(repo.losses) == 3
    repo.land("work", agent="a")
    assert shown(repo)["README"] == "first\n"


def test_a_file_keeps_its_content_through_a_lost_rename_over_it(reopen: Open) -> None:
    """An editor's save: the temporary file's content is lost, the one it replaced is there."""
    repo = reopen()
    workspace = workspace_on(repo, "Work")
    write(repo, workspace, "f", "good\n")
    write(repo, workspace, "f~", "lost\n")
    rename(repo, workspace, "f~", "f")
    lose(repo, "lost\n")
    die(repo)
    repo = reopen()
    assert shown(repo, workspace)["f"] == "good\n"
    assert "f~" not in shown(repo, workspace)


def test_a_renamed_file_is_what_it_was_under_its_old_name(reopen: Open) -> None:
    """Renaming does not part a file from what it was."""
    repo = reopen()
    workspace = workspace_on(repo, "Work")
    write(repo, workspace, "old", "good\n")
    write(repo, workspace, "old", "lost\n")
    rename(repo, workspace, "old", "new")
    rename(repo, workspace, "README", "moved")
    write(repo, workspace, "moved", "lost too\n")
    lose(repo, "lost\n")
    lose(repo, "lost too\n")
    die(repo)
    repo = reopen()
    assert shown(repo, workspace) == {"new": "good\n", "moved": "hello\n", "a/b": "b\n"}
    repo.land("work", agent="a")
    assert shown(repo) == {"new": "good\n", "moved": "hello\n", "a/b": "b\n"}


def test_what_was_replaced_meanwhile_needs_nothing(reopen: Open) -> None:
    """A lost content that nothing shows any more is told of, not made good."""
    repo = reopen()
    workspace = workspace_on(repo, "Work")
    write(repo, workspace, "f", "lost\n")
    write(repo, workspace, "f", "newer\n")
    write(repo, workspace, "g", "lost as well\n")
    delete(repo, workspace, "g")
    before = repo.head_seq()
    lose(repo, "lost\n")
    lose(repo, "lost as well\n")
    die(repo)
    repo = reopen()
    assert repo.head_seq() == before
    assert shown(repo, workspace)["f"] == "newer\n"
    assert [loss.restored for loss in repo.losses] == [None, None]
    assert len(fsck(repo).lost) == 2


def test_only_what_may_be_lost_is_read(reopen: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a close in order nothing; else what was logged since everything was last on disk."""
    repo = reopen()
    workspace = workspace_on(repo, "Work")
    write(repo, workspace, "one", "1\n")
    repo.put_on_disk(repo.head_seq())
    write(repo, workspace, "two", "2\n")
    expected = entry(repo, "2\n").content_hash
    die(repo)
    verified: list[BlobHash] = []
    monkeypatch.setattr(
        "pwfs.store.blobs.FileBlobStore.verify", lambda _, blob: verified.append(blob)
    )
    repo = reopen()
    assert verified == [expected]
    repo.close()
    verified.clear()
    repo = reopen()
    assert verified == []


def test_a_place_that_cannot_be_read_means_that_all_is_checked(reopen: Open) -> None:
    """A torn note of how far everything is on disk is no note."""
    repo = reopen()
    workspace = workspace_on(repo, "Work")
    write(repo, workspace, "f", "lost\n")
    repo.put_on_disk(repo.head_seq())
    lose(repo, "lost\n")
    repo.close()
    note = repo.layout.durable
    note.write_bytes(note.read_bytes().replace(b"clean", b"clear"))
    repo = reopen()
    assert [loss.path for loss in repo.losses] == ["f"]


def test_what_is_frozen_or_landed_was_synced_before(
    reopen: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contents come first: nothing could make good what a version or main lost."""
    repo = reopen()
    workspace = workspace_on(repo, "Work")
    synced: list[str] = []
    sync = repo.blobs.sync

    def noted() -> None:
        synced.append(f"after {repo.head_seq()}")
        sync()

    monkeypatch.setattr(repo.blobs, "sync", noted)
    (op,) = write(repo, workspace, "f", "1\n")
    repo.create_version("work", "v", agent="a")
    assert synced == [f"after {op.id}"]
    repo.land("work", agent="a")
    assert synced == [f"after {op.id}"] * 2


def test_a_copy_of_a_lost_content_is_made_good_too(reopen: Open) -> None:
    """A hard link is a copy in the log: both names lost the same bytes."""
    repo = reopen()
    workspace = workspace_on(repo, "Work")
    write(repo, workspace, "f", "good\n")
    write(repo, workspace, "f", "lost\n")
    lost = entry(repo, "lost\n")
    repo.record(workspace, [Edit(OpType.COPY, RepoPath("g"), lost, old_path=RepoPath("f"))])
    lose(repo, "lost\n")
    die(repo)
    repo = reopen()
    assert shown(repo, workspace)["f"] == "good\n"
    assert "g" not in shown(repo, workspace)
