"""The queue's records: what a submission freezes, what an attempt certifies, what landing refuses."""

import pytest

from pwfs.model.changes import ChangeStatus, TestStatus
from pwfs.model.errors import (
    AlreadyQueued,
    DependencyNotLanded,
    NothingToFreeze,
    StaleBase,
    TestCommandMissing,
)
from pwfs.model.queue import (
    Attempt,
    AttemptState,
    EjectReason,
    ItemState,
    Member,
    QueueItem,
    TestKey,
)
from pwfs.repo.repository import Repository
from tests.repo.conftest import LINES
from tests.repo.support import rename, shown, workspace_on, write


def _attempt(repo: Repository, item: QueueItem, stack: tuple[Member, ...]) -> Attempt:
    base = repo.main()[0]
    root = repo.candidate(base, stack).root
    assert root is not None
    return repo.start_attempt(item, base, stack, TestKey(root, "true", "0" * 64))


@pytest.fixture(autouse=True)
def command(repo: Repository) -> None:
    """A test command, so that submitting is allowed."""
    repo.set_setting("test-cmd", "true")


def test_submit_freezes_and_refuses(repo: Repository) -> None:
    """Submitting freezes the draft; empty, queued and dependent changes are refused."""
    one = workspace_on(repo, "One")
    with pytest.raises(NothingToFreeze):
        repo.submit(["one"], agent="a")
    write(repo, one, "new", "1\n")
    item = repo.submit(["one"], agent="a")
    assert item.members == (Member(repo.change("one").id, 1),)
    assert repo.change("one").status is ChangeStatus.TESTING
    with pytest.raises(AlreadyQueued):
        repo.submit(["one"], agent="a")
    repo.create_change("Base", author="a")
    repo.create_change("Two", author="a", depends_on=["base"])
    with pytest.raises(DependencyNotLanded):
        repo.submit(["two"], agent="a")
    repo.config = type(repo.config)()
    repo.cancel(item.id, agent="a")
    with pytest.raises(TestCommandMissing):
        repo.submit(["one"], agent="a")
    assert repo.change("one").status is ChangeStatus.DRAFT


def test_what_landed_is_what_was_tested(repo: Repository) -> None:
    """An attempt's tree becomes main, also when what it stood on landed meanwhile."""
    one, two = workspace_on(repo, "One"), workspace_on(repo, "Two")
    write(repo, one, "README", LINES.replace("line 1\n", "ONE\n"))
    write(repo, two, "README", LINES.replace("line 8\n", "TWO\n"))
    first, second = (repo.submit([name], agent="a") for name in ("one", "two"))
    tried = _attempt(repo, first, first.members)
    behind = _attempt(repo, second, (*first.members, *second.members))
    for attempt in (tried, behind):
        repo.finish_attempt(attempt.id, AttemptState.PASSED, 0)
    with pytest.raises(StaleBase):
        repo.land_item(second.id, behind.id)
    repo.land_item(first.id, tried.id)
    (landing,) = repo.land_item(second.id, behind.id)
    assert landing.root == behind.key.root == repo.main()[1]
    assert landing.verified
    assert repo.item(second.id).state is ItemState.LANDED


def test_an_item_lands_as_one_tree(repo: Repository) -> None:
    """Changes submitted together give main one new tree: no part of them is ever main."""
    one, two = workspace_on(repo, "One"), workspace_on(repo, "Two")
    rename(repo, one, "src/b.py", "src/c.py")
    write(repo, two, "src/b.py", "edited\n")
    item = repo.submit(["one", "two"], agent="a")
    attempt = _attempt(repo, item, item.members)
    repo.finish_attempt(attempt.id, AttemptState.PASSED, 0)
    landings = repo.land_item(item.id, attempt.id)
    assert {landing.root for landing in landings} == {attempt.key.root}
    assert shown(repo)["src/c.py"] == "edited\n"
    assert [repo.change(name).status for name in ("one", "two")] == [ChangeStatus.LANDED] * 2


def test_attempts_that_do_not_pass(repo: Repository) -> None:
    """Every outcome is kept with the version, and an ejected change is a draft again."""
    one = workspace_on(repo, "One")
    write(repo, one, "new", "1\n")
    item = repo.submit(["one"], agent="a")
    for state in (AttemptState.TIMED_OUT, AttemptState.ERROR, AttemptState.FAILED):
        attempt = _attempt(repo, item, item.members)
        output = repo.blobs.put(b"what it printed")
        repo.finish_attempt(attempt.id, state, 1, output, "why")
        result = repo.change("one").versions[0].test_result
        assert result is not None
        assert (result.status, result.output) == (TestStatus.FAILED, "what it printed")
    assert repo.item(item.id).retries == 3
    ejected = repo.eject(item.id, EjectReason.TIMEOUT, "too slow")
    assert (ejected.state, ejected.reason) == (ItemState.EJECTED, EjectReason.TIMEOUT)
    assert repo.change("one").status is ChangeStatus.DRAFT
    assert repo.queued() == []
