"""The mount's life: made, served, brought to an end; and how it follows the repository.

Order at the end: programs lose their way in first, then what they left open is captured, then the
session closes. The event loop answers requests until the session closes, because each of these
steps may need it to.
"""

import contextlib
import math
import os
import secrets
import shutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pyfuse3
import structlog
import trio

from pwfs.fs import attach as attaching
from pwfs.fs import session
from pwfs.fs.capture import Capturer
from pwfs.fs.damage import Damages
from pwfs.fs.guard import Guard
from pwfs.fs.handover import FORMAT, Handover, restore_spaces
from pwfs.fs.inspecting import open_paths, unsettled
from pwfs.fs.invalidate import Invalidator
from pwfs.fs.live import LiveSpace
from pwfs.fs.native import library
from pwfs.fs.native.requests import NativeRequests
from pwfs.fs.nodes import NodeTable
from pwfs.fs.operations import MountOperations
from pwfs.fs.spaces import Collection, Space
from pwfs.fs.throwaway import ThrowawaySpace
from pwfs.fs.watching import Announcer
from pwfs.fs.workspace import WorkspaceSpace
from pwfs.model.errors import MountUnavailable, NotFound, PatchworkError
from pwfs.model.events import EventType
from pwfs.model.standing import Unsettled
from pwfs.model.touches import Moment, Touches
from pwfs.model.views import Workspace
from pwfs.repo import Repository
from pwfs.repo.core import Movement

_log = structlog.get_logger(__name__)
_CLOSING_S = 20
_SAVE_ROWS_S = 1.0
_FOLLOWED = (
    EventType.VIEW_CREATED,
    EventType.VIEW_DELETED,
    EventType.WORKSPACE_CREATED,
    EventType.WORKSPACE_DESTROYED,
    EventType.WORKSPACE_SWITCHED,
    EventType.CHANGE_STATUS,
    EventType.CHANGE_LANDED,
)
_EVENTS_MAX = 1000
_DOOMED = ".removing-"


def default_mountpoint(root: Path) -> Path:
    """Where a repository is mounted unless somebody says otherwise."""
    from pwfs.repo.layout import Layout

    name = Layout(root).name
    if os.geteuid() == 0:
        return Path("/run/patchwork") / name
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    base = Path(runtime) / "patchwork" if runtime else Path.home() / ".cache/patchwork/run"
    return base / name


class Mount:
    """One repository's mount. A process can have one (pyfuse3 keeps a single session)."""

    def __init__(
        self, repo: Repository, mountpoint: Path, taken_over: Handover | None = None
    ) -> None:
        self._taken_over = taken_over
        self._is_handed_over = False
        self._served = trio.Event()
        self._fuse_fd = -1
        self._guard: Guard | None = None
        self.repo = repo
        self.mountpoint = mountpoint
        self._table = NodeTable()
        self._capturer = Capturer()
        self._damages = Damages(repo)
        self._saving = repo.health.duty(
            "attributes", "attributes or the journal of open files are not saved; trying again"
        )
        self._discarded = trio.Event()
        self._operations = MountOperations(self._table, os.fspath(repo.state_dir))
        self._invalidator: Invalidator | None = None
        self._announcer: Announcer | None = None
        self._followed_event = repo.log.last_event_id()
        self._at = Collection(
            "at",
            self._table,
            list_names=self._moments,
            open_space=self._open_moment,
            # Every operation brings another number, and who walks through them leaves them behind.
            remembers_absence=False,
            keeps_unused=False,
        )
        self._views = Collection(
            "views",
            self._table,
            list_names=lambda: [view.id for view in repo.views()],
            open_space=self._open_view,
        )
        self._workspaces = Collection(
            "ws",
            self._table,
            list_names=lambda: [w.id for w in repo.workspaces(tests=True)],
            open_space=self._open_workspace,
        )
        tops: dict[str, Space] = {
            "at": self._at,
            "views": self._views,
            "ws": self._workspaces,
        }
        self._top = Collection(
            "top",
            self._table,
            list_names=lambda: ["main", *tops],
            open_space=lambda name: (
                self._live_space("main", "main") if name == "main" else tops.get(name)
            ),
        )
        self._table.add_root(self._top.root, pyfuse3.ROOT_INODE)

    # Spaces

    def _moments(self) -> Iterable[str]:
        return [str(landing.seq) for landing in self.repo.log.landings()]

    def _placed(self, space: Space, place: str) -> Space:
        space.place = place
        space.invalidator = self._invalidator
        space.announcer = self._announcer
        space.damages = self._damages
        return space

    def _live_space(self, id_: str, place: str) -> Space:
        space = LiveSpace(id_, self._table, self.repo.live(id_), self.repo.blobs)
        return self._placed(space, place)

    def _open_moment(self, name: str) -> Space | None:
        is_number = name.isascii() and name.isdigit() and str(int(name)) == name
        if not is_number and not name.startswith("attempt-"):
            return None
        try:
            return self._live_space(f"at-{name}" if is_number else name, f"at/{name}")
        except NotFound:
            return None

    def _open_view(self, name: str) -> Space | None:
        if name not in {view.id for view in self.repo.views()}:
            return None
        # A change that two views show holds nothing back.
        self._capturer.settle_all()
        return self._live_space(name, f"views/{name}")

    def _open_workspace(self, name: str) -> Space | None:
        try:
            workspace = self.repo.workspace(name)
        except NotFound:
            return None
        self._capturer.settle_all()
        kind = WorkspaceSpace if workspace.test_root is None else ThrowawaySpace
        space = kind(self.repo, workspace, self._table)
        space.on_dirty = self._capturer.add
        space.on_held = self._capturer.hold
        return self._placed(space, f"ws/{name}")

    def _workspace_space(self, id_: str) -> WorkspaceSpace | None:
        node = self._workspaces.child(self._workspaces.root, id_)
        space = node.space if node is not None else None
        return space if isinstance(space, WorkspaceSpace) else None

    # Following the repository

    def _moved(self, movement: Movement) -> None:
        for collection in (self._top, self._views, self._workspaces):
            space = collection.spaces.get(movement.live.id)
            if isinstance(space, LiveSpace) and space.live is movement.live:
                space.moved(movement)

    def _follow_events(self) -> None:
        while True:
            events = self.repo.events(self._followed_event, _FOLLOWED, _EVENTS_MAX)
            for event in events:
                self._follow_event(event.type, event.payload)
                self._followed_event = event.id
            if len(events) < _EVENTS_MAX:
                self._followed_event = self.repo.log.last_event_id()
                return

    def _follow_event(self, type_: EventType, payload: dict[str, object]) -> None:
        match type_:
            case EventType.VIEW_CREATED:
                self._views.changed(str(payload["view_id"]))
            case EventType.VIEW_DELETED:
                self._views.gone(str(payload["view_id"]))
            case EventType.WORKSPACE_CREATED:
                self._views.changed(str(payload["workspace_id"]))
                self._workspaces.changed(str(payload["workspace_id"]))
            case EventType.WORKSPACE_DESTROYED:
                id_ = str(payload["workspace_id"])
                self._views.gone(id_)
                self._workspaces.gone(id_)
                self._saving.forget(id_)
                self._discard(self.repo.state_dir / "work" / id_)
            case EventType.CHANGE_LANDED:
                self._at.changed("landed")
                self._refresh_workspaces()
            case _:
                self._refresh_workspaces()

    def _discard(self, directory: Path) -> None:
        """Takes a directory away at once; its removal, which may be long, nobody waits for."""
        doomed = directory.with_name(f"{_DOOMED}{secrets.token_hex(8)}")
        with contextlib.suppress(FileNotFoundError):
            directory.rename(doomed)
            self._discarded.set()

    async def _remove_discarded(self) -> None:
        """Removes what was discarded, by an earlier daemon too; until cancelled."""
        work = self.repo.state_dir / "work"
        duty = self.repo.health.duty("discarding", "what was deleted is not removed")
        while True:
            self._discarded = trio.Event()
            with duty.attempt():
                for doomed in work.glob(f"{_DOOMED}*"):
                    remove = partial(shutil.rmtree, doomed, ignore_errors=True)
                    await trio.to_thread.run_sync(remove, abandon_on_cancel=True)
            with trio.move_on_after(duty.pause_s() or math.inf):
                await self._discarded.wait()

    def _refresh_workspaces(self) -> None:
        """Learns which workspaces may be written, and on which change they are."""
        for id_, space in self._workspaces.spaces.items():
            if isinstance(space, WorkspaceSpace) and not space.is_gone:
                with contextlib.suppress(NotFound):
                    space.workspace = self.repo.workspace(id_)

    async def capture_all(self) -> None:
        """Logs what is written to open files so far."""
        await self._capturer.capture_all()

    async def _barrier(self) -> None:
        await self._capturer.capture_all()
        if self._invalidator is not None:
            await self._invalidator.drain()

    # What programs would have to scan for

    def touched(self, workspace_id: str, since: Moment | None) -> Touches:
        """Tells which paths of a workspace may show something else than at a moment.

        Exact after `capture_all` and the repository's barrier, without an await in between.

        Raises:
            NotFound: there is no such workspace.
        """
        space = self._existing_space(workspace_id)
        open_now = open_paths(self._operations.open_for_writing(space))
        return space.touched.since(since, self.repo.head_seq(), open_now)

    def unsettled(self, workspace_id: str) -> Unsettled:
        """Tells what of a workspace's files the log does not have.

        Raises:
            NotFound: there is no such workspace.
        """
        space = self._existing_space(workspace_id)
        is_open = self._operations.open_for_writing(space)
        return unsettled(space, is_open, self._capturer.dirty())

    def _existing_space(self, workspace_id: str) -> WorkspaceSpace:
        space = self._workspace_space(self.repo.workspace(workspace_id).id)
        assert space is not None
        return space

    # Directories of the user's choice

    async def attach(self, workspace: Workspace) -> None:
        """Shows a workspace in its own directory.

        Raises:
            DirectoryNotEmpty: something is in it.
        """
        if workspace.directory is not None:
            source = self.mountpoint / "ws" / workspace.id
            await trio.to_thread.run_sync(attaching.attach, source, Path(workspace.directory))

    async def detach(self, workspace: Workspace) -> None:
        """Takes a workspace from its own directory."""
        if workspace.directory is not None:
            await trio.to_thread.run_sync(attaching.detach, Path(workspace.directory))

    async def _attach_all(self) -> None:
        for workspace in self.repo.workspaces():
            if workspace.directory is None:
                continue
            source, directory = self.mountpoint / "ws" / workspace.id, Path(workspace.directory)
            try:
                aside = await trio.to_thread.run_sync(attaching.attach_again, source, directory)
            except (PatchworkError, OSError) as error:
                _log.error("a workspace is not attached", workspace=workspace.id, error=str(error))
            else:
                if aside is not None:
                    _log.warning(
                        "what was written where a workspace was, while no daemon ran, is kept aside",
                        workspace=workspace.id,
                        place=os.fspath(aside),
                    )

    async def _detach_all(self) -> None:
        if os.geteuid() != 0:
            return
        for workspace in self.repo.workspaces():
            with contextlib.suppress(OSError):
                await self.detach(workspace)

    # Life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Mounts and serves until cancelled, then unmounts, unless it was handed over before.

        Raises:
            MountUnavailable: there is no /dev/fuse, or no permission, or somebody else unmounted.
            HandoverRefused: what an earlier daemon left does not fit.
        """
        taken = self._taken_over
        if taken is None:
            await trio.to_thread.run_sync(session.prepare, self.mountpoint)
            self._fuse_fd = session.begin(self._operations, self.mountpoint)
            guard = Guard.start(self.mountpoint)
        else:
            self._fuse_fd = taken.fuse_fd
            session.resume(self._operations, taken.fuse_fd, taken.connection)
            guard = Guard.taken_over(*taken.guard)
        self._guard = guard
        self._waiting = session.take_requests(self._fuse_fd, self._table.grants.take_news)
        self._invalidator = Invalidator(self._fuse_fd)
        self._operations.invalidator = self._invalidator
        self._operations.lister.invalidator = self._invalidator
        for collection in (self._top, self._at, self._views, self._workspaces):
            collection.invalidator = self._invalidator
        announcer = Announcer(self.mountpoint, self._top.root, self._invalidator, self.repo.health)
        self._announcer = self._operations.announcer = announcer
        if self._waiting.is_native and library is not None:
            self._table.grants.begin(library, self._operations.learned)
        if taken is not None:
            spaces = restore_spaces(self._top, taken.state.spaces)
            self._operations.handles.restore(self._table, taken.state, spaces)
        stop_moves = self.repo.on_moved(self._moved)
        stop_events = self.repo.subscribe(self._follow_events)
        self.repo.barriers.append(self._barrier)
        serving = trio.CancelScope(shield=True)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve, serving)
                try:
                    if taken is None:
                        self._recover()
                    nursery.start_soon(self._capturer.run)
                    nursery.start_soon(announcer.run)
                    nursery.start_soon(self._remove_discarded)
                    nursery.start_soon(self._save_rows)
                    await self._attach_all()
                    task_status.started()
                    await trio.sleep_forever()
                finally:
                    if not self._is_handed_over:
                        deadline = trio.current_time() + _CLOSING_S
                        with trio.CancelScope(shield=True, deadline=deadline):
                            await self._wind_down()
                    serving.cancel()
        finally:
            self.repo.barriers.remove(self._barrier)
            stop_events()
            stop_moves()
            self._invalidator.say_no_more()
            pyfuse3.close(unmount=False)
            self._invalidator.close()
            if not self._is_handed_over:
                guard.dismiss()

    async def _serve(self, serving: trio.CancelScope) -> None:
        with serving:
            if self.is_native:
                await self._serve_native()
            else:
                await pyfuse3.main()
            self._served.set()
            if not self._winding_down:
                raise MountUnavailable(
                    reason=f"{self.mountpoint} was unmounted by somebody else",
                    advice="Start the daemon again.",
                )

    @property
    def is_native(self) -> bool:
        """Whether requests that pyfuse3 does not know are answered (see `pwfs.fs.native`)."""
        return session.is_native()

    @property
    def inode_count(self) -> int:
        """How many inodes the kernel, or an open file, may still ask for."""
        return len(self._table)

    @property
    def open_count(self) -> int:
        """How many files programs have open, and directories where the kernel tells of them."""
        self._table.grants.take_news()
        return len(self._operations.handles) + len(self._table.grants)

    async def _serve_native(self) -> None:
        assert library is not None
        async with trio.open_nursery() as nursery:
            requests = NativeRequests(library, self._operations, nursery)
            try:
                await pyfuse3.main()
            finally:
                requests.close()
                library.take_nothing()

    async def hand_over(self) -> Handover | None:
        """Stops answering and writes down what the kernel knows, for the next daemon.

        Nobody may change the repository any more. Returns None where that is not possible; then
        the mount ends as usual.
        """
        assert self._invalidator is not None
        assert self._announcer is not None
        assert self._guard is not None
        if not self.is_native or library is None or not self._invalidator.never_wait():
            return None
        await self._announcer.stop()
        await self._capturer.capture_all()
        await self._invalidator.drain()
        self._winding_down = True
        library.take_nothing()
        with trio.move_on_after(_CLOSING_S):
            await self._waiting.emptied()
        pyfuse3.terminate()
        with trio.move_on_after(_CLOSING_S):
            # Whatever was asked is answered; what comes now waits in the kernel.
            await self._served.wait()
        self._table.grants.take_news()
        if not self._served.is_set():
            return None
        await self._capturer.capture_all()
        await self._table.quiet()
        self._save_all_rows()
        self._is_handed_over = True
        return Handover(
            format=FORMAT,
            mountpoint=os.fspath(self.mountpoint),
            fuse_fd=os.dup(self._fuse_fd),
            connection=library.connected(),
            guard=self._guard.kept,
            state=self._operations.handles.keep(self._table),
        )

    _winding_down = False

    def _recover(self) -> None:
        for workspace in self.repo.workspaces():
            journal = self.repo.state_dir / "work" / workspace.id / "journal"
            space = self._workspace_space(workspace.id) if journal.exists() else None
            if space is not None:
                space.try_to_recover()

    async def _save_rows(self) -> None:
        while True:
            await trio.sleep(_SAVE_ROWS_S)
            # What nobody asks about any more is closed, so that the disk has its room.
            self._table.grants.take_news()
            self._save_all_rows()

    def _save_all_rows(self) -> None:
        for space in self._workspaces.spaces.values():
            if isinstance(space, WorkspaceSpace) and not space.is_gone:
                with self._saving.attempt(about=space.id):
                    space.rows.save()
                    space.journal.mend()

    async def _wind_down(self) -> None:
        self._winding_down = True
        await self._detach_all()
        await trio.to_thread.run_sync(attaching.unmount, self.mountpoint)
        await self._capturer.capture_all()
        self._save_all_rows()
