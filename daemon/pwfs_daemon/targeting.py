"""Finds out the targets of what is queued, by the rule of independence that the settings declare.

A command is run as a test is, in a throw-away mounted workspace, and prints targets; whatever it
does else than that (it fails, hangs, prints nothing or something else) makes the targets unknown.
Nobody waits for it: until the answer is stored the change may disagree with all others.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog
import trio

from pwfs.model.errors import PatchworkError
from pwfs.model.ids import EventId, WorkspaceId
from pwfs.model.queue import AttemptState, Member
from pwfs.model.targets import PRINTED_MAX_BYTES, Rule, TargetsUnknown, read_printed
from pwfs.repo.health import guarded
from pwfs.repo.targets import Question
from pwfs_daemon.hosting import Happenings, Host, MountLike
from pwfs_daemon.runner import FOLLOWED
from pwfs_daemon.testproc import Ended, TestOrder, base_variables, run_test

log = structlog.get_logger(__name__)

COMMANDS_MAX = 2
"""So many run at once, beside the tests."""
COMPLAINT_CHARS_MAX = 300


class Settings(Protocol):
    """The settings that matter here."""

    @property
    def rule(self) -> Rule | None: ...
    @property
    def target_timeout_s(self) -> int: ...
    @property
    def test_memory_mb(self) -> int: ...


class TargetRepository(Host, Protocol):
    """What is needed of a repository; each method stores before it returns."""

    @property
    def config(self) -> Settings: ...
    @property
    def log(self) -> Happenings: ...
    def undeclared(self) -> list[Member]: ...
    def ask(self, member: Member) -> Question | None: ...
    def answer(self, question: Question, targets: frozenset[str] | None, detail: str) -> None: ...


@dataclass
class _Command:
    """A command that runs; its files have the number in their names."""

    question: Question
    number: int
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class TargetFinder:
    """Asks the declared rule about what is queued; see the module."""

    def __init__(
        self,
        repo: TargetRepository,
        mount: MountLike,
        *,
        execute: Callable[[TestOrder], Awaitable[Ended]] = run_test,
        open_files: int | None = None,
    ) -> None:
        self._repo = repo
        self._mount = mount
        self._execute = execute
        self._open_files = open_files
        self._serving = repo.health.duty("targets", "targets of changes are not found for now")
        self._directory = repo.state_dir / "work" / "targets"
        self._woken = trio.Event()
        self._seen: EventId | None = None
        self._commands: dict[Member, _Command] = {}
        self._count = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until cancelled; then no command runs any more.

        The queue's runner has cleared away the workspaces of a dead daemon before.
        """
        unsubscribe = self._repo.subscribe(self._wake)
        try:
            await trio.to_thread.run_sync(_clear, self._directory)
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    await self._turn(nursery)
        finally:
            unsubscribe()

    async def _turn(self, nursery: trio.Nursery) -> None:
        self._woken = trio.Event()
        with self._serving.attempt() as attempt:
            if self._is_concerned():
                self._look(nursery)
        if attempt.error is not None:
            self._seen = None
            await trio.sleep(self._serving.pause_s())
        else:
            await self._woken.wait()

    def _wake(self) -> None:
        self._woken.set()

    def _is_concerned(self) -> bool:
        before, self._seen = self._seen, self._repo.log.last_event_id()
        return before is None or bool(self._repo.log.events(before, types=FOLLOWED, limit=1))

    def _look(self, nursery: trio.Nursery) -> None:
        """Ends what nobody asks any more, and asks what is next."""
        wanted = self._repo.undeclared()
        for member, command in self._commands.items():
            if member not in wanted or command.question.rule != self._repo.config.rule:
                command.scope.cancel()
        for member in wanted:
            if len(self._commands) >= COMMANDS_MAX:
                break
            if member not in self._commands:
                question = self._repo.ask(member)
                if question is not None:
                    self._count += 1
                    command = self._commands[member] = _Command(question, self._count)
                    nursery.start_soon(self._run_command, command)

    async def _run_command(self, command: _Command) -> None:
        member = command.question.member
        try:
            with command.scope:
                targets, detail = await self._perform(command)
                is_stored = False
                while not is_stored:
                    is_stored = self._answer(command.question, targets, detail)
                    await trio.sleep(self._serving.pause_s(member.change_id))
        finally:
            self._serving.forget(member.change_id)
            del self._commands[member]
            for path in self._paths(command):
                _remove(path)
            # Another may have its place now.
            self._seen = None
            self._wake()

    def _answer(self, question: Question, targets: frozenset[str] | None, detail: str) -> bool:
        """Stores an answer; returns whether it is stored, or worth another try."""
        with self._serving.attempt(about=question.member.change_id) as attempt:
            self._repo.answer(question, targets, detail)
        return attempt.error is None

    async def _perform(self, command: _Command) -> tuple[frozenset[str] | None, str]:
        """Runs a command; returns the targets, or None and why there are none."""
        repo, question = self._repo, command.question
        output, complaints, paths = self._paths(command)
        try:
            await trio.to_thread.run_sync(_write_paths, paths, question)
            workspace = repo.create_test_workspace(f"test-targets-{command.number}", question.root)
            try:
                await repo.settled()
                ended = await self._execute(self._order(command, workspace.id))
            finally:
                repo.destroy_workspace(workspace.id)
            return await trio.to_thread.run_sync(_understand, ended, output, complaints), ""
        except TargetsUnknown as error:
            return None, str(error)
        except (PatchworkError, OSError) as error:
            return None, f"target-cmd could not be run: {error}"
        except Exception as error:
            log.exception(
                "targets could not be found for a defect", change=question.member.change_id
            )
            return None, f"target-cmd could not be run: {error!r}"

    def _order(self, command: _Command, workspace_id: WorkspaceId) -> TestOrder:
        question = command.question
        output, complaints, paths = self._paths(command)
        return TestOrder(
            command=question.rule.text,
            directory=self._mount.path_of(workspace_id),
            subdirectory=".",
            variables={
                **base_variables(),
                "PATCHWORK_CHANGE": question.member.change_id,
                "PATCHWORK_VERSION": str(question.member.version),
                "PATCHWORK_PATHS": str(paths),
            },
            log=output,
            time_limit_s=self._repo.config.target_timeout_s,
            memory_mb=self._repo.config.test_memory_mb,
            open_files=self._open_files,
            error_log=complaints,
            log_half_bytes_max=PRINTED_MAX_BYTES,
        )

    def _paths(self, command: _Command) -> tuple[Path, Path, Path]:
        """Where a command's output and complaints go, and the paths that its change touches."""
        stem = self._directory / str(command.number)
        return stem.with_suffix(".out"), stem.with_suffix(".err"), stem.with_suffix(".paths")


def _understand(ended: Ended, output: Path, complaints: Path) -> frozenset[str]:
    if ended.state is not AttemptState.PASSED:
        what = ended.detail.replace("the test command", "it").replace("the test", "target-cmd", 1)
        said = complaints.read_bytes() if complaints.exists() else b""
        last = said.decode("utf-8", "replace").strip().rpartition("\n")[2][:COMPLAINT_CHARS_MAX]
        raise TargetsUnknown(f"{what}: {last}" if last else what)
    with output.open("rb") as file:
        return read_printed(file.read(PRINTED_MAX_BYTES + 1))


def _write_paths(place: Path, question: Question) -> None:
    if any("\n" in path for path in question.paths):
        raise TargetsUnknown("a path that it touches has a line break in its name")
    place.write_text("".join(f"{path}\n" for path in question.paths))


def _clear(directory: Path) -> None:
    """Makes the directory of outputs, without what a dead daemon left in it."""
    directory.mkdir(parents=True, exist_ok=True)
    for left in directory.iterdir():
        left.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    with guarded(log, "what a command printed is not removed", path=str(path)):
        path.unlink(missing_ok=True)
