"""The queue's records: what a submission freezes, what an attempt certifies, what landing refuses."""

import pytest

from pwfs.model.changes import ChangeStatus, TestStatus
from pwfs.model.ejection import Cause, Ejection, Region, Remedy
from pwfs.model.errors import (
    AlreadyQueued,
    DependencyNotLanded,
    InvalidArgument,
    NothingToFreeze,
    StaleBase,
    TestCommandMissing,
    TooManyQueued,
)
from pwfs.model.events import EventType
from pwfs.model.queue import (
    Attempt,
    AttemptState,
    EjectReason,
    ItemState,
    Member,
    QueueItem,
    TestKey,
)
from pwfs.model.views import BaseType, ViewBase
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


def _finished(
    repo: Repository, item: QueueItem, stack: tuple[Member, ...], state: AttemptState
) -> Attempt:
    attempt = _attempt(repo, item, stack)
    code = 0 if state is AttemptState.PASSED else 1
    return repo.finish_attempt(attempt.id, state, code, detail="why")


def _ejected(repo: Repository, item: QueueItem, reason: EjectReason) -> Ejection:
    ejection = repo.eject(item.id, reason, "why").ejection
    assert ejection is not None
    assert repo.item(item.id).ejection == ejection
    (event,) = repo.events(types=[EventType.ITEM_EJECTED])[-1:]
    assert event.payload["cause"] == ejection.cause.value
    assert event.payload["with_changes"] == list(ejection.with_changes)
    return ejection


def test_a_conflict_names_its_lines_and_whose_they_are(repo: Repository) -> None:
    """Of all that landed only what it conflicts with; a rebase does not help."""
    one, two, three = (workspace_on(repo, title) for title in ("One", "Two", "Three"))
    write(repo, one, "README", LINES.replace("line 1\n", "ONE\nMORE\n"))
    write(repo, two, "README", LINES.replace("line 1\n", "TWO\n").replace("line 8\n", "8\n"))
    write(repo, three, "src/b.py", "three\n")
    item = repo.submit(["two"], agent="a")
    for name in ("three", "one"):
        repo.land(name, agent="a")
    # Another that edits that file, but nothing that the item concerns.
    write(repo, workspace_on(repo, "Four"), "README", shown(repo)["README"].replace("5\n", "5!\n"))
    repo.land("four", agent="a")
    ejection = _ejected(repo, item, EjectReason.CONFLICT)
    assert (ejection.cause, ejection.remedy) == (Cause.CONFLICT, Remedy.EDIT)
    assert not ejection.merges
    assert ejection.with_changes == ("one",)
    (dispute,) = ejection.disputes
    assert (dispute.path, dispute.change_id, dispute.with_change) == ("README", "two", "one")
    assert dispute.regions == (Region(2, 1, 2, 1),)


def test_a_failure_is_the_changes_own_until_it_passed_somewhere(repo: Repository) -> None:
    """Then it is an interaction with what was not there, or with nothing, and a flake."""
    for title in ("One", "Two", "Three"):
        write(repo, workspace_on(repo, title), f"new-{title}", title)
    one, two, three = (repo.submit([name], agent="a") for name in ("one", "two", "three"))
    _finished(repo, one, one.members, AttemptState.FAILED)
    ejection = _ejected(repo, one, EjectReason.TEST_FAILED)
    assert (ejection.cause, ejection.with_changes) == (Cause.OWN_FAILURE, ())
    assert ejection.remedy is Remedy.EDIT and ejection.merges

    _finished(repo, three, three.members, AttemptState.PASSED)
    failed = _finished(repo, three, (*two.members, *three.members), AttemptState.FAILED)
    ejection = _ejected(repo, three, EjectReason.TEST_FAILED)
    assert (ejection.cause, ejection.with_changes) == (Cause.INTERACTION, ("two",))
    assert ejection.attempt_id == failed.id
    shown = {path for path, _ in repo.live(str(ejection.view_id)).files()}
    assert shown == {"README", "src/app.py", "src/b.py", "new-Two", "new-Three"}
    with pytest.raises(InvalidArgument):
        repo.create_view(
            ejection.view_id, owner="a", base=ViewBase(BaseType.MAIN_AT_LATEST), overlays=()
        )

    _finished(repo, two, two.members, AttemptState.PASSED)
    _finished(repo, two, two.members, AttemptState.FAILED)
    ejection = _ejected(repo, two, EjectReason.TEST_FAILED)
    assert (ejection.cause, ejection.remedy) == (Cause.FLAKY, Remedy.RESUBMIT)


def test_what_landed_since_it_passed_is_suspected(repo: Repository) -> None:
    """Not what it passed with, though that landed too."""
    for title in ("One", "Two", "Three"):
        write(repo, workspace_on(repo, title), f"new-{title}", title)
    one, three = (repo.submit([name], agent="a") for name in ("one", "three"))
    _finished(repo, three, (*one.members, *three.members), AttemptState.PASSED)
    own = _finished(repo, one, one.members, AttemptState.PASSED)
    repo.land_item(one.id, own.id)
    repo.land("two", agent="a")
    _finished(repo, three, three.members, AttemptState.FAILED)
    ejection = _ejected(repo, three, EjectReason.TEST_FAILED)
    assert (ejection.cause, ejection.with_changes) == (Cause.INTERACTION, ("two",))


def test_what_may_pass_is_submitted_again_as_often_as_was_allowed(repo: Repository) -> None:
    """In the same versions and place, its changes being tested all the while; then it is out."""
    write(repo, workspace_on(repo, "One"), "new", "1\n")
    item = repo.submit(["one"], agent="a", priority=3, resubmits=1)
    write(repo, workspace_on(repo, "Two"), "new2", "1\n")
    _finished(repo, item, item.members, AttemptState.TIMED_OUT)
    ejection = _ejected(repo, item, EjectReason.TIMEOUT)
    assert (ejection.cause, ejection.remedy) == (Cause.TIMEOUT, Remedy.RESUBMIT)
    (again,) = repo.queued()
    assert ejection.resubmitted_as == again.id
    assert (again.members, again.priority, again.resubmits) == (item.members, 3, 0)
    assert repo.change("one").status is ChangeStatus.TESTING
    assert _ejected(repo, again, EjectReason.INFRASTRUCTURE).resubmitted_as is None
    assert repo.change("one").status is ChangeStatus.DRAFT
    own = repo.submit(["one"], agent="a", resubmits=5)
    _finished(repo, own, own.members, AttemptState.FAILED)
    assert _ejected(repo, own, EjectReason.TEST_FAILED).resubmitted_as is None


def test_a_dependency_that_left_is_named(repo: Repository) -> None:
    """It has to land first."""
    write(repo, workspace_on(repo, "Base"), "new", "1\n")
    repo.create_change("Two", author="a", depends_on=["base"])
    write(repo, repo.create_workspace("two", agent="a").id, "new2", "2\n")
    below, above = (repo.submit([name], agent="a") for name in ("base", "two"))
    repo.cancel(below.id, agent="a")
    ejection = _ejected(repo, above, EjectReason.DEPENDENCY)
    assert (ejection.remedy, ejection.with_changes) == (Remedy.DEPENDENCY, ("base",))


def test_a_new_version_takes_the_old_one_out(repo: Repository) -> None:
    """And with it those that were to land together; what is only edited stays."""
    one, two = workspace_on(repo, "One"), workspace_on(repo, "Two")
    write(repo, one, "a", "1\n")
    write(repo, two, "b", "1\n")
    item = repo.submit(["one", "two"], agent="a")
    write(repo, one, "a", "2\n")
    assert repo.queued() == [item]
    repo.create_version("one", "v2", agent="a")
    assert repo.queued() == []
    left = repo.item(item.id)
    assert (left.state, left.detail) == (ItemState.CANCELLED, "version 2 of one was made")
    assert [repo.change(name).status for name in ("one", "two")] == [ChangeStatus.DRAFT] * 2
    (again,) = repo.submit(["one"], agent="a").members
    assert again.version == 2


def test_an_agent_may_have_so_many_items_queued(repo: Repository) -> None:
    """Of its own, others are not concerned; what left makes room."""
    repo.set_setting("max-queued-per-agent", 2)
    for title in ("One", "Two", "Three"):
        write(repo, workspace_on(repo, title), title, "1\n")
    first, _ = (repo.submit([name], agent="a") for name in ("one", "two"))
    with pytest.raises(TooManyQueued):
        repo.submit(["three"], agent="a")
    assert repo.change("three").current_version == 0
    repo.cancel(first.id, agent="a")
    repo.submit(["one"], agent="b")
    repo.submit(["three"], agent="a")


def test_the_time_limit_is_learnt(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the last tests of the command that passed, if there are enough, and never longer."""
    repo.set_setting("test-timeout-s", 100)
    took_s = [10.0] * 18 + [40.0, 60.0]
    monkeypatch.setattr(repo.log, "passed_durations_s", lambda command, limit: took_s)
    assert repo.test_time_limit_s("true") == 100
    repo.set_setting("test-timeout-margin", 50)
    assert repo.test_time_limit_s("true") == 60
    repo.set_setting("test-timeout-margin", 500)
    assert repo.test_time_limit_s("true") == 100
    took_s[:] = [0.1] * 20
    assert repo.test_time_limit_s("true") == 10
    del took_s[0]
    assert repo.test_time_limit_s("true") == 100


def test_the_past_tells_who_failed_by_whom(repo: Repository) -> None:
    """What passed alone and failed on what landed meanwhile was not bad by itself; kept till another ends."""
    items = []
    for title in ("One", "Two", "Three"):
        write(repo, workspace_on(repo, title), title, "1\n")
        items.append(repo.submit([title.lower()], agent="a"))
    first, second, third = items
    for item in items[:2]:
        repo.finish_attempt(_attempt(repo, item, item.members).id, AttemptState.PASSED, 0)
    repo.land_item(first.id, repo.attempts(first.id)[-1].id)
    repo.finish_attempt(_attempt(repo, second, second.members).id, AttemptState.FAILED, 1)
    repo.eject(second.id, EjectReason.TEST_FAILED, "with one")
    history = repo.queue_snapshot(environment_hash="e").history
    assert (history.passed, history.failed) == (2, 0)
    assert (history.pairs, history.clashes) == (1, 1)
    assert history.recent == (True, False)
    assert repo.queue_snapshot(environment_hash="e").history is history
    repo.finish_attempt(_attempt(repo, third, third.members).id, AttemptState.FAILED, 1)
    repo.eject(third.id, EjectReason.TEST_FAILED, "by itself or not")
    history = repo.queue_snapshot(environment_hash="e").history
    assert history.recent == (True, False, False)
    assert 0 < history.failed < 1
    assert history.passed + history.failed == 3
