"""What the routes work with, and the two barriers of promise 7 around it."""

from pathlib import Path
from typing import Protocol, cast

import trio
from quart import current_app

from pwfs.model.standing import Unsettled
from pwfs.model.touches import Moment, Touches
from pwfs.model.views import Workspace
from pwfs.repo import Repository
from pwfs.submit import Snapshot

SERVICES_KEY = "PATCHWORK_SERVICES"


class MountDoor(Protocol):
    """What the API asks of the mount."""

    mountpoint: Path

    @property
    def is_native(self) -> bool:
        """Whether the native library serves what pyfuse3 does not know."""

    @property
    def inode_count(self) -> int:
        """How many inodes the kernel, or an open file, may still ask for."""

    @property
    def open_count(self) -> int:
        """How many files and directories programs have open."""

    async def capture_all(self) -> None:
        """Puts what open files hold into the log."""

    def touched(self, workspace_id: str, since: Moment | None) -> Touches:
        """Tells which paths of a workspace may show something else than at a moment."""

    def unsettled(self, workspace_id: str) -> Unsettled:
        """Tells what of a workspace's files the log does not have."""

    async def attach(self, workspace: Workspace) -> None:
        """Makes the workspace's directory show it."""

    async def detach(self, workspace: Workspace) -> None:
        """Takes the workspace away from its directory."""


class QueueDoor(Protocol):
    """What the API asks of the queue's runner."""

    def snapshot(self) -> Snapshot:
        """The queue as it is now, with the trees that are composed."""


class Services:
    """The repository, the mount and the runner, as the routes see them."""

    def __init__(
        self, repo: Repository, mount: MountDoor, queue: QueueDoor, *, token: str, http: str
    ) -> None:
        self.repo = repo
        self.mount = mount
        self.queue = queue
        self.token = token
        self.http = http
        self.stopping = trio.Event()
        """Set when the daemon ends: open streams end with it."""

    async def captured(self, *, on_disk: bool = False) -> None:
        """Waits until the log holds every write that returned, and every view shows it.

        With ``on_disk`` the contents are synced, too: what freezes them does so itself, but on the
        event loop, where little should be left to do.
        """
        await self.mount.capture_all()
        await self.repo.settled()
        if on_disk:
            await trio.to_thread.run_sync(self.repo.blobs.sync)

    async def settled(self) -> None:
        """Waits until every view shows what was committed."""
        await self.repo.settled()


def services() -> Services:
    """Finds the services of the application that is answering."""
    return cast(Services, current_app.config[SERVICES_KEY])


def repository() -> Repository:
    """Finds the repository of the application that is answering."""
    return services().repo
