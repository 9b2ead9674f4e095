"""A test command's process: what it sees, how it ends, and that nothing of it is left."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from pwfs.model.queue import AttemptState
from pwfs_daemon import testproc
from pwfs_daemon.testproc import Ended, TestOrder, base_variables, run_test

MakeOrder = Callable[..., TestOrder]


@pytest.fixture
def order(tmp_path: Path) -> MakeOrder:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)

    def make(
        command: str, *, subdirectory: str = ".", time_limit_s: float = 20, memory_mb: int = 0
    ) -> TestOrder:
        return TestOrder(
            command=command,
            directory=tree,
            subdirectory=subdirectory,
            variables={**base_variables(), "PATCHWORK_CHANGE": "add-x"},
            log=tmp_path / "output.log",
            time_limit_s=time_limit_s,
            grace_s=0.3,
            memory_mb=memory_mb,
        )

    return make


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while True:
            if condition():
                return
            await trio.sleep(0.01)


async def written(file: Path) -> str:
    """Waits until the file holds a line."""

    def is_written() -> bool:
        return file.exists() and file.read_text().endswith("\n")

    await until(is_written)
    return await trio.Path(file).read_text()


async def test_passes(order: MakeOrder, tmp_path: Path) -> None:
    """Exit code 0 passes; standard output and error are kept in order."""
    ended = await run_test(order("echo one; echo two >&2; pwd"))
    assert ended == Ended(AttemptState.PASSED, 0)
    assert (tmp_path / "output.log").read_text() == f"one\ntwo\n{tmp_path}/tree\n"


async def test_fails(order: MakeOrder) -> None:
    """Any other exit code fails, and is told."""
    ended = await run_test(order("exit 3"))
    assert ended == Ended(AttemptState.FAILED, 3, "the test ended with exit code 3")


async def test_missing_command_fails_with_a_clear_detail(order: MakeOrder, tmp_path: Path) -> None:
    """A command that does not exist is the configuration's or the change's fault, and named."""
    ended = await run_test(order("no-such-command --all"))
    assert ended.state is AttemptState.FAILED
    assert ended.exit_code == 127
    assert "not found" in ended.detail
    assert "no-such-command --all" in ended.detail
    assert "no-such-command" in (tmp_path / "output.log").read_text()


async def test_killed_by_a_signal(order: MakeOrder) -> None:
    """A test that is killed from outside fails, and the signal is told."""
    ended = await run_test(order("kill -9 $$"))
    assert ended == Ended(AttemptState.FAILED, 137, "the test was killed by signal 9")


async def test_directory_to_test_in(order: MakeOrder, tmp_path: Path) -> None:
    """The command runs in the configured directory; a tree without it fails."""
    ended = await run_test(order("pwd", subdirectory="sub"))
    assert ended.state is AttemptState.PASSED
    assert (tmp_path / "output.log").read_text() == f"{tmp_path}/tree/sub\n"
    ended = await run_test(order("pwd", subdirectory="none"))
    assert ended.state is AttemptState.FAILED
    assert "'none'" in ended.detail


async def test_tree_that_cannot_be_entered(order: MakeOrder, tmp_path: Path) -> None:
    """A mount that is not there is the infrastructure's fault."""
    wanted = order("true")
    (tmp_path / "tree" / "sub").rmdir()
    (tmp_path / "tree").rmdir()
    ended = await run_test(wanted)
    assert ended.state is AttemptState.ERROR
    assert "could not be started" in ended.detail


async def test_environment_is_clean(order: MakeOrder, tmp_path: Path) -> None:
    """Nothing of the daemon's environment comes through; HOME and TMPDIR go with the test."""
    os.environ["PATCHWORK_SECRET"] = "x"
    try:
        await run_test(order("env; touch $HOME/a $TMPDIR/b; cat; exit 0"))
    finally:
        del os.environ["PATCHWORK_SECRET"]
    lines = (tmp_path / "output.log").read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines)
    for name in ("PWD", "_", "SHLVL", "OLDPWD"):
        found.pop(name, None)
    assert set(found) == {"PATH", "LANG", "CI", "PATCHWORK_CHANGE", "HOME", "TMPDIR"}
    assert not await trio.Path(found["HOME"]).exists()
    assert not await trio.Path(found["TMPDIR"]).exists()


async def test_time_limit(order: MakeOrder, tmp_path: Path) -> None:
    """A test over its limit is ended, with what it wrote until then."""
    ended = await run_test(order("echo begun; sleep 60", time_limit_s=0.7))
    assert ended.state is AttemptState.TIMED_OUT
    assert "0.7 s" in ended.detail
    assert (tmp_path / "output.log").read_text() == "begun\n"


@pytest.mark.parametrize(("memory_mb", "state"), [(0, "passed"), (64, "failed")])
async def test_memory_limit(order: MakeOrder, tmp_path: Path, memory_mb: int, state: str) -> None:
    """What is beyond it is refused to a process, as it would be by a full machine."""
    command = f"{sys.executable} -c 'bytearray(100 << 20)'"
    assert (await run_test(order(command, memory_mb=memory_mb))).state == AttemptState(state)
    assert ("MemoryError" in (tmp_path / "output.log").read_text()) == bool(memory_mb)


async def test_several_processes_share_the_memory_limit(order: MakeOrder, tmp_path: Path) -> None:
    """Each within it, all together beyond: they are killed, and it is told. What is shared counts once."""
    hold = "import time; kept = bytearray(40 << 20); time.sleep(60)"
    command = f"for n in 1 2 3; do {sys.executable} -c '{hold}' & echo $!; done; wait"
    ended = await run_test(order(command, memory_mb=80))
    assert ended.state is AttemptState.FAILED
    assert "more than the 80 MB" in ended.detail
    assert not any(is_alive(int(pid)) for pid in (tmp_path / "output.log").read_text().split())
    fork = (
        "import os, time; kept = bytearray(40 << 20); [os.fork() for _ in range(2)]; time.sleep(1)"
    )
    shared = await run_test(order(f"{sys.executable} -c '{fork}'", memory_mb=80))
    assert shared.state is AttemptState.PASSED


async def test_processes_that_run_on_are_ended(order: MakeOrder, tmp_path: Path) -> None:
    """Background processes end with the test, also those in sessions of their own."""
    command = "sleep 61 & echo $!; setsid sh -c 'echo $$; exec sleep 62' & sleep 0.3; exit 0"
    ended = await run_test(order(command))
    assert ended.state is AttemptState.PASSED
    pids = [int(line) for line in (tmp_path / "output.log").read_text().split()]
    assert len(pids) == 2
    assert not any(is_alive(pid) for pid in pids)


async def test_stubborn_processes_are_killed(order: MakeOrder, tmp_path: Path) -> None:
    """Who ignores SIGTERM is killed after the grace."""
    command = "trap '' TERM; echo $$; while :; do sleep 1; done"
    ended = await run_test(order(command, time_limit_s=0.7))
    assert ended.state is AttemptState.TIMED_OUT
    assert not is_alive(int((tmp_path / "output.log").read_text().split()[0]))


async def test_cancelled_test_is_ended_before_the_call_returns(
    order: MakeOrder, tmp_path: Path
) -> None:
    """Cancelling ends all processes, giving them the chance to clean up."""
    command = "trap 'echo bye; exit' TERM; sleep 63 & echo $$ $!; wait"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_test, order(command))
        pids = [int(pid) for pid in (await written(tmp_path / "output.log")).split()]
        assert all(is_alive(pid) for pid in pids)
        nursery.cancel_scope.cancel()
    assert not any(is_alive(pid) for pid in pids)
    assert (tmp_path / "output.log").read_text().endswith("bye\n")


async def test_output_is_bounded(
    order: MakeOrder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a long output the beginning and the end are kept, and what is missing is said."""
    monkeypatch.setattr(testproc, "LOG_HALF_BYTES_MAX", 1000)
    await run_test(order("seq 1 100000"))
    output = (tmp_path / "output.log").read_text()
    assert len(output) < 2100
    assert output.startswith("1\n2\n3\n")
    assert output.endswith("99999\n100000\n")
    assert "586895 bytes are left out" in output.replace("\n", " ")


async def test_output_can_be_read_while_it_grows(order: MakeOrder, tmp_path: Path) -> None:
    """The output is in the file as soon as the test wrote it."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_test, order("echo first; sleep 64"))
        assert await written(tmp_path / "output.log") == "first\n"
        nursery.cancel_scope.cancel()


DAEMON = """
import sys, trio
from pathlib import Path
from pwfs_daemon.testproc import TestOrder, run_test
tree, log = map(Path, sys.argv[1:])
trio.run(run_test, TestOrder(
    command="echo $$; sleep 65", directory=tree, subdirectory=".", variables={}, log=log,
    time_limit_s=60, grace_s=0.3,
))
"""


async def test_killed_daemon_takes_its_tests_along(order: MakeOrder, tmp_path: Path) -> None:
    """When the daemon is killed nobody cancels its tests; they end all the same."""
    log = tmp_path / "output.log"
    daemon = await trio.lowlevel.open_process(
        [sys.executable, "-c", DAEMON, str(order("").directory), str(log)]
    )
    pid = int(await written(log))
    daemon.kill()
    await daemon.wait()
    await until(lambda: not is_alive(pid))
