"""What a test left is there for the next one, in a real daemon, and what must not be is not."""

import re
from pathlib import Path

from tests.system.people import System, until

COMMAND = r"""
mkdir -p build other
count=$(cat build/count 2>/dev/null || echo 0)
echo $((count + 1)) > build/count
touch other/left
test ! -e bad.txt || exit 1
echo "found $count of ${PATCHWORK_WARM:-nobody}, $(ls other build | tr '\\n' ' ')"
"""


def printed_by(system: System, title: str, path: str = "", text: str = "text") -> str:
    """Submits a change of one file, waits for its end, and tells what its last test printed."""
    change = system.change(title)
    system.put(change, "create", path or f"{change}.txt", text.encode())
    item = system.post("queue", change_id=change, agent_id="tester")["id"]
    until(lambda: system.get(f"queue/items/{item}")["position"] is None, f"{change} leaves")
    printed: bytes = system.get(f"queue/items/{item}/output")
    return printed.decode()


def found(printed: str) -> tuple[int, bool]:
    """How many tests had been in the directory before, and whether that was told."""
    match = re.search(r"found (\d+) of (\w+)", printed)
    assert match is not None, printed
    return int(match[1]), match[2] != "nobody"


def kept(system: System) -> list[Path]:
    """What is kept now."""
    return sorted((system.project.directory / ".patchwork/work/warm").glob("*/tree/*"))


def test_a_test_goes_on_where_one_that_passed_ended(system: System) -> None:
    """Only in the directory that is named, over a restart, and not behind a failure."""
    project = system.project
    project.patchwork("config", "set", "test-cmd", COMMAND)
    assert found(printed_by(system, "Cold")) == (0, False)
    project.patchwork("config", "set", "warm-scratch", "build")
    assert found(printed_by(system, "First")) == (0, False)
    assert found(printed_by(system, "Second")) == (1, True)
    assert [path.name for path in kept(system)] == ["build"]
    system.disconnect()
    project.patchwork("serve", "--stop")
    system.start()
    assert found(printed_by(system, "Third")) == (2, True)
    printed_by(system, "Failing", "bad.txt")
    assert kept(system) == []
    assert found(printed_by(system, "Fourth")) == (0, False)
    assert found(printed_by(system, "Fifth")) == (1, True)
    # From now on main has something there.
    assert found(printed_by(system, "Own", "build/count", "70")) == (70, False)
    assert found(printed_by(system, "Sixth")) == (70, False)
    project.patchwork("verify")
