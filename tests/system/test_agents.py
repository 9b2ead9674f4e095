"""Ten agents at once in one repository, a speculative queue, and somebody who watches it all."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.project import mount_points
from tests.system.people import System, Watcher, files_below, system_in, until

AGENTS = 10
FILES = 4
LINES = 60
TEST = "sleep 0.2; ! grep -rq BROKEN ."
RED, QUARREL = 5, (3, 7)


def text_of(number: int) -> str:
    """One of the files at the start."""
    return "".join(f"file {number} line {line}\n" for line in range(LINES))


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A repository of a few files that everybody edits; three tests at once."""
    files = {f"f{number}.txt": text_of(number) for number in range(FILES)}
    with system_in(tmp_path / "repo", files) as found:
        found.request("PUT", "config/max-speculative", json={"value": 3})
        found.request("PUT", "config/test-cmd", json={"value": TEST})
        yield found


def edits_of(agent: int) -> list[tuple[str, str, str]]:
    """What an agent does: in which file it puts which line in place of which."""
    edits = [
        (f"f{number}.txt", f"file {number} line {agent * 6}\n", f"agent {agent} in {number}\n")
        for number in range(FILES)
    ]
    if agent in QUARREL:
        edits.append(("f0.txt", "file 0 line 2\n", f"agent {agent} quarrels\n"))
    if agent == RED:
        edits.append(("f1.txt", "file 1 line 33\n", "BROKEN\n"))
    return edits


def edited(files: dict[str, str], edits: list[tuple[str, str, str]]) -> dict[str, str]:
    """The files after some edits, each of which must find its line."""
    done = dict(files)
    for name, old, new in edits:
        assert done[name].count(old) == 1, (name, old)
        done[name] = done[name].replace(old, new)
    return done


def work(system: System, agent: int, together: threading.Barrier) -> None:
    """An agent's work: a workspace, its edits one save at a time, and the submission."""
    own = System(system.project)
    own.start()
    change = own.change(f"Agent {agent}")
    ws = own.workspace(change)
    together.wait(30)
    for name, old, new in edits_of(agent):
        text = (ws / name).read_text()
        assert text.count(old) == 1
        (ws / name).write_text(text.replace(old, new))
    (ws / f"new-{agent}.txt").write_text(f"new by {agent}\n")
    own.post("queue", change_id=change, agent_id=f"agent-{agent}")
    own.disconnect()


def around(system: System, number: int) -> None:
    """A landing around the queue, on a line of its own."""
    change = system.change(f"Around {number}")
    ws = system.workspace(change)
    text = (ws / "f3.txt").read_text()
    old = f"file 3 line {number * 6 + 3}\n"
    assert old in text
    (ws / "f3.txt").write_text(text.replace(old, f"around {number}\n"))
    system.land(change)
    system.request("DELETE", f"workspaces/{ws.name}")


def wait_for_queue(system: System) -> None:
    """Waits until nothing is queued."""
    until(lambda: system.get("queue")["items"] == [], "the queue is empty", patience_s=50)


def check_certificates(system: System) -> None:
    """Each tested landing has the root, the base and the place of its attempt."""
    previous = 0
    for landing in system.pages("landings"):
        assert landing["previous_seq"] == previous
        previous = landing["seq"]
        if not landing["verified"]:
            continue
        (item,) = [
            item
            for item in system.get("queue/items", change_id=landing["change_id"])["items"]
            if item["state"] == "landed"
        ]
        attempts = system.get(f"queue/items/{item['id']}")["attempts"]
        (attempt,) = [each for each in attempts if each["id"] == landing["attempt_id"]]
        assert attempt["key"]["root"] == landing["root"]
        assert attempt["state"] == "passed"
        assert attempt["base_seq"] == landing["previous_seq"]
        assert attempt["key"]["command"] == TEST


def composed(landings: list[dict[str, Any]]) -> dict[str, str]:
    """The files after what landed, one after the other, by plain replacement of lines."""
    files = {f"f{number}.txt": text_of(number) for number in range(FILES)}
    for landing in landings[1:]:
        kind, number = landing["change_id"].split("-")
        agent = int(number)
        if kind == "around":
            files = edited(
                files, [("f3.txt", f"file 3 line {agent * 6 + 3}\n", f"around {agent}\n")]
            )
        else:
            edits = [edit for edit in edits_of(agent) if edit[2] != "BROKEN\n"]
            if "quarrels" in files["f0.txt"]:
                edits = [edit for edit in edits if "quarrels" not in edit[2]]
            files = edited(files, edits)
            files[f"new-{agent}.txt"] = f"new by {agent}\n"
    return files


def test_ten_agents_and_a_queue(system: System) -> None:
    """Main is what landed, one after the other; no edit is lost, and who watched missed nothing.

    One agent's tests fail and two disagree about a line: both come back as drafts with their work,
    mend it, and land too.
    """
    watcher = Watcher(system.project)
    together = threading.Barrier(AGENTS)
    with ThreadPoolExecutor(AGENTS) as pool:
        started = [pool.submit(work, system, agent, together) for agent in range(AGENTS)]
        for number in range(2):
            around(system, number)
        for each in started:
            each.result(50)
    wait_for_queue(system)
    status = {row["id"]: row["status"] for row in system.get("changes")["changes"]}
    drafts = {change for change, now in status.items() if now == "draft"}
    assert drafts in [{f"agent-{RED}", f"agent-{agent}"} for agent in QUARREL], status
    (item,) = system.get("queue/items", change_id=f"agent-{RED}")["items"]
    assert item["reason"] == "test_failed"
    (loser,) = drafts - {f"agent-{RED}"}
    (item,) = system.get("queue/items", change_id=loser)["items"]
    assert item["reason"] == "conflict"
    check_certificates(system)

    landings = system.pages("landings")
    main = {path: data.decode() for path, data in files_below(system.main).items()}
    assert main == composed(landings)
    ws = system.mount / f"ws/ws-agent-{RED}"
    (ws / "f1.txt").write_text((ws / "f1.txt").read_text().replace("BROKEN", "file 1 line 33"))
    ws = system.mount / f"ws/ws-{loser}"
    marked = (ws / "f0.txt").read_text()
    start, end = marked.index("<<<<<<<"), marked.index(f">>>>>>> {loser}")
    winner = marked[start:end].split("\n")[1]
    assert "quarrels" in winner
    mended = marked[:start] + winner + "\n" + marked[marked.index("\n", end) + 1 :]
    (ws / "f0.txt").write_text(mended)
    system.post("queue", change_id=f"agent-{RED}")
    system.post("queue", change_id=loser)
    wait_for_queue(system)
    check_certificates(system)
    main = {path: data.decode() for path, data in files_below(system.main).items()}
    assert main == composed(system.pages("landings"))
    assert len(system.pages("landings")) == 1 + 2 + AGENTS

    shown = {workspace["id"] for workspace in system.get("workspaces")["workspaces"]}
    assert shown == {f"ws-agent-{agent}" for agent in range(AGENTS)}
    assert sorted(path.name for path in (system.mount / "ws").iterdir()) == sorted(shown)
    assert str(system.mount) in mount_points()
    events = system.events()
    watcher.saw(events[-1]["id"])
    seen = watcher.close()
    assert [event["id"] for event in seen] == list(range(1, len(events) + 1))
    assert seen == events
