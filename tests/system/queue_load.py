"""Many agents that submit, wait and submit again, against a real daemon; what must hold afterwards.

Some changes fail by themselves, some edit a line that others edit too, and some come in halves, of
which main may have only one. The test command says so of a tree by looking at its files.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from tests.system.people import System

LINES = 40
SHARED = "".join(f"line {number}\n" for number in range(LINES))
FILES: dict[str, str | bytes] = {"shared.txt": SHARED, "work/keep": "", "halves/keep": ""}
OWN_FAILURES = 0.13
LINE_EDITS = 0.2
HALVES = 0.2
PAIRS = 6
POLL_S = 0.2

COMMAND = """
sleep {seconds}
! grep -rq BAD work || exit 1
for left in halves/*-left.*; do
    for right in "${{left%%-left.*}}"-right.*; do
        test ! -e "$left" || test ! -e "$right" || exit 1
    done
done
"""


TARGETS = r"""sed -e 's,^\(halves/[0-9]*\)-.*,\1,' "$PATCHWORK_PATHS" """
"""Sound for that: whoever may disagree has a line of the shared file, or two halves, in common."""


@dataclass(frozen=True)
class Load:
    """How much: ``changes`` by ``agents``, tested ``width`` at once for ``seconds`` each.

    ``target_cmd`` declares what is independent.
    """

    policy: str

    agents: int
    changes: int
    width: int
    seconds: float
    seed: int
    target_cmd: str = ""


@dataclass(frozen=True)
class Proposal:
    """What a change does."""

    title: str
    is_bad: bool
    line: int | None
    half: str | None

    def files(self) -> Iterator[tuple[str, str, str]]:
        """What it writes: the operation, the path, the text."""
        yield "create", f"work/{self.title}", "BAD\n" if self.is_bad else "good\n"
        if self.line is not None:
            edited = SHARED.replace(f"line {self.line}\n", f"{self.title}\n")
            yield "modify", "shared.txt", edited
        if self.half is not None:
            yield "create", f"halves/{self.half}.{self.title}", self.title


@dataclass(frozen=True)
class Result:
    """A proposal, and its item when it had left the queue."""

    proposal: Proposal
    item: dict[str, Any]


def propose(load: Load) -> list[Proposal]:
    """Draws the changes; equal loads have equal ones."""
    chance = random.Random(load.seed)
    found = []
    for number in range(load.changes):
        half = f"{chance.randrange(PAIRS)}-{chance.choice(('left', 'right'))}"
        # Lines that are far apart: neighbours would be one conflict.
        line = chance.randrange(0, LINES, 4)
        found.append(
            Proposal(
                title=f"c{number}",
                is_bad=chance.random() < OWN_FAILURES,
                line=line if chance.random() < LINE_EDITS else None,
                half=half if chance.random() < HALVES else None,
            )
        )
    return found


def run(system: System, load: Load) -> tuple[list[Result], float]:
    """Lets the agents work until all is decided; results, and the seconds that it took."""
    system.request("PUT", "config/test-cmd", json={"value": COMMAND.format(seconds=load.seconds)})
    system.request("PUT", "config/max-speculative", json={"value": load.width})
    system.request("PUT", "config/queue-policy", json={"value": load.policy})
    system.request("PUT", "config/target-cmd", json={"value": load.target_cmd})
    proposals = propose(load)
    shares = [proposals[first :: load.agents] for first in range(load.agents)]
    started = time.monotonic()
    with ThreadPoolExecutor(load.agents) as pool:
        numbered = enumerate(shares)
        results = list(pool.map(lambda each: _work(system, f"agent-{each[0]}", each[1]), numbered))
    return [result for share in results for result in share], time.monotonic() - started


def _work(system: System, agent: str, proposals: list[Proposal]) -> list[Result]:
    done = []
    with closing(system.project.api()) as api:
        for proposal in proposals:
            made = api.post("changes", json={"title": proposal.title, "author": agent})
            assert made.status_code == 201, made.text
            ops = []
            for op_type, path, text in proposal.files():
                blob = api.post("blobs", content=text.encode()).json()["hash"]
                ops.append({"op_type": op_type, "path": path, "content_hash": blob})
            body = {"change_id": proposal.title, "ops": ops, "agent_id": agent}
            _appended(api.post("ops/batch", json=body), proposal)
            submission = {"change_id": proposal.title, "agent_id": agent}
            item = api.post("queue", json=submission).json()
            while item["state"] == "queued":
                time.sleep(POLL_S)
                item = api.get(f"queue/items/{item['id']}").json()
            done.append(Result(proposal, item))
    return done


def _appended(response: Any, proposal: Proposal) -> None:
    assert response.status_code == 201, (proposal, response.text)


def check(system: System, load: Load, results: list[Result]) -> None:
    """Checks what the queue promises, by its records and by what main has."""
    assert len(results) == load.changes
    landed = [result for result in results if result.item["state"] == "landed"]
    left = [result for result in results if result.item["state"] == "ejected"]
    assert len(landed) + len(left) == load.changes, "each is decided, and once"
    ends = Counter(
        event["payload"]["item_id"] for event in system.events() if event["type"] == "item_ejected"
    )
    assert ends == Counter(result.item["id"] for result in left)
    rows = [row for row in system.pages("landings") if row["change_id"].startswith("c")]
    assert Counter(row["change_id"] for row in rows) == Counter(r.proposal.title for r in landed)
    main = system.tree("main")
    for result in landed:
        assert not result.proposal.is_bad, "main is green"
        assert f"work/{result.proposal.title}" in main
    halves = {path.partition(".")[0] for path in main if path.startswith("halves/")}
    for half in halves:
        assert not (half.endswith("-left") and half.replace("-left", "-right") in halves)
    names = {result.proposal.title: result.proposal for result in landed}
    for result in left:
        _check_reason(result, names)
    verified = system.post("verify")
    assert verified["problems"] == []
    assert verified["certified"] == len(landed)
    system.check_sound()


def _check_reason(result: Result, landed: dict[str, Proposal]) -> None:
    """An item leaves for what it is, or for something that did land.

    It wrote the shared file whole: what others landed meanwhile in other lines counts too.
    """
    mine, ejection = result.proposal, result.item["ejection"]
    if mine.is_bad:
        assert result.item["reason"] in ("test_failed", "conflict")
        return
    if result.item["reason"] == "conflict":
        assert ejection["with_changes"], "somebody is named"
        others = [landed[name] for name in ejection["with_changes"]]
        for other in others:
            assert mine.line is not None and other.line is not None
        return
    assert result.item["reason"] == "test_failed", result.item
    assert mine.half is not None, result.item
    number, _, side = mine.half.partition("-")
    partner = f"{number}-{'right' if side == 'left' else 'left'}"
    assert any(other.half == partner for other in landed.values()), "it met its other half"
