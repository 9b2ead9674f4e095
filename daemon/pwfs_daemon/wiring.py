"""Fits the queue's runner to the repository and the mount, none of which knows the others."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pwfs.model.changes import Landing
from pwfs.model.ids import AttemptId, BlobHash, ChangeId, ItemId, Seq, TreeHash, WorkspaceId
from pwfs.model.paths import RepoPath, split
from pwfs.model.queue import Attempt, AttemptState, EjectReason, Member, QueueItem, TestKey
from pwfs.model.views import Workspace
from pwfs.repo import Repository
from pwfs.repo.config import Config
from pwfs.repo.health import Health
from pwfs.repo.landings import Candidate
from pwfs.repo.targets import Question
from pwfs.store.protocols import BlobStore, LogStore
from pwfs.submit import Snapshot, hash_environment
from pwfs.views.trees import Subtree, lookup
from pwfs_daemon.testproc import base_variables


def environment_hash(config: Config) -> str:
    """Names what else than the tree and the command a test's result depends on."""
    return hash_environment({**base_variables(), "test_dir": config.test_dir})


class WorkspacePaths:
    """Where workspaces are in a mount."""

    def __init__(self, mountpoint: Path) -> None:
        self._mountpoint = mountpoint

    def path_of(self, workspace_id: WorkspaceId) -> Path:
        """The directory that shows a workspace."""
        return self._mountpoint / "ws" / workspace_id


class RunnerRepository:
    """A repository as the runner wants it: the queue's part, the test workspaces included."""

    def __init__(self, repo: Repository) -> None:
        self._repo = repo

    @property
    def state_dir(self) -> Path:
        """The repository's own directory."""
        return self._repo.state_dir

    @property
    def health(self) -> Health:
        """The troubles of tasks."""
        return self._repo.health

    @property
    def config(self) -> Config:
        """The settings as they are now."""
        return self._repo.config

    @property
    def blobs(self) -> BlobStore:
        """The contents."""
        return self._repo.blobs

    @property
    def log(self) -> LogStore:
        """The records."""
        return self._repo.log

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """See `Repository.subscribe`."""
        return self._repo.subscribe(callback)

    async def settled(self) -> None:
        """See `Repository.settled`."""
        await self._repo.settled()

    def queue_snapshot(self) -> Snapshot:
        """Reads the queue for the environment that tests run in now."""
        return self._repo.queue_snapshot(environment_hash=environment_hash(self._repo.config))

    def candidate(self, base_seq: Seq, members: Sequence[Member]) -> Candidate:
        """See `Repository.candidate`."""
        return self._repo.candidate(base_seq, members)

    def test_time_limit_s(self, command: str) -> float:
        """See `Repository.test_time_limit_s`."""
        return self._repo.test_time_limit_s(command)

    def recover_attempts(self) -> None:
        """See `Repository.recover_attempts`."""
        self._repo.recover_attempts()

    def start_attempt(
        self, item: QueueItem, base_seq: Seq, stack: Sequence[Member], key: TestKey
    ) -> Attempt:
        """See `Repository.start_attempt`."""
        return self._repo.start_attempt(item, base_seq, stack, key)

    def finish_attempt(
        self,
        attempt_id: AttemptId,
        state: AttemptState,
        exit_code: int | None,
        output_hash: BlobHash | None,
        detail: str,
    ) -> Attempt:
        """See `Repository.finish_attempt`."""
        return self._repo.finish_attempt(attempt_id, state, exit_code, output_hash, detail)

    def reuse_attempt(
        self,
        item: QueueItem,
        base_seq: Seq,
        stack: Sequence[Member],
        key: TestKey,
        source_attempt_id: AttemptId,
        independent_of: Sequence[ChangeId] = (),
    ) -> Attempt:
        """See `Repository.reuse_attempt`."""
        return self._repo.reuse_attempt(
            item, base_seq, stack, key, source_attempt_id, independent_of
        )

    def undeclared(self) -> list[Member]:
        """See `Repository.undeclared`."""
        return self._repo.undeclared()

    def ask(self, member: Member) -> Question | None:
        """See `Repository.ask`."""
        return self._repo.ask(member)

    def answer(self, question: Question, targets: frozenset[str] | None, detail: str) -> None:
        """See `Repository.answer`."""
        self._repo.answer(question, targets, detail)

    def land_item(
        self, item_id: ItemId, attempt_id: AttemptId, with_ids: Sequence[ItemId] = ()
    ) -> list[Landing]:
        """See `Repository.land_item`."""
        return self._repo.land_item(item_id, attempt_id, with_ids)

    def eject(self, item_id: ItemId, reason: EjectReason, detail: str) -> QueueItem:
        """See `Repository.eject`."""
        return self._repo.eject(item_id, reason, detail)

    def create_test_workspace(self, name: str, root: TreeHash) -> Workspace:
        """See `Repository.create_test_workspace`."""
        return self._repo.create_test_workspace(name, root)

    def destroy_workspace(self, workspace_id: WorkspaceId) -> None:
        """See `Repository.destroy_workspace`."""
        self._repo.destroy_workspace(workspace_id)

    def has_room(self, root: TreeHash, path: RepoPath) -> bool:
        """Whether a tree has the directory that a path is in, and nothing at the path."""
        trees = self._repo.trees
        above, _ = split(path)
        return isinstance(lookup(trees, root, above), Subtree) and lookup(trees, root, path) is None

    def workspaces(self) -> list[Workspace]:
        """Lists all workspaces, the tests' too."""
        return self._repo.workspaces(tests=True)
