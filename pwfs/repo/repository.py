"""The one object that doors, mount and queue talk to, put together from its parts."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pwfs.model.errors import InvalidArgument, NotARepository, NotFound
from pwfs.model.events import Event, EventType
from pwfs.model.ids import Seq, TreeHash
from pwfs.model.ops import Op
from pwfs.model.paths import parse_path
from pwfs.model.queue import Closing
from pwfs.repo.config import load_config, save_setting, settings, with_setting
from pwfs.repo.durable import DurablePoint
from pwfs.repo.layout import Layout, RepositoryLock
from pwfs.repo.losses import Loss, make_good
from pwfs.repo.snapshots import Snapshots
from pwfs.store.blobs import FileBlobStore
from pwfs.store.sqlite_log import SqliteLog


@dataclass(frozen=True, slots=True)
class RepoStatus:
    """A repository at a glance.

    ``not_logged`` names files above ``max-blob-mb``, which stay with their workspace.
    """

    root: str
    head_seq: Seq
    main_seq: Seq
    main_root: TreeHash
    changes: dict[str, int]
    views: int
    workspaces: int
    queue_depth: int
    queue_paused: bool
    closing: Closing | None
    not_logged: tuple[str, ...]


class Repository(Snapshots):
    """An open repository; see `pwfs.repo.core` for threads and transactions."""

    def __init__(self, layout: Layout, lock: RepositoryLock) -> None:
        blobs = FileBlobStore(layout.blobs)
        super().__init__(layout, SqliteLog(layout.database, before_sync=blobs.sync), blobs)
        self._lock = lock
        self.barriers: list[Callable[[], Awaitable[None]]] = []
        self._durable = DurablePoint(layout.durable)
        try:
            self.losses = self._after_the_last_time()
        except BaseException:
            self._durable.abandon()
            self.log.close()
            raise

    def _after_the_last_time(self) -> list[Loss]:
        """Checks what an earlier process left that did not close the repository.

        It may have been killed, then what it stored need only be synced; or the machine went down
        with it, then contents of what was not synced may be lost.
        """
        if self._durable.was_clean:
            self._durable.begin(self.head_seq())
            return []
        losses = make_good(self, self._durable.seq)
        self.blobs.sync_all()
        self.log.sync()
        self._durable.begin(self.head_seq())
        return losses

    @classmethod
    def open(cls, directory: Path, *, create: bool = False) -> Self:
        """Opens the repository of exactly this directory and locks it.

        Raises:
            NotARepository: it has none.
            RepositoryLocked: another process has it open.
            NewerSchema: a newer Patchwork wrote it; nothing is changed.
        """
        layout = Layout(directory.resolve())
        if not layout.state.is_dir() or not (create or layout.database.exists()):
            raise NotARepository(directory=str(directory))
        lock = RepositoryLock(layout.state)
        try:
            return cls(layout, lock)
        except BaseException:
            lock.release()
            raise

    @property
    def has_lost_power(self) -> bool:
        """Whether the machine went down while an earlier process had the repository open."""
        return self._durable.has_lost_power

    def put_on_disk(self, seq: Seq) -> None:
        """Makes everything up to ``seq``, which is in the log, durable; for any thread.

        Not needed for what an fsync promises: it bounds what a power failure can take of the rest,
        and what the next start must check.
        """
        self.log.sync()
        self.log.checkpoint()
        self._durable.advance(seq)

    def close(self) -> None:
        """Leaves the store clean and lets others open it."""
        try:
            seq = self.head_seq()
            self.log.close()
            self._durable.close(seq)
        except BaseException:
            self._durable.abandon()
            raise
        finally:
            self._lock.release()

    async def settled(self) -> None:
        """Waits until every follower shows all that is committed (promise 7)."""
        for barrier in list(self.barriers):
            await barrier()

    def status(self) -> RepoStatus:
        """Counts what there is."""
        counts: dict[str, int] = {}
        for change in self.log.changes():
            counts[change.status.value] = counts.get(change.status.value, 0) + 1
        main_seq, main_root = self.main()
        return RepoStatus(
            root=str(self.root),
            head_seq=self.log.head_seq(),
            main_seq=main_seq,
            main_root=main_root,
            changes=counts,
            views=len(self.log.views()),
            workspaces=len(self.workspaces()),
            queue_depth=len(self.queued()),
            queue_paused=self.queue_paused,
            closing=self.closing,
            not_logged=self._not_logged(),
        )

    def _not_logged(self) -> tuple[str, ...]:
        here = {workspace.id for workspace in self.workspaces()}
        skipped = self.log.events(types=[EventType.FILE_SKIPPED])
        names = (
            f"{event.payload['workspace_id']}/{event.payload['path']}"
            for event in skipped
            if event.payload["workspace_id"] in here
        )
        return tuple(dict.fromkeys(names))

    def head_seq(self) -> Seq:
        """The last sequence number given out."""
        return self.log.head_seq()

    def op(self, seq: int) -> Op:
        """Finds an operation.

        Raises:
            NotFound: the number is no operation's.
        """
        op = self.log.op(Seq(seq))
        if op is None:
            raise NotFound(kind="operation", id=str(seq))
        return op

    def ops(
        self,
        *,
        change_id: str | None = None,
        path: str | None = None,
        since: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[Op]:
        """Operations after ``since``, of a change or on a path if given.

        Raises:
            NotFound: there is no such change.
            InvalidPath: the path is not one.
        """
        return self.log.ops(
            change_id=self.change(change_id).id if change_id is not None else None,
            path=parse_path(path) if path is not None else None,
            since=Seq(since),
            limit=limit,
            newest_first=newest_first,
        )

    def events(
        self, since: int = 0, types: Collection[EventType] | None = None, limit: int = 1000
    ) -> list[Event]:
        """Stored events after ``since``, oldest first."""
        return self.log.events(since, types, limit)

    def settings(self) -> dict[str, object]:
        """All settings by name."""
        return settings(self.config)

    def set_setting(self, key: str, value: object) -> dict[str, object]:
        """Checks and keeps one setting.

        Raises:
            InvalidArgument: there is no such setting, or that is no value for it.
        """
        name = key.replace("-", "_")
        config = with_setting(load_config(self.layout.config), name, value)
        if not hasattr(config, name):
            raise InvalidArgument(name=key, reason="there is no such setting")
        save_setting(self.layout.config, name, getattr(config, name))
        self.config = config
        with self.transaction():
            self.publish(EventType.CONFIG_CHANGED, key=name.replace("_", "-"))
        return self.settings()
