"""Promise 4 for the whole: the daemon is killed while agents write, again and again."""

import os
import signal
from pathlib import Path

import pytest

from tests.system.agent import Agent
from tests.system.crashes import Worker, crash, kill_under_co_workers
from tests.system.filetree import tree_of
from tests.system.people import System


def workers_in(system: System, directory: Path, number: int) -> list[Worker]:
    """Agents, each on a change of its own; the last one holds a file open."""
    found: list[Worker] = []
    for index in range(number):
        change = system.change(f"Agent {index}")
        workspace = system.workspace(change)
        holds = index == number - 1
        tree = tree_of(workspace)
        found.append(Worker(system, change, workspace, directory / f"{index}", holds, tree))
    return found


def test_no_save_is_lost_when_the_daemon_is_killed(
    system: System, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Three crashes under four agents.

    Every save whose close had returned is in the mount and in the log, in its order, byte for byte;
    what was written to open files is recovered, and marked so; a watcher that comes back after each
    crash sees every event once.
    """
    seed = int(request.config.getoption("hypothesis_seed"))
    actions = crash(system, workers_in(system, tmp_path, 4), times=3, seed=seed)
    assert actions >= 15


def test_two_names_that_a_crash_left_stay_one_file(system: System, tmp_path: Path) -> None:
    """A kill between link and unlink leaves hard links; they are one file across the next crash.

    What is saved by one name is at the other, too, and logged for both.
    """
    worker, _ = workers_in(system, tmp_path, 2)
    old, new = worker.workspace / "README.md", worker.workspace / "new"
    with worker.journal.open("w") as journal:
        agent = Agent(worker.workspace, journal, seed=1)
        agent.note(["will", ["relink", "README.md", "new", 0, 0]])
        os.link(old, new)
    system.project.kill(signal.SIGKILL)
    system.start()
    worker.compare()
    assert worker.tree.linked("new") == ["README.md", "new"]
    with worker.journal.open("w") as journal:
        agent = Agent(worker.workspace, journal, seed=2)
        for action in (("append", "new", "", 3, 500), ("over", "new", "README.md", 0, 0)):
            agent.note(["will", action])
            agent.act(action)
            agent.note(["did"])
    assert {"README.md", "new"} <= {*agent.files}
    system.project.kill(signal.SIGKILL)
    system.start()
    worker.compare()
    assert worker.tree.linked("new") == ["README.md", "new"]


def test_a_kill_leaves_nobody_hanging(system: System) -> None:
    """Whatever the daemon was telling the kernel, programs get an error and the daemon is gone.

    Co-workers make and rename files in one directory that both show, so that the daemon is always
    about to tell one of what the other did.
    """
    kill_under_co_workers(system, times=3)
