"""Where a workspace stands: what its change makes of what is below, and what is not settled yet."""

from dataclasses import dataclass

from pwfs.model.changes import ChangeStatus
from pwfs.model.ids import AgentId, ChangeId, Seq, WorkspaceId
from pwfs.model.paths import RepoPath
from pwfs.model.queue import QueueItem
from pwfs.model.views import BaseType, ConflictType


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """One file that differs from what is below the change; ``status`` as in a diff."""

    path: RepoPath
    old_path: RepoPath | None
    status: str


@dataclass(frozen=True, slots=True)
class StandingConflict:
    """A conflict that the workspace shows, with main if ``their_change`` is None."""

    path: RepoPath
    type: ConflictType
    their_change: ChangeId | None


@dataclass(frozen=True, slots=True)
class LargeFile:
    """A file above ``max-blob-mb``, which stays with the workspace."""

    path: RepoPath
    size: int


@dataclass(frozen=True, slots=True)
class Unsettled:
    """What of a workspace's files the log does not have.

    ``open`` are versioned files that programs may be writing, ``pending`` those with something that
    could not be logged so far, ``not_logged`` those that are too large for it.
    """

    open: tuple[RepoPath, ...] = ()
    pending: tuple[RepoPath, ...] = ()
    not_logged: tuple[LargeFile, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkspaceStatus:
    """A workspace at a glance.

    ``base_seq`` is the landing that it stands on, ``main_seq`` the newest. ``unfrozen`` counts the
    operations that no version holds, ``queue`` is the item that the change is queued in. ``open``, ``pending`` and ``not_logged`` are `Unsettled`'s.
    """

    workspace_id: WorkspaceId
    agent_id: AgentId
    directory: str | None
    read_only: bool
    change_id: ChangeId
    title: str
    status: ChangeStatus
    current_version: int
    unfrozen: int
    base_type: BaseType
    base_seq: Seq
    main_seq: Seq
    files: tuple[ChangedFile, ...]
    conflicts: tuple[StandingConflict, ...]
    open: tuple[RepoPath, ...]
    pending: tuple[RepoPath, ...]
    not_logged: tuple[LargeFile, ...]
    queue: QueueItem | None
