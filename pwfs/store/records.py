"""The protocols of what is kept beside the operations; `pwfs.store.protocols` puts them together."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from pwfs.model.events import Event, EventType
from pwfs.model.ids import (
    AgentId,
    AttemptId,
    ChangeId,
    EventId,
    ItemId,
    Seq,
    TreeHash,
    ViewId,
    WorkspaceId,
)
from pwfs.model.paths import RepoPath
from pwfs.model.queue import (
    Attempt,
    AttemptState,
    Certificate,
    Closing,
    ItemState,
    Member,
    QueueItem,
    StoredCertificate,
    TestKey,
)
from pwfs.model.targets import Declaration
from pwfs.model.views import View, Workspace


class TreeStore(Protocol):
    """Directory listings and finished merges by their hashes: derived, so they may be lost."""

    def tree(self, tree_hash: TreeHash) -> bytes | None:
        """Returns a tree's encoding."""

    def put_trees(self, trees: Mapping[TreeHash, bytes]) -> None:
        """Stores trees; those already there stay as they are."""

    def tree_hashes(self) -> Iterator[TreeHash]:
        """Names every tree, in no order."""

    def merge_result(self, base: str | None, theirs: str, yours: str) -> bytes | None:
        """Returns what was kept for a merge of three contents (``base`` None: no base)."""

    def put_merge_result(self, base: str | None, theirs: str, yours: str, result: bytes) -> None:
        """Keeps a merge's result, in place of an earlier one."""


class ViewStore(Protocol):
    """Views."""

    def insert_view(self, view: View) -> None:
        """Stores a view.

        Raises:
            AlreadyExists: the id is taken.
        """

    def view(self, view_id: ViewId) -> View | None:
        """Finds a view."""

    def views(self, owner: AgentId | None = None) -> list[View]:
        """Lists views, oldest first."""

    def update_view(self, view: View) -> None:
        """Replaces a view.

        Raises:
            NotFound: there is no such view.
        """

    def delete_view(self, view_id: ViewId) -> None:
        """Removes a view.

        Raises:
            NotFound: there is no such view.
        """


class WorkspaceStore(Protocol):
    """Workspaces and what is theirs alone: attributes that are not versioned."""

    def insert_workspace(self, workspace: Workspace) -> None:
        """Stores a workspace.

        Raises:
            AlreadyExists: the id is taken.
        """

    def workspace(self, workspace_id: WorkspaceId) -> Workspace | None:
        """Finds a workspace."""

    def workspaces(self) -> list[Workspace]:
        """Lists workspaces, oldest first."""

    def update_workspace(self, workspace: Workspace) -> None:
        """Replaces a workspace.

        Raises:
            NotFound: there is no such workspace.
        """

    def delete_workspace(self, workspace_id: WorkspaceId) -> None:
        """Removes a workspace with its attributes.

        Raises:
            NotFound: there is no such workspace.
        """

    def attr_rows(self, workspace_id: WorkspaceId) -> dict[RepoPath, bytes]:
        """Returns all the workspace's attribute rows; the bytes are the mount's own."""

    def put_attr(self, workspace_id: WorkspaceId, path: RepoPath, attrs: bytes) -> None:
        """Stores a path's attributes, in place of earlier ones."""

    def put_attrs(self, workspace_id: WorkspaceId, rows: Mapping[RepoPath, bytes]) -> None:
        """Stores many in one step."""

    def move_attrs(self, workspace_id: WorkspaceId, old: RepoPath, new: RepoPath) -> None:
        """Moves the row of a path and those of all paths below it.

        Rows that are at the target, or below it, are replaced: they go, all of them.
        """

    def delete_attr(self, workspace_id: WorkspaceId, path: RepoPath) -> None:
        """Removes one path's row, if there is one."""


class EventStore(Protocol):
    """Events, numbered without gaps."""

    def append_event(
        self, event_type: EventType, payload: Mapping[str, object], timestamp: datetime
    ) -> Event:
        """Numbers and stores an event; `OpLog.append_ops` makes those of operations itself."""

    def events(
        self, since: int = 0, types: Collection[EventType] | None = None, limit: int = 1000
    ) -> list[Event]:
        """Lists the events with ``id > since`` and one of the types, oldest first.

        The payload of an ``op_appended`` is `pwfs.store.codec.op_record` of the operation.
        """

    def last_event_id(self) -> EventId:
        """Returns the newest event's number, 0 at first."""


class QueueStore(Protocol):
    """The submit queue's items, attempts and switches."""

    def insert_item(
        self,
        members: Sequence[Member],
        *,
        priority: int,
        agent_id: AgentId,
        entered_at: datetime,
        resubmits: int = 0,
        share: int = 0,
    ) -> QueueItem:
        """Numbers and stores an item, queued; numbers rise from 1."""

    def update_item(self, item: QueueItem) -> None:
        """Replaces an item.

        Raises:
            NotFound: there is no such item.
        """

    def item(self, item_id: ItemId) -> QueueItem | None:
        """Finds an item."""

    def items(self, states: Collection[ItemState] | None = None) -> list[QueueItem]:
        """Lists items by their numbers."""

    def landed_times(self, since: datetime) -> list[datetime]:
        """When items landed after a moment, ascending."""

    def decided_items(self, limit: int) -> list[QueueItem]:
        """Lists those that landed or were ejected of the items submitted last, oldest first."""

    def insert_attempt(
        self,
        item_id: ItemId,
        *,
        base_seq: Seq,
        stack: Sequence[Member],
        key: TestKey,
        started_at: datetime,
    ) -> Attempt:
        """Numbers and stores an attempt, running; numbers rise from 1."""

    def update_attempt(self, attempt: Attempt) -> None:
        """Replaces an attempt.

        Raises:
            NotFound: there is no such attempt.
        """

    def attempt(self, attempt_id: AttemptId) -> Attempt | None:
        """Finds an attempt."""

    def attempts(
        self,
        item_id: ItemId | None = None,
        *,
        states: Collection[AttemptState] | None = None,
        containing: Member | None = None,
    ) -> list[Attempt]:
        """Lists attempts, oldest first; those with a version in what was tested, if one is given."""

    def passed_attempt(self, key: TestKey, *, oldest: bool = False) -> Attempt | None:
        """Finds the newest attempt of a tree itself that passed under a key, or the oldest."""

    def controls(self, key: TestKey) -> list[Attempt]:
        """Lists the tests of a tree as main, without any item, under a key, oldest first."""

    def passed_durations_s(self, command: str, limit: int) -> list[float]:
        """How long the last tests took that a command ran and that passed, newest first."""

    def insert_certificate(self, certificate: Certificate) -> str:
        """Stores a certificate for good; returns its digest."""

    def certificates(self, attempt_id: AttemptId | None = None) -> list[StoredCertificate]:
        """Lists certificates, oldest first: all, or an attempt's.

        Raises:
            Corrupt: one cannot be read.
        """

    def last_certificate(self) -> tuple[int, str]:
        """The number and digest of the newest certificate; ``(0, '')`` for none."""

    def queue_flag(self, name: str) -> bool:
        """Reads a switch of the queue, such as ``paused``; off until set."""

    def set_queue_flag(self, name: str, on: bool) -> None:
        """Sets a switch."""

    def closing(self) -> Closing | None:
        """Who closed the tree, None while it is open."""

    def set_closing(self, closing: Closing | None) -> None:
        """Closes the tree, or opens it."""


class TargetStore(Protocol):
    """What declared rules told of versions; it stays as it was told."""

    def insert_declaration(self, declaration: Declaration) -> None:
        """Stores what a rule told of a version, of which it had told nothing yet."""

    def declaration(self, change_id: ChangeId, version: int, rule: str) -> Declaration | None:
        """Finds what the rule of a digest told of a version."""
