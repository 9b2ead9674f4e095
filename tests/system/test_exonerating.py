"""A real daemon tests main by itself before it blames a change, with real tests."""

from typing import Any

from tests.system.people import System, until

COMMAND = 'echo "tested: $PATCHWORK_CHANGE"; test ! -e broken.txt && test ! -e bad.txt'


def submit(system: System, title: str, op: str = "create", path: str = "") -> int:
    """Writes a change of one file, named like it if not told, and submits it; its item."""
    change = system.change(title)
    content = None if op == "delete" else title.encode()
    system.put(change, op, path or f"{change}.txt", content)
    return int(system.post("queue", change_id=change, agent_id="tester")["id"])


def left(system: System, item: int) -> dict[str, Any]:
    """An item, once it has left the queue."""

    def found() -> dict[str, Any]:
        shown: dict[str, Any] = system.get(f"queue/items/{item}")
        return shown

    until(lambda: found()["position"] is None, f"item {item} leaves the queue")
    return found()


def test_who_fails_on_a_red_main_is_not_to_blame(system: System) -> None:
    """Main was broken around the queue: all leave as they came but the one that mends it."""
    project = system.project
    broken = system.change("Broken")
    system.put(broken, "create", "broken.txt", b"")
    system.land(broken)
    project.patchwork("config", "set", "test-cmd", COMMAND)
    project.patchwork("queue", "pause")
    good, bad, mend = (
        submit(system, "Good"),
        submit(system, "Bad"),
        submit(system, "Mend", "delete", "broken.txt"),
    )
    project.patchwork("queue", "resume")
    for item in (good, bad):
        ejection = left(system, item)["ejection"]
        assert (ejection["cause"], ejection["remedy"]) == ("main", "main")
        shown = system.tree(ejection["view_id"])
        assert "broken.txt" in shown
        assert "good.txt" not in shown
    assert left(system, mend)["status"] == "landed"
    again = int(system.post("queue", change_id="bad", agent_id="tester")["id"])
    assert left(system, again)["ejection"]["cause"] == "own_failure"
    again = int(system.post("queue", change_id="good", agent_id="tester")["id"])
    assert left(system, again)["status"] == "landed"

    (told,) = [e["payload"] for e in system.events() if e["type"] == "main_tested"]
    assert (told["item_id"], told["status"], told["exit_code"]) == (good, "failed", 1)
    printed = project.patchwork("queue", "show", f"#{good}").stdout
    assert "main_failed: main fails without it, too" in printed
    assert f"Attempt #{told['attempt_id']}: main by itself failed" in printed
    # The output is the item's, unless that of the other attempt is asked for.
    assert project.patchwork("queue", "output", f"#{good}").stdout == "tested: good\n"
    of_main = system.get(f"queue/items/{good}/output", attempt=told["attempt_id"])
    assert of_main == told["output"].encode() == b"tested: \n"
    # What was tested of main says nothing of the change.
    assert system.get("changes/good")["versions"][0]["test_result"]["status"] == "passed"
    project.patchwork("verify")


def test_a_change_that_does_what_main_did(system: System) -> None:
    """Its tree is main's, which was tested by itself: that result is its own, and verified."""
    project = system.project
    project.patchwork("config", "set", "test-cmd", COMMAND)
    first, second = system.change("First"), system.change("Second")
    for change in (first, second):
        system.put(change, "create", "same.txt", b"same")
    system.land(first)
    assert left(system, submit(system, "Bad"))["reason"] == "test_failed"
    item = int(system.post("queue", change_id=second, agent_id="tester")["id"])
    assert left(system, item)["status"] == "landed"
    project.patchwork("verify")
