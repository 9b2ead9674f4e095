"""Steering the queue of a real daemon: by the commands and the API, over a restart, with real tests."""

from pathlib import Path

import pytest

from pwfs.model.exits import ExitCode
from tests.system.people import Refused, System, until


@pytest.fixture
def queue(system: System) -> System:
    """A queue that accepts everything, but is paused until the test says so."""
    system.project.patchwork("config", "set", "test-cmd", "true")
    system.project.patchwork("queue", "pause")
    return system


def submit(system: System, *titles: str, agent: str = "tester", priority: int = 0) -> None:
    """Writes changes with a file each and submits them one by one."""
    for title in titles:
        change = system.change(title)
        system.put(change, "create", f"{change}.txt", title.encode())
        system.post("queue", change_id=change, agent_id=agent, priority=priority)


def order(system: System) -> list[str]:
    """The queued changes, first to land first."""
    return [item["change_id"] for item in system.get("queue")["items"]]


def await_end(system: System, change: str) -> None:
    """Waits until a change has left the queue."""
    until(lambda: change not in order(system), f"{change} leaves the queue")


def landed(system: System) -> list[str]:
    """The changes of main but the import, in their order."""
    return [landing["change_id"] for landing in system.get("landings")["landings"]][1:]


def test_a_tree_is_closed_and_mended_and_opened(queue: System) -> None:
    """Only what jumps lands meanwhile; who closed it and why is told to everybody, after a restart too."""
    project = queue.project
    submit(queue, "One", "Two", "Mend")
    refused = project.patchwork("queue", "close", " ", status=ExitCode.INVALID)
    assert "reason" in refused.stderr
    project.patchwork("queue", "close", "main is red")
    project.patchwork("queue", "resume")
    closed = "The tree is closed by tester: main is red"
    assert closed in project.patchwork("queue").stderr
    assert (
        "Tree: closed by tester: main is red" in project.patchwork("status", "--repository").stdout
    )
    with pytest.raises(Refused) as land:
        queue.post("changes/two/land")
    assert (land.value.status, land.value.problem["code"]) == (409, "tree_closed")
    assert "main is red" in land.value.problem["detail"]
    queue.disconnect()
    project.patchwork("serve", "--stop")
    queue.start()
    assert queue.get("queue")["closing"]["reason"] == "main is red"
    shown = project.patchwork("queue", "jump", "mend", "--reason", "mends main").stdout
    assert shown == "mend is at position 0.\n"
    await_end(queue, "mend")
    assert landed(queue) == ["mend"]
    assert "Jumped: tester: mends main" in project.patchwork("queue", "show", "mend").stdout
    assert order(queue) == ["one", "two"]
    project.patchwork("queue", "open")
    await_end(queue, "two")
    assert landed(queue) == ["mend", "one", "two"]
    types = [event["type"] for event in queue.events()]
    assert [types.count(each) for each in ("tree_closed", "tree_opened", "item_jumped")] == [
        1,
        1,
        1,
    ]
    project.patchwork("verify")


def test_bad_jumps_change_nothing(queue: System) -> None:
    """No reason, no such item, one that left."""
    submit(queue, "One", "Two")
    for place, reason, code in (
        ("queue/items/2/jump", "", "invalid_argument"),
        ("queue/items/2/jump", "x" * 1001, "invalid_argument"),
        ("queue/items/9/jump", "because", "not_found"),
    ):
        with pytest.raises(Refused) as refused:
            queue.post(place, reason=reason)
        assert refused.value.problem["code"] == code
    assert order(queue) == ["one", "two"]
    assert queue.get("queue/items/2")["jump"] is None


def test_agents_take_turns_and_ageing_is_set(queue: System) -> None:
    """A setting orders what is submitted from then on, and its bad values are refused."""
    project = queue.project
    for setting, value in (("fair-share", "maybe"), ("queue-ageing", "-1"), ("queue-ageing", "x")):
        project.patchwork("config", "set", setting, value, status=ExitCode.INVALID)
    project.patchwork("config", "set", "fair-share", "true")
    project.patchwork("config", "set", "queue-ageing", "2")
    submit(queue, "A1", "A2", "A3", agent="many")
    submit(queue, "B1", agent="few")
    asked = {"changes": [queue.change("C1")], "agent_id": "new"}
    queue.put("c1", "create", "c1.txt", b"c1")
    assert queue.post("queue/what-if", **asked)["position"] == 2
    assert order(queue) == ["a1", "b1", "a2", "a3"]
    submit(queue, "Urgent", priority=1)
    assert order(queue)[0] == "urgent"
    project.patchwork("queue", "resume")
    await_end(queue, "a3")
    assert landed(queue) == ["urgent", "a1", "b1", "a2", "a3"]


def test_what_waited_for_long_is_urgent(queue: System, tmp_path: Path) -> None:
    """Its level rises with what lands: who comes now at a higher priority does not overtake it."""
    gate = tmp_path / "gate"
    waits = (
        f"until case $PATCHWORK_CHANGE in u1 | u2) ;; *) test -e {gate} ;; esac; do sleep 0.1; done"
    )
    queue.project.patchwork("config", "set", "test-cmd", waits)
    queue.project.patchwork("config", "set", "queue-ageing", "2")
    submit(queue, "Patient")
    submit(queue, "U1", "U2", priority=1)
    queue.project.patchwork("queue", "resume")
    await_end(queue, "u2")
    submit(queue, "U3", priority=1)
    assert order(queue) == ["patient", "u3"]
    queue.project.patchwork("config", "set", "queue-ageing", "0")
    assert order(queue) == ["u3", "patient"]
    queue.project.patchwork("config", "set", "queue-ageing", "2")
    gate.touch()
    for change in ("u3", "patient"):
        await_end(queue, change)
    assert landed(queue)[:2] == ["u1", "u2"]


def test_another_policy_is_tried_on_the_past(queue: System) -> None:
    """Nothing of the queue changes by it; names and numbers that there are not are refused."""
    project = queue.project
    project.patchwork("config", "set", "test-cmd", "sleep 0.3; test $PATCHWORK_CHANGE != bad")
    assert "Nothing was decided" in project.patchwork("queue", "replay", "--policy", "tree").stdout
    submit(queue, "One", "Bad", "Two")
    project.patchwork("queue", "resume")
    await_end(queue, "two")
    before = queue.events()
    found = project.json("queue", "replay", "--policy", "window", "--speculative", "3")
    assert [(found["recorded"][key]) for key in ("landed", "ejected", "tests")] == [2, 1, 3]
    assert [found[each]["differing"] for each in ("now", "asked")] == [[], []]
    assert (found["now"]["policy"], found["asked"]["policy"]) == ("linear", "window")
    assert found["asked"]["tally"]["wait_max_s"] < found["now"]["tally"]["wait_max_s"]
    lines = project.patchwork("queue", "replay", "--policy", "batch", "--last", "2").lines
    assert [line.split()[0] for line in lines[1:4]] == ["recorded", "linear(set)", "batch"]
    project.patchwork("queue", "replay", "--policy", "best", status=ExitCode.INVALID)
    project.patchwork("queue", "replay", "--policy", "tree", "--last", "0", status=ExitCode.USAGE)
    assert queue.events() == before
