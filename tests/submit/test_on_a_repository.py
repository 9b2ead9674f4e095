"""The runner on a real repository: what lands is what was tested, down to the stored trees.

Only the mount is missing: a test is judged by what the tree of its attempt holds.
"""

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from pwfs.model.errors import NotIndependent
from pwfs.model.ids import AttemptId, TreeHash
from pwfs.model.ops import OpType
from pwfs.model.paths import RepoPath
from pwfs.model.queue import AttemptState, IndependenceProof, ItemState, QueueItem
from pwfs.repo import Repository
from pwfs.repo.certifying import verify
from pwfs.repo.checking import fsck
from pwfs.repo.edits import OpRequest
from pwfs.repo.importing import init
from pwfs.submit.invariants import check_history
from pwfs.views.trees import walk
from pwfs_daemon.runner import QueueRunner
from pwfs_daemon.testproc import Ended, TestOrder
from pwfs_daemon.wiring import RunnerRepository, WorkspacePaths

LINES = "".join(f"line {number}\n" for number in range(20))


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    (tmp_path / "shared.txt").write_text(LINES)
    init(tmp_path, agent="tester")
    opened = Repository.open(tmp_path)
    opened.set_setting("test-cmd", "make test")
    yield opened
    check_history(opened.log.items(), opened.log.attempts(), opened.landings())
    report, verified = fsck(opened), verify(opened)
    opened.close()
    assert report.is_clean, report.problems
    assert not verified.problems


def propose(
    repo: Repository, title: str, files: dict[str, str], after: tuple[str, ...] = ()
) -> str:
    """Makes a change that writes files."""
    change = repo.create_change(title, author="agent", depends_on=after)
    for path, text in files.items():
        known = repo.live_change(repo.change(change.id)).get(RepoPath(path)) is not None
        request = OpRequest(
            OpType.MODIFY if known else OpType.CREATE, path, repo.blobs.put(text.encode())
        )
        repo.append_op(change.id, request, agent="agent")
    return change.id


def texts(repo: Repository, root: TreeHash) -> dict[str, str]:
    return {
        path: repo.blobs.get(entry.content_hash).decode() for path, entry in walk(repo.trees, root)
    }


class Judge:
    """Ends a test after some steps of the event loop; a tree that says ``bad`` fails."""

    def __init__(self, repo: Repository, seed: int) -> None:
        self._repo = repo
        self._chance = random.Random(seed)
        self.tested: list[TreeHash] = []

    async def __call__(self, order: TestOrder) -> Ended:
        attempt = self._repo.attempt(int(order.variables["PATCHWORK_ATTEMPT"]))
        self.tested.append(attempt.key.root)
        for _ in range(self._chance.randrange(200)):
            await trio.lowlevel.checkpoint()
        if any("bad" in text for text in texts(self._repo, attempt.key.root).values()):
            return Ended(AttemptState.FAILED, 1)
        return Ended(AttemptState.PASSED, 0)


@asynccontextmanager
async def serving(repo: Repository, judge: Judge) -> AsyncIterator[None]:
    runner = QueueRunner(
        RunnerRepository(repo), WorkspacePaths(repo.state_dir / "mount"), execute=judge
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(runner.run)
        yield
        nursery.cancel_scope.cancel()


async def emptied(repo: Repository) -> None:
    with trio.fail_after(30):
        while repo.queued():
            moved = trio.Event()
            unsubscribe = repo.subscribe(moved.set)
            await moved.wait()
            unsubscribe()


def submit_twelve(repo: Repository) -> None:
    """One red change, one that conflicts, one that depends on the red, a pair, and good ones."""
    for number in range(5):
        line = f"line {number * 4}\n"
        edited = LINES.replace(line, f"edited by {number}\n")
        repo.submit([propose(repo, f"Edit {number}", {"shared.txt": edited})], agent="agent")
    red = propose(repo, "Red", {"red.txt": "bad"})
    repo.submit([red], agent="agent")
    conflicting = LINES.replace("line 0\n", "edited by another\n")
    repo.submit([propose(repo, "Conflict", {"shared.txt": conflicting})], agent="agent")
    repo.submit([propose(repo, "After red", {"x.txt": "x"}, after=(red,))], agent="agent")
    pair = [propose(repo, f"Pair {n}", {f"pair-{n}.txt": "good"}) for n in (1, 2)]
    repo.submit(pair, agent="agent")
    for number in range(3):
        new = propose(repo, f"New {number}", {f"new-{number}.txt": "good"})
        repo.submit([new], agent="agent")


FATES = {
    "red": "test_failed",
    "conflict": "conflict",
    "after-red": "dependency",
}


def fates(repo: Repository) -> dict[str, str]:
    return {
        item.members[-1].change_id: item.reason.value if item.reason else item.state.value
        for item in repo.log.items()
    }


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("seed", [1, 2])
async def test_the_queue_empties_as_it_should(repo: Repository, width: int, seed: int) -> None:
    """At any width, with tests ending in any order, the same lands and the same does not."""
    repo.set_setting("max-speculative", width)
    submit_twelve(repo)
    judge = Judge(repo, seed)
    async with serving(repo, judge):
        await emptied(repo)
    assert fates(repo) == {
        **{f"edit-{number}": "landed" for number in range(5)},
        **FATES,
        "pair-2": "landed",
        **{f"new-{number}": "landed" for number in range(3)},
    }
    main = texts(repo, repo.main()[1])
    assert main["shared.txt"].count("edited by") == 5
    assert "red.txt" not in main
    passed = {
        landing.root for landing in repo.landings() if landing.verified and landing.attempt_id
    }
    assert passed - set(judge.tested) <= {repo.landings()[-5].root}, "all but inside the pair"
    if width == 1:
        assert len(judge.tested) == len(set(judge.tested))


@pytest.mark.parametrize("policy", ["tree", "batch", "auto"])
async def test_every_policy_empties_the_queue(repo: Repository, policy: str) -> None:
    """Whatever chooses the tests, the same lands; what a batch lands is one tree that was tested."""
    repo.set_setting("max-speculative", 3)
    repo.set_setting("queue-policy", policy)
    submit_twelve(repo)
    judge = Judge(repo, 5)
    async with serving(repo, judge):
        await emptied(repo)
    assert fates(repo).items() >= FATES.items()
    assert list(fates(repo).values()).count("landed") == 5 + 1 + 3
    main = texts(repo, repo.main()[1])
    assert main["shared.txt"].count("edited by") == 5
    assert "red.txt" not in main
    for landing in repo.landings():
        if landing.verified and landing.attempt_id:
            assert landing.root == repo.attempt(landing.attempt_id).key.root
            assert landing.root in judge.tested


async def test_a_landing_around_the_queue_reparents(repo: Repository) -> None:
    """Main moves under running tests: they start again on it, and nothing of it is lost."""
    repo.set_setting("max-speculative", 3)
    submit_twelve(repo)
    judge = Judge(repo, 3)
    async with serving(repo, judge):
        while len(repo.log.attempts()) < 3:
            await trio.lowlevel.checkpoint()
        running = {a.id for a in repo.log.attempts() if a.state is AttemptState.RUNNING}
        repo.land(propose(repo, "Direct", {"direct.txt": "direct"}), agent="admin")
        await emptied(repo)
    assert {fates(repo)[name] for name in FATES} == set(FATES.values())
    assert texts(repo, repo.main()[1])["direct.txt"] == "direct"
    stopped = [a for a in repo.log.attempts() if a.state is AttemptState.STOPPED]
    assert running
    assert running <= {attempt.id for attempt in stopped}


async def test_restarts_lose_nothing(repo: Repository) -> None:
    """Ended and started again and again, the queue comes to the same end."""
    repo.set_setting("max-speculative", 3)
    submit_twelve(repo)
    judge = Judge(repo, 4)
    for steps in range(0, 300, 30):
        async with serving(repo, judge):
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
        assert repo.workspaces(tests=True) == []
    async with serving(repo, judge):
        await emptied(repo)
    assert fates(repo).items() >= FATES.items()
    assert len(repo.landings()) == 1 + 5 + 2 + 3
    assert repo.attempt(AttemptId(1)).state is AttemptState.STOPPED


RULE = """
/shared.txt: shared
/red.txt: red
/x.txt: x
/pair-*: pair
/new-0.txt: zero
/new-1.txt: one
"""


@pytest.mark.parametrize("policy", ["linear", "window", "tree", "batch"])
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_rule_of_independence_changes_no_fate(
    repo: Repository, policy: str, seed: int
) -> None:
    """Whoever overtakes, the same lands and leaves, and main has all of it."""
    repo.set_setting("max-speculative", 4)
    repo.set_setting("queue-policy", policy)
    repo.set_setting("target-paths", RULE)
    submit_twelve(repo)
    async with serving(repo, Judge(repo, seed)):
        await emptied(repo)
    assert fates(repo).items() >= FATES.items()
    assert list(fates(repo).values()).count("landed") == 5 + 1 + 3
    main = texts(repo, repo.main()[1])
    assert main["shared.txt"].count("edited by") == 5
    assert "red.txt" not in main
    resting = [a for a in repo.log.attempts() if a.rests_on is not None]
    # Another's test may end between the writing down and the landing: then it is written down anew.
    assert {repo.item(a.item_id).state for a in resting} <= {ItemState.LANDED}
    assert not resting or policy in ("window", "tree")


async def test_what_is_not_proven_is_tested_again(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no result of another tree may count, each lands as the very tree that was tested."""

    def refuse(item: QueueItem, *_: object) -> IndependenceProof:
        raise NotIndependent(item.id, "nobody believes it")

    monkeypatch.setattr(repo, "prove", refuse)
    repo.set_setting("max-speculative", 4)
    repo.set_setting("target-paths", RULE)
    submit_twelve(repo)
    judge = Judge(repo, 1)
    async with serving(repo, judge):
        await emptied(repo)
    assert fates(repo).items() >= FATES.items()
    assert list(fates(repo).values()).count("landed") == 5 + 1 + 3
    assert not any(attempt.rests_on for attempt in repo.log.attempts())
    for landing in repo.landings():
        if landing.attempt_id:
            assert landing.root in judge.tested
