"""Items that a declared rule calls independent overtake; whoever may disagree waits, whatever happens.

A test waits until its change is let through, so that each scenario says whose test is the quicker.
"""

import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.system.people import Refused, System, system_in, until

FILES: dict[str, str | bytes] = {
    "src/app.py": "app\n",
    "docs/guide.md": "guide\n",
    "tools/run": "run\n",
}
BY_PATHS = "src/: code\ndocs/: docs\ntools/: tools code\n"
PRINT_TOPS = 'cut -d/ -f1 "$PATCHWORK_PATHS" | sort -u'


@dataclass
class Queue:
    """A queue whose tests are let through one by one."""

    system: System
    gates: Path

    def set(self, key: str, value: object) -> None:
        """Changes a setting."""
        self.system.request("PUT", f"config/{key}", json={"value": value})

    def submit(self, title: str, files: Mapping[str, str]) -> int:
        """Submits a change that makes files; its item."""
        change = self.system.change(title)
        for path, text in files.items():
            self.system.put(change, "create", path, text.encode())
        return int(self.system.post("queue", change_id=change, agent_id="tester")["id"])

    def item(self, item: int) -> dict[str, Any]:
        """An item as it is now."""
        found: dict[str, Any] = self.system.get(f"queue/items/{item}")
        return found

    def let(self, *names: str) -> None:
        """Lets the tests of changes end, now and later."""
        for name in names:
            (self.gates / name).touch()

    def states(self, item: int) -> list[str]:
        """How an item's attempts stand."""
        return [attempt["state"] for attempt in self.item(item)["attempts"]]

    def targets(self, item: int) -> list[dict[str, Any]]:
        """What is known of an item's changes."""
        found: list[dict[str, Any]] = self.item(item)["targets"]
        return found

    def until_state(self, item: int, state: str) -> None:
        """Waits until an item stands so."""
        until(lambda: self.item(item)["state"] == state, f"item {item} is {state}")

    def until_passed(self, item: int) -> None:
        """Waits until a test of an item passed."""
        until(lambda: "passed" in self.states(item), f"a test of item {item} passed")

    def until_told(self, item: int) -> list[dict[str, Any]]:
        """Waits until the rule has told of an item; what it told."""
        until(lambda: "yet" not in str(self.targets(item)), f"item {item} has targets")
        return self.targets(item)

    def verified(self) -> dict[str, Any]:
        """What `patchwork verify` says; it finds nothing wrong."""
        report: dict[str, Any] = self.system.post("verify")
        assert report["problems"] == []
        return report

    def certificate(self, change: str) -> dict[str, Any]:
        """The certificate of a change that landed."""
        seqs = {row["change_id"]: row["seq"] for row in self.system.pages("landings")}
        found: dict[str, Any] = self.system.get(f"landings/{seqs[change]}/certificate")
        return found


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    gates = tmp_path / "gates"
    gates.mkdir()
    with system_in(tmp_path / "repo", FILES) as system:
        found = Queue(system, gates)
        wait = f'while ! test -e {gates}/"$PATCHWORK_CHANGE"; do sleep 0.05; done'
        found.set("test-cmd", f"{wait}; ! grep -rq BAD .")
        found.set("max-speculative", 4)
        yield found


def test_the_quicker_of_two_independent_ones_overtakes(queue: Queue) -> None:
    """It lands first, the other after it without another test, and the certificate says why."""
    queue.set("target-paths", BY_PATHS)
    slow = queue.submit("Slow", {"src/slow.py": "slow\n"})
    quick = queue.submit("Quick", {"docs/quick.md": "quick\n"})
    queue.let("quick")
    queue.until_state(quick, "landed")
    assert queue.item(slow)["state"] == "queued"
    assert queue.item(slow)["targets"][0]["targets"] == ["code"]
    queue.let("slow")
    queue.until_state(slow, "landed")
    run, used = queue.item(slow)["attempts"]
    assert (run["state"], used["state"], used["rests_on"]) == ("passed", "passed", run["id"])
    proof = queue.certificate("slow")["independence"]
    assert [member["change_id"] for member in proof["besides"]] == ["quick"]
    assert (proof["without"], proof["tested_root"]) == ([], run["key"]["root"])
    assert proof["tested_root"] != queue.certificate("slow")["root"]
    assert {told["change_id"]: told["targets"] for told in proof["declarations"]} == {
        "slow": ["code"],
        "quick": ["docs"],
    }
    assert "independence" not in queue.certificate("quick")
    assert queue.verified()["certified"] == 2
    assert (queue.system.main / "src/slow.py").read_text() == "slow\n"
    assert (queue.system.main / "docs/quick.md").read_text() == "quick\n"
    shown = queue.system.project.patchwork("queue", "show", f"#{slow}").stdout
    assert "Targets of slow: code" in shown
    landed = queue.system.pages("landings")[-1]["seq"]
    assert (
        "independence besides: quick@1"
        in queue.system.project.patchwork("verify", str(landed)).stdout
    )


def test_a_failure_ahead_of_an_independent_one_takes_nobody_along(queue: Queue) -> None:
    """The one behind lands first, and the red one leaves by its own test, on another main."""
    queue.set("target-paths", BY_PATHS)
    red = queue.submit("Red", {"src/red.py": "BAD\n"})
    green = queue.submit("Green", {"docs/green.md": "green\n"})
    queue.let("green")
    queue.until_state(green, "landed")
    queue.let("red")
    queue.until_state(red, "ejected")
    assert queue.item(red)["reason"] == "test_failed"
    assert len(queue.item(red)["attempts"]) == 1
    queue.verified()


@pytest.mark.parametrize(
    "files",
    [
        {"tools/shared": "shares the target `code`\n"},
        {"README.md": "no pattern matches\n"},
        {"docs/one.md": "one target is not enough\n", "README.md": "no pattern\n"},
    ],
)
def test_who_may_disagree_waits(queue: Queue, files: dict[str, str]) -> None:
    """With a target in common, or where one of its paths has none."""
    queue.set("target-paths", BY_PATHS)
    slow = queue.submit("Slow", {"src/slow.py": "slow\n"})
    behind = queue.submit("Behind", files)
    queue.let("behind")
    queue.until_passed(behind)
    assert [queue.item(i)["state"] for i in (slow, behind)] == ["queued", "queued"]
    queue.let("slow")
    queue.until_state(behind, "landed")
    assert "independence" not in queue.certificate("behind")
    queue.verified()


def test_without_a_rule_nothing_is_independent(queue: Queue) -> None:
    """Not even what touches other files; and nobody is told of targets."""
    slow = queue.submit("Slow", {"src/slow.py": "slow\n"})
    behind = queue.submit("Behind", {"docs/behind.md": "behind\n"})
    queue.let("behind")
    queue.until_passed(behind)
    assert queue.item(slow)["state"] == queue.item(behind)["state"] == "queued"
    assert "targets" not in queue.item(slow)
    queue.let("slow")
    queue.until_state(behind, "landed")
    assert all("rests_on" not in attempt for attempt in queue.item(behind)["attempts"])
    queue.verified()


def test_a_rule_is_declared_while_items_are_queued(queue: Queue) -> None:
    """What was tested with another ahead counts without it, once both are called independent."""
    slow = queue.submit("Slow", {"src/slow.py": "slow\n"})
    behind = queue.submit("Behind", {"docs/behind.md": "behind\n"})
    queue.let("behind")
    queue.until_passed(behind)
    queue.set("target-paths", BY_PATHS)
    queue.until_state(behind, "landed")
    proof = queue.certificate("behind")["independence"]
    assert [member["change_id"] for member in proof["without"]] == ["slow"]
    assert proof["besides"] == []
    queue.let("slow")
    queue.until_state(slow, "landed")
    queue.verified()


def test_a_failure_may_be_another_ones_fault(queue: Queue) -> None:
    """What failed together with somebody ahead is tested without, once a rule calls them independent."""
    red = queue.submit("Red", {"src/red.py": "BAD\n"})
    behind = queue.submit("Behind", {"docs/behind.md": "behind\n"})
    queue.let("behind")
    until(lambda: "failed" in queue.states(behind), "both together failed")
    queue.set("target-paths", BY_PATHS)
    queue.until_state(behind, "landed")
    assert queue.item(red)["state"] == "queued"
    queue.let("red")
    queue.until_state(red, "ejected")
    queue.verified()


def test_a_rule_is_taken_back_while_items_are_queued(queue: Queue) -> None:
    """Who overtook has overtaken; whoever relied on that is tested again on main as it is."""
    queue.set("target-paths", BY_PATHS)
    slow = queue.submit("Slow", {"src/slow.py": "slow\n"})
    quick = queue.submit("Quick", {"docs/quick.md": "quick\n"})
    queue.let("quick")
    queue.until_state(quick, "landed")
    queue.set("target-paths", "src/: everything\ndocs/: everything\n")
    queue.let("slow")
    queue.until_state(slow, "landed")
    attempts = queue.item(slow)["attempts"]
    assert [attempt["state"] for attempt in attempts] == ["stopped", "passed"]
    assert "independence" not in queue.certificate("slow")
    queue.verified()


def test_a_command_tells_targets(queue: Queue) -> None:
    """Run in a view of the change, with the paths that it touches."""
    queue.set("target-cmd", f"test -e src/slow.py || test -e docs/quick.md; {PRINT_TOPS}")
    slow = queue.submit("Slow", {"src/slow.py": "slow\n"})
    quick = queue.submit("Quick", {"docs/quick.md": "quick\n"})
    assert [told["targets"] for told in queue.until_told(slow)] == [["src"]]
    assert [told["targets"] for told in queue.until_told(quick)] == [["docs"]]
    queue.let("quick")
    queue.until_state(quick, "landed")
    assert queue.item(slow)["state"] == "queued"
    queue.let("slow")
    queue.until_state(slow, "landed")
    # Whichever test began before the answers, and so together with the other, or without it.
    proofs = [queue.certificate(name).get("independence") for name in ("slow", "quick")]
    (proof,) = (proof for proof in proofs if proof is not None)
    assert proof["rule"]["kind"] == "command"
    queue.verified()
    told = [e["payload"] for e in queue.system.events() if e["type"] == "targets_declared"]
    assert {(each["change_id"], *each["targets"]) for each in told} == {
        ("slow", "src"),
        ("quick", "docs"),
    }


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("exit 3", "exit code 3"),
        ("echo no such graph >&2; echo docs; exit 1", "no such graph"),
        ("true", "printed no target"),
        ("sleep 1000 & sleep 1000", "time limit"),
        (r"printf 'docs\377\n'", "not UTF-8"),
        (r"printf 'docs\033[1m\n'", "control characters"),
        ("yes docs", "time limit"),
        ("seq 300000", "more than"),
        ("seq 1001", "more than 1000"),
        ("no-such-program-anywhere", "not found"),
    ],
)
def test_a_command_that_tells_nothing(queue: Queue, command: str, why: str) -> None:
    """It fails, hangs or prints rubbish: the targets are not known, and the item waits for all."""
    queue.set("target-timeout-s", 1)
    queue.set("target-cmd", f"case $PATCHWORK_CHANGE in slow) echo src;; *) {command};; esac")
    slow = queue.submit("Slow", {"src/slow.py": "slow\n"})
    behind = queue.submit("Behind", {"docs/behind.md": "behind\n"})
    (told,) = queue.until_told(behind)
    assert told["targets"] is None
    assert why in told["detail"]
    assert len(told["detail"]) < 1000
    queue.let("behind")
    queue.until_passed(behind)
    assert queue.item(behind)["state"] == "queued"
    queue.let("slow")
    queue.until_state(behind, "landed")
    assert queue.item(slow)["state"] == "landed"
    queue.verified()


def test_what_no_command_is_asked_of(queue: Queue) -> None:
    """A list of paths, one a line, cannot name every path; of the others it is asked."""
    queue.set("target-cmd", 'env > docs/guide.md; echo noise >&2; cat "$PATCHWORK_PATHS"; pwd >&2')
    odd = queue.submit("Odd", {"docs/a\nb": "odd\n"})
    fine = queue.submit("Fine", {"docs/ä b": "fine\n", "src/x": "x\n"})
    (told,) = queue.until_told(odd)
    assert told["targets"] is None
    assert "line break" in told["detail"]
    (told,) = queue.until_told(fine)
    assert told["targets"] == ["docs/ä b", "src/x"]
    queue.let("odd", "fine")
    queue.until_state(fine, "landed")
    assert (queue.system.main / "docs/guide.md").read_text() == "guide\n"


def test_a_file_and_a_directory_of_one_name(queue: Queue) -> None:
    """Whatever a rule says, who touches a path waits for whoever touches it, or one below."""
    queue.set("target-paths", "/name: a file\n/name/**: a directory\n/other: other\n")
    first = queue.submit("First", {"name": "a file\n"})
    second = queue.submit("Second", {"name/below": "a directory\n"})
    third = queue.submit("Third", {"other": "other\n"})
    queue.let("second", "third")
    queue.until_state(third, "landed")
    assert [queue.item(i)["state"] for i in (first, second)] == ["queued", "queued"]
    queue.let("first")
    queue.until_state(second, "ejected")
    assert queue.item(second)["reason"] == "conflict"
    queue.verified()


def test_a_daemon_that_is_killed_in_between(queue: Queue) -> None:
    """While commands run, and between a landing and the one that it overtook: nothing is lost."""
    hold = queue.gates / "targets"
    queue.set("target-cmd", f"while ! test -e {hold}; do sleep 0.05; done; {PRINT_TOPS}")
    slow = queue.submit("Slow", {"src/slow.py": "slow\n"})
    quick = queue.submit("Quick", {"docs/quick.md": "quick\n"})
    kill(queue.system)
    assert "yet" in queue.item(slow)["targets"][0]["detail"]
    hold.touch()
    assert queue.until_told(slow)[0]["targets"] == ["src"]
    queue.until_told(quick)
    queue.let("quick")
    queue.until_state(quick, "landed")
    kill(queue.system)
    queue.let("slow")
    queue.until_state(slow, "landed")
    assert sum(row["verified"] for row in queue.system.pages("landings")) == 2
    queue.verified()


def kill(system: System) -> None:
    """Ends the daemon as a crash would, and starts another."""
    os.kill(int(system.project.whereabouts["pid"]), signal.SIGKILL)
    system.start()


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("target-paths", "docs/", "line 1 is not PATTERN: TARGET"),
        ("target-paths", "a: b\n# fine\n\ndocs/:\n", "line 4 is not PATTERN: TARGET"),
        ("target-paths", "!docs/: docs", "cannot be taken back"),
        ("target-paths", "/: docs", "no pattern that matches anything"),
        ("target-paths", f"docs/: {'t' * 201}", "more than 200 bytes"),
        ("target-paths", "docs/: docs\n" * 201, "more than 200"),
        ("target-timeout-s", 0, "at least 1"),
        ("target-cmd", "a\0b", "must be text"),
    ],
)
def test_settings_that_are_none(queue: Queue, key: str, value: object, reason: str) -> None:
    """They are refused with what is wrong, and nothing changes."""
    before = queue.system.get("config")
    with pytest.raises(Refused) as refused:
        queue.set(key, value)
    assert refused.value.problem["code"] == "invalid_argument"
    assert reason in refused.value.problem["detail"]
    assert queue.system.get("config") == before


def test_only_one_rule_at_a_time(queue: Queue) -> None:
    """Patterns or a command; which one was meant is not guessed."""
    queue.set("target-paths", BY_PATHS)
    with pytest.raises(Refused, match="target-paths is set"):
        queue.set("target-cmd", "echo all")
    queue.set("target-paths", "")
    queue.set("target-cmd", "echo all")
    with pytest.raises(Refused, match="target-cmd is set"):
        queue.set("target-paths", BY_PATHS)


def test_who_asks_before_submitting_waits_for_whom_it_concerns(queue: Queue) -> None:
    """A rule by paths tells it of a draft; a command is not asked, so all are waited for then."""
    queue.set("target-paths", BY_PATHS)
    code = queue.submit("Code", {"src/code.py": "code\n"})
    docs = queue.submit("Docs", {"docs/docs.md": "docs\n"})
    queue.until_told(docs)

    def waits_for(change: str) -> list[int]:
        body = {"changes": [change], "agent_id": "tester"}
        answer: list[int] = queue.system.post("queue/what-if", **body)["waits_for"]
        return answer

    for title, path, expected in (
        ("More docs", "docs/more.md", [docs]),
        ("Tool", "tools/more", [code]),
        ("Same file", "docs/docs.md/below", [docs]),
        ("Anything", "README", [code, docs]),
    ):
        change = queue.system.change(title)
        queue.system.put(change, "create", path, b"draft\n")
        assert waits_for(change) == expected, title
        assert queue.system.get(f"changes/{change}")["status"] == "draft"
    queue.set("target-paths", "")
    queue.set("target-cmd", PRINT_TOPS)
    assert waits_for("tool") == [code, docs]
    queue.let("code", "docs")
    queue.until_state(code, "landed")
    queue.until_state(docs, "landed")
