"""What the daemon does beside answering fails without ending it, says so, and is tried again."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from pwfs.model.events import EventType
from pwfs.model.exits import ExitCode
from pwfs.model.ids import Seq
from pwfs.repo.health import PAUSE_S_MAX, Health
from pwfs.repo.repository import Repository
from pwfs_daemon.flusher import keep_on_disk
from pwfs_daemon.watcher import watch_conflicts
from tests.repo.support import make_repository, write
from tests.support.damage import damage
from tests.support.project import Project

BASE = "".join(f"{number}\n" for number in range(9))


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    """A repository with two open changes, a workspace on each."""
    opened = make_repository(tmp_path / "project", {"same": "base\n"})
    for name in ("one", "two"):
        change = opened.create_change(name, author="tester")
        opened.create_workspace(change.id, agent="tester")
    yield opened
    opened.close()


def told(repo: Repository) -> list[str]:
    """The paths of the conflicts that were published."""
    events = repo.events(types=[EventType.CONFLICT_DETECTED])
    return [str(event.payload["path"]) for event in events]


def meet(repo: Repository, path: str) -> None:
    """Has both changes write something else into a file."""
    for workspace in repo.workspaces():
        write(repo, workspace.id, path, workspace.id)


@pytest.mark.allow_log("conflicts are not looked for")
async def test_a_defect_of_the_comparison(
    repo: Repository, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """One path that cannot be compared hides no other, and is compared when it can be."""
    is_broken = True
    detect = repo.detect_conflicts
    tries: list[float] = []

    def broken(change_id: str, paths: Any = None) -> None:
        if is_broken and "broken" in (paths or ()):
            tries.append(trio.current_time())
            raise KeyError("a defect")
        detect(change_id, paths)

    monkeypatch.setattr(repo, "detect_conflicts", broken)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_conflicts, repo)
        await trio.testing.wait_all_tasks_blocked()
        meet(repo, "broken")
        await trio.sleep(100)
        # Each is tried at once, and then ever less often.
        assert 10 < len(tries) < 20
        meet(repo, "other")
        await trio.testing.wait_all_tasks_blocked()
        assert told(repo) == ["other"]
        troubles = repo.health.troubles()
        assert {(t.task, t.about) for t in troubles} == {("conflicts", "one"), ("conflicts", "two")}
        assert {t.error for t in troubles} == {"'a defect'"}
        is_broken = False
        await trio.sleep(PAUSE_S_MAX + 1)
        assert told(repo) == ["other", "broken"]
        assert repo.health.troubles() == []
        nursery.cancel_scope.cancel()


@pytest.mark.allow_log("the log is not followed")
async def test_a_log_that_cannot_be_read(
    repo: Repository, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """The watcher goes on where it was once the log can be read again."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_conflicts, repo)
        await trio.testing.wait_all_tasks_blocked()
        with monkeypatch.context() as patched:

            def unreadable(*_: Any, **__: Any) -> list[Any]:
                raise OSError("Input/output error")

            patched.setattr(repo, "events", unreadable)
            meet(repo, "same")
            await trio.sleep(10)
            assert [t.error for t in repo.health.troubles()] == ["Input/output error"]
        await trio.sleep(PAUSE_S_MAX)
        assert told(repo) == ["same"]
        assert repo.health.troubles() == []
        nursery.cancel_scope.cancel()


@pytest.mark.allow_log("not put on disk")
async def test_a_disk_that_does_not_take_it(
    repo: Repository, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """Putting on disk is tried until it succeeds, for a defect of ours too."""
    failures = [OSError("Input/output error"), ValueError("a defect")]
    send, done = trio.open_memory_channel[Seq](10)

    def put_on_disk(seq: Seq) -> None:
        if failures:
            raise failures.pop()
        trio.from_thread.run_sync(send.send_nowait, seq)

    monkeypatch.setattr(repo, "put_on_disk", put_on_disk)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_on_disk, repo)
        await trio.testing.wait_all_tasks_blocked()
        meet(repo, "same")
        await done.receive()
        meet(repo, "another")
        await done.receive()
        assert repo.health.troubles() == []
        nursery.cancel_scope.cancel()


@pytest.mark.allow_log("a task fails")
def test_pauses_grow_to_a_limit() -> None:
    """1, 2, 4 ... 60 seconds; a success ends it, and what ends a task is not swallowed."""
    health = Health()
    duty = health.duty("task", "a task fails")
    pauses = []
    for _ in range(8):
        with duty.attempt("part"):
            raise OSError("no")
        pauses.append(duty.pause_s("part"))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [trouble.failures for trouble in health.troubles()] == [8]
    with duty.attempt("other"):
        pass
    with pytest.raises(KeyboardInterrupt), duty.attempt("other"):
        raise KeyboardInterrupt
    assert [trouble.about for trouble in health.troubles()] == ["part"]
    with duty.attempt("part"):
        pass
    assert health.troubles() == []
    assert duty.pause_s("part") == 0


def test_a_damaged_content_is_told_and_mended(project: Project) -> None:
    """The API, ``status`` and ``doctor`` say what is not compared; storing the content helps."""
    for name in ("One", "Two"):
        change = project.json("change", "create", name)["id"]
        project.patchwork("workspace", "create", change, f"ws-{change}")
    for number, name in enumerate(("one", "two")):
        lines = BASE.splitlines(keepends=True)
        lines[number * 8] = f"{name}\n"
        (project.directory / f"ws-{name}" / "merged").write_text("".join(lines))
    found = project.json("log", "--path", "merged")["ops"]
    project.patchwork("serve", "--stop")
    blob = str(found[0]["content_hash"])
    file = project.state_dir / "blobs" / blob[:2] / blob[2:]
    content = file.read_bytes()
    damage("flipped", file)
    project.expected_log += ["conflicts are not looked for", "damaged"]
    project.patchwork("status")
    with project.api() as api:

        def health(status: str) -> list[dict[str, Any]]:
            deadline = time.monotonic() + 30
            while (answer := api.get("health").json())["status"] != status:
                assert time.monotonic() < deadline, answer
                time.sleep(0.05)
            troubles: list[dict[str, Any]] = answer["troubles"]
            return troubles

        trouble = health("degraded")[0]
        assert blob in trouble["error"]
        lines = project.patchwork("status").lines
        assert any(line.startswith(f"Trouble: {trouble['what']}") for line in lines)
        assert blob in project.patchwork("doctor", status=ExitCode.UNAVAILABLE).stdout
        assert api.post("blobs", content=content).status_code == 201
        assert health("ok") == []
