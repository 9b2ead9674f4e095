"""What whoever runs commands on trees needs of the repository and the mount."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

from pwfs.model.events import Event, EventType
from pwfs.model.ids import EventId, TreeHash, WorkspaceId
from pwfs.model.views import Workspace
from pwfs.repo.health import Health


class Happenings(Protocol):
    """What happened since."""

    def last_event_id(self) -> EventId: ...
    def events(
        self, since: EventId, *, types: Collection[EventType] | None = None, limit: int = 1000
    ) -> list[Event]: ...


class Host(Protocol):
    """A repository that wakes who follows it, and shows trees; each method is atomic."""

    @property
    def state_dir(self) -> Path: ...
    @property
    def health(self) -> Health: ...
    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]: ...
    async def settled(self) -> None: ...
    def create_test_workspace(self, name: str, root: TreeHash) -> Workspace: ...
    def destroy_workspace(self, workspace_id: WorkspaceId) -> object: ...


class MountLike(Protocol):
    """Where workspaces are."""

    def path_of(self, workspace_id: WorkspaceId) -> Path: ...
