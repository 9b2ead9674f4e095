"""fsck finds what is wrong, wherever it is, and names what needs it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pwfs.model.changes import ChangeStatus
from pwfs.repo.checking import fsck
from pwfs.repo.repository import Repository
from tests.repo.conftest import LINES
from tests.repo.support import make_repository, shown, workspace_on, write


@pytest.fixture
def worked(tmp_path: Path) -> Iterator[Repository]:
    """A repository where two changes landed, the second merged with the first."""
    repo = make_repository(tmp_path / "project", {"README": LINES, "other": "o\n"})
    one, two = workspace_on(repo, "One"), workspace_on(repo, "Two")
    write(repo, one, "README", LINES.replace("line 1\n", "ONE\n"))
    write(repo, two, "README", LINES.replace("line 8\n", "TWO\n"))
    repo.land("one", agent="a")
    repo.land("two", agent="a")
    assert fsck(repo).is_clean
    yield repo
    repo.close()


def _only(repo: Repository) -> str:
    (problem,) = fsck(repo).problems
    return problem


def test_a_missing_content(worked: Repository) -> None:
    """It says which operation, which landing, and which view have it."""
    path = worked.live("main").file(next(p for p, _ in worked.live("main").files() if p == "other"))
    assert path is not None
    worked.blobs.path(path.content_hash).unlink()
    assert _only(worked) == (
        f"blob {path.content_hash} is missing; operation 2 (other in initial-import) names it; "
        "landing 3 (other) has it; main/other shows it; ws-one/other shows it; ws-two/other shows it"
    )


def test_a_missing_merged_content(worked: Repository) -> None:
    """A content that only a tree names, because it was merged."""
    merged = next(e for p, e in worked.live("main").files() if p == "README")
    assert "ONE" in shown(worked)["README"]
    worked.blobs.path(merged.content_hash).unlink()
    problem = _only(worked)
    assert f"{merged.content_hash} is missing; landing " in problem
    assert "main/README shows it" in problem


@pytest.mark.parametrize("content", [b"p\n", b"", b"oo"])
def test_a_damaged_content(worked: Repository, content: bytes) -> None:
    """A content that is another than its name says, though of the same length."""
    entry = next(e for p, e in worked.live("main").files() if p == "other")
    file = worked.blobs.path(entry.content_hash)
    file.chmod(0o644)
    file.write_bytes(content)
    assert "is damaged, it holds" in _only(worked)
    worked.blobs.put(b"o\n")
    assert fsck(worked).is_clean


def test_a_wrong_status(worked: Repository) -> None:
    """A status that the landings contradict."""
    worked.create_change("Three", author="a")
    worked.log.update_change(
        worked.change("three").id, status=ChangeStatus.LANDED, updated_at=worked.now()
    )
    assert _only(worked) == "change three is landed but has no landing"


def test_a_wrong_landing(worked: Repository) -> None:
    """A landing whose recorded tree is not what its operations give."""
    head, root = worked.main()
    workspace = workspace_on(worked, "Three")
    write(worked, workspace, "other", "changed\n")
    worked.create_version("three", "v", agent="a")
    change = worked.change("three")
    worked.log.append_landing(
        change_id=change.id,
        version=1,
        agent_id=change.author,
        root=root,
        previous_seq=head,
        verified=False,
        attempt_id=None,
        timestamp=worked.now(),
    )
    problems = fsck(worked).problems
    assert any("its operations give" in problem for problem in problems)


def test_an_index_that_forgot(worked: Repository) -> None:
    """A landing that the index of touched paths does not know."""
    head, _ = worked.main()
    workspace = workspace_on(worked, "Three")
    write(worked, workspace, "other", "changed\n")
    worked.create_version("three", "v", agent="a")
    change = worked.change("three")
    root, listings = worked.live(workspace).write()
    worked.log.put_trees(listings)
    worked.log.append_landing(
        change_id=change.id,
        version=1,
        agent_id=change.author,
        root=root,
        previous_seq=head,
        verified=False,
        attempt_id=None,
        timestamp=worked.now(),
    )
    problems = fsck(worked).problems
    assert any("does not know that it touched other" in problem for problem in problems)
