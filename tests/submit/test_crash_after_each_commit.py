"""Crash anywhere: a machine that dies behind any commit of the queue comes to the same end.

What a killed process leaves is what its files hold; so behind each commit they are copied, and a new
daemon's queue goes on from the copy.
"""

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pwfs.model.events import EventType
from pwfs.model.queue import ItemState
from pwfs.repo import Repository
from pwfs.repo.certifying import verify
from pwfs.repo.checking import fsck
from pwfs.repo.importing import init
from pwfs.submit.invariants import check_history
from tests.submit.test_on_a_repository import (
    LINES,
    Judge,
    emptied,
    fates,
    propose,
    serving,
    submit_twelve,
    texts,
)

RULE = "shared.txt: shared\nred.txt: red\nx.txt: red\npair-*: pair\n" + "".join(
    f"new-{number}.txt: new{number}\n" for number in range(3)
)
POLICIES = [
    ("linear", 1, ""),
    ("window", 3, ""),
    ("window", 3, RULE),
    ("tree", 3, ""),
    ("tree", 3, RULE),
    ("batch", 1, ""),
]
ENDS = {
    EventType.CHANGE_LANDED: ItemState.LANDED,
    EventType.ITEM_EJECTED: ItemState.EJECTED,
    EventType.ITEM_CANCELLED: ItemState.CANCELLED,
}


@contextmanager
def copied_behind_each_commit(repo: Repository, copies: Path) -> Iterator[list[Path]]:
    """Copies the repository whenever its log has committed, and lists the copies."""
    begin = repo.log.transaction
    kept: list[Path] = []

    @contextmanager
    def transaction() -> Iterator[None]:
        with begin():
            yield
        if not repo.log.in_transaction:
            kept.append(copies / f"copy-{len(kept)}")
            shutil.copytree(repo.root, kept[-1], ignore=shutil.ignore_patterns("*-shm"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repo.log, "transaction", transaction)
        yield kept


def check_ends(repo: Repository) -> None:
    """Conservation: each item has one end, and each of its changes one event that tells it."""
    ends = Counter(
        (event.payload["change_id"], ENDS[event.type])
        for event in repo.events()
        if event.type is EventType.CHANGE_LANDED
    )
    items = Counter(
        (event.payload["item_id"], ENDS[event.type])
        for event in repo.events()
        if event.type in ENDS and event.type is not EventType.CHANGE_LANDED
    )
    for item in repo.log.items():
        assert item.state is not ItemState.QUEUED
        if item.state is not ItemState.LANDED:
            assert items.pop((item.id, item.state)) == 1
            continue
        for member in item.members:
            assert ends.pop((member.change_id, ItemState.LANDED)) == 1
    assert not items
    assert set(ends) <= {("initial-import", ItemState.LANDED)}


async def crash_after_each_commit(
    directory: Path, policy: str, width: int, rule: str, step: int
) -> int:
    """Runs the queue from behind every ``step``-th commit; returns how many there were."""
    code = directory / "code"
    code.mkdir()
    repo = opened_on(code, policy, width, rule)
    submit_twelve(repo)
    with copied_behind_each_commit(repo, directory) as copies:
        async with serving(repo, Judge(repo, 1)):
            await emptied(repo)
    wanted, main = fates(repo), texts(repo, repo.main()[1])
    check_ends(repo)
    repo.close()
    for number in range(0, len(copies), step):
        copy = Repository.open(copies[number])
        async with serving(copy, Judge(copy, number)):
            await emptied(copy)
        assert fates(copy) == wanted, f"behind commit {number}"
        assert texts(copy, copy.main()[1]) == main, f"behind commit {number}"
        check_ends(copy)
        check_history(copy.log.items(), copy.log.attempts(), copy.landings())
        report, verified = fsck(copy), verify(copy)
        assert report.is_clean and not verified.problems, f"behind commit {number}"
        copy.close()
    return len(copies)


def opened_on(code: Path, policy: str, width: int, rule: str = "") -> Repository:
    """A repository whose queue runs by a policy, with a rule of independence by paths."""
    (code / "shared.txt").write_text(LINES)
    init(code, agent="tester")
    repo = Repository.open(code)
    for key, value in (
        ("test-cmd", "make test"),
        ("queue-policy", policy),
        ("max-speculative", width),
        ("target-paths", rule),
    ):
        repo.set_setting(key, value)
    return repo


@pytest.mark.parametrize(("policy", "width", "rule"), POLICIES)
async def test_a_crash_behind_some_commits_changes_nothing(
    tmp_path: Path, policy: str, width: int, rule: str
) -> None:
    """The short form: every fourth; `./dev soak` takes each."""
    assert await crash_after_each_commit(tmp_path, policy, width, rule, step=4) >= 25


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("policy", "width", "rule"), POLICIES)
async def test_a_crash_behind_any_commit_changes_nothing(
    tmp_path: Path, policy: str, width: int, rule: str
) -> None:
    """Whatever was stored last, the rest follows from it."""
    assert await crash_after_each_commit(tmp_path, policy, width, rule, step=1) >= 25


async def test_what_was_announced_is_stored(tmp_path: Path) -> None:
    """Whoever hears of a step finds it in the files: nothing is told before it is kept."""
    repo = opened_on(tmp_path, "linear", 1)
    repo.submit([propose(repo, "One", {"one.txt": "good"})], agent="agent")
    told: list[int] = []

    def look() -> None:
        copy = tmp_path.parent / f"copy-{len(told)}"
        shutil.copytree(tmp_path, copy, ignore=shutil.ignore_patterns("*-shm"))
        newest = repo.log.last_event_id()
        found = Repository.open(copy)
        told.append(newest)
        assert found.log.last_event_id() == newest
        found.close()

    unsubscribe = repo.subscribe(look)
    async with serving(repo, Judge(repo, 1)):
        await emptied(repo)
    unsubscribe()
    repo.close()
    assert len(told) >= 3
