"""Views and what they show: stored views, main, moments of main, and workspaces' own views."""

import re
from collections.abc import Callable, Sequence

from pwfs.model.changes import Change, ChangeStatus
from pwfs.model.errors import AlreadyExists, InvalidArgument, NotFound
from pwfs.model.events import EventType
from pwfs.model.ids import AgentId, AttemptId, ChangeId, Seq, TreeHash, ViewId, WorkspaceId
from pwfs.model.paths import parse_path
from pwfs.model.views import (
    BaseType,
    ConflictPolicy,
    FileTree,
    MaterializedFile,
    Overlay,
    View,
    ViewBase,
    Workspace,
)
from pwfs.repo.changes import Changes, check_agent
from pwfs.repo.core import DRAFT_VIEWS_KEPT_MAX
from pwfs.repo.live import LiveView, Position
from pwfs.views.compose import Layer

MAIN = "main"
_MOMENT = re.compile(r"at-([0-9]{1,19})")
_TESTED = re.compile(r"attempt-([0-9]{1,18})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check_name(kind: str, name: str) -> None:
    """Checks the id of a view or workspace, which is also a directory's name in the mount.

    Raises:
        InvalidArgument: it is not 1 to 100 letters, digits, dots, dashes or underscores.
    """
    if not _NAME.fullmatch(name) or name == MAIN or _is_fixed(name):
        raise InvalidArgument(
            name=kind, reason=f"{name!r} is not 1 to 100 letters, digits, '.', '-' or '_'"
        )


def _is_fixed(id_: str) -> bool:
    """Whether an id stands for what never changes: a moment of main, or what was tested."""
    return bool(_MOMENT.fullmatch(id_) or _TESTED.fullmatch(id_))


class Viewing(Changes):
    """The part of a repository that shows things."""

    def create_view(
        self,
        id_: str | None,
        *,
        owner: str,
        base: ViewBase,
        overlays: Sequence[Overlay],
        policy: ConflictPolicy = ConflictPolicy.WARN,
    ) -> View:
        """Stores a view; without an id it gets ``view-N``.

        Raises:
            AlreadyExists, InvalidArgument: the id is taken or not usable.
            NotFound: an overlay's change or version, or the base's seq, does not exist.
        """
        if id_ is None:
            number = 1 + len(self.log.views())
            while self.log.view(ViewId(f"view-{number}")):
                number += 1
            id_ = f"view-{number}"
        check_name("view", id_)
        if self.log.view(ViewId(id_)) is not None:
            raise AlreadyExists(kind="view", id=id_)
        self._check_base(base)
        for overlay in overlays:
            change = self.change(overlay.change_id)
            if overlay.version and change.version(overlay.version) is None:
                raise NotFound(kind="version", id=f"{change.id}@{overlay.version}")
            if overlay.pin and not overlay.version:
                raise InvalidArgument(name="overlays", reason="pin needs a version")
        view = View(
            id=ViewId(id_),
            owner=check_agent(owner),
            base=base,
            overlays=tuple(overlays),
            conflict_policy=policy,
            created_at=self.now(),
        )
        with self.transaction():
            self.log.insert_view(view)
            self.publish(EventType.VIEW_CREATED, view_id=view.id, owner=view.owner)
        return view

    def _check_base(self, base: ViewBase) -> None:
        if base.type is BaseType.MAIN_AT_SEQ and not 0 <= base.seq <= self.log.head_seq():
            raise NotFound(kind="sequence number", id=str(base.seq))

    def view(self, view_id: str) -> View:
        """Finds a stored view.

        Raises:
            NotFound: there is none of that id.
        """
        view = self.log.view(ViewId(view_id))
        if view is None:
            raise NotFound(kind="view", id=view_id)
        return view

    def views(self, owner: str | None = None) -> list[View]:
        """All stored views."""
        return self.log.views(owner=AgentId(owner) if owner else None)

    def delete_view(self, view_id: str) -> None:
        """Deletes a stored view.

        Raises:
            NotFound: there is none of that id.
            InvalidArgument: a workspace needs it.
        """
        view = self.view(view_id)
        for workspace in self.log.workspaces():
            if workspace.view_id == view.id:
                raise InvalidArgument(
                    name="view", reason=f"workspace {workspace.id} shows it; destroy that instead"
                )
        with self.transaction():
            self.log.delete_view(view.id)
            self._lives.pop(view.id, None)
            self.publish(EventType.VIEW_DELETED, view_id=view.id)

    def workspace(self, workspace_id: str) -> Workspace:
        """Finds a workspace.

        Raises:
            NotFound: there is none of that id.
        """
        workspace = self.log.workspace(WorkspaceId(workspace_id))
        if workspace is None:
            raise NotFound(kind="workspace", id=workspace_id)
        return workspace

    # Live views

    def live(self, id_: str) -> LiveView:
        """Follows main, a stored view or a workspace, one object for each; or shows what is fixed.

        That is main at a moment, ``at-SEQ``, or the tree that was tested, ``attempt-N``.

        Raises:
            NotFound: there is nothing of that id.
        """
        live = self._lives.get(id_)
        if live is None:
            live = self._open_live(id_)
            if not _is_fixed(id_):
                self._lives[id_] = live
        return live

    def is_shown_elsewhere(self, live: LiveView) -> bool:
        """Whether another followed view shows the change that is written in this one."""
        own = live.layers[-1].change_id if live.layers else None
        return any(
            layer.change_id == own
            for other in self._lives.values()
            if other is not live
            for layer in other.layers
        )

    def release_live(self, id_: str) -> None:
        """Stops following; the next `live` starts anew."""
        self._lives.pop(id_, None)

    def _open_live(self, id_: str) -> LiveView:
        if id_ == MAIN:
            return LiveView(id_, self, lambda: Position(*self.main(), ()), ConflictPolicy.WARN)
        if moment := _MOMENT.fullmatch(id_):
            seq = Seq(int(moment[1]))
            if seq > self.log.head_seq():
                raise NotFound(kind="sequence number", id=str(seq))
            fixed = Position(*self.main_at(seq), ())
            return LiveView(id_, self, lambda: fixed, ConflictPolicy.WARN)
        if tested := _TESTED.fullmatch(id_):
            attempt = self.log.attempt(AttemptId(int(tested[1])))
            if attempt is None:
                raise NotFound(kind="attempt", id=tested[1])
            shown = Position(attempt.base_seq, attempt.key.root, ())
            return LiveView(id_, self, lambda: shown, ConflictPolicy.WARN)
        workspace = self.log.workspace(WorkspaceId(id_))
        if workspace is not None:
            return self._open_workspace(workspace)
        view = self.view(id_)
        return LiveView(id_, self, self._locator(view.id), view.conflict_policy)

    def _open_workspace(self, workspace: Workspace) -> LiveView:
        if workspace.test_root is not None:
            tested = Position(self.main()[0], workspace.test_root, ())
            return LiveView(workspace.id, self, lambda: tested, ConflictPolicy.WARN)
        assert workspace.view_id is not None
        view = self.view(workspace.view_id)
        locate = self._locator(view.id, workspace.id)
        return LiveView(workspace.id, self, locate, view.conflict_policy, read_only=False)

    def live_change(self, change: Change) -> LiveView:
        """A change's draft on main's head, with what it depends on; for one look."""
        return self.compose(*self.main(), self.stack(change))

    def draft_view(self, change: Change) -> LiveView:
        """What `live_change` shows, followed from one operation to the next; few are kept."""
        if self._touched.everything:
            return self.live_change(change)
        live = self._draft_views.pop(change.id, None)
        if live is None:

            def locate() -> Position:
                return Position(*self.main(), self.stack(self.change(change.id)))

            live = LiveView("", self, locate, ConflictPolicy.WARN)
        self._draft_views[change.id] = live
        if len(self._draft_views) > DRAFT_VIEWS_KEPT_MAX:
            del self._draft_views[next(iter(self._draft_views))]
        return live

    def _locator(
        self, view_id: ViewId, workspace_id: WorkspaceId | None = None
    ) -> Callable[[], Position]:
        def locate() -> Position:
            view = self.view(view_id)
            workspace = self.log.workspace(workspace_id) if workspace_id else None
            own = workspace.change_id if workspace else None
            return self._position(view, own)

        return locate

    def _position(self, view: View, own: ChangeId | None) -> Position:
        if view.base.type is BaseType.MAIN_AT_LATEST:
            base_seq, root = self.main()
        else:
            base_seq, root = self.main_at(view.base.seq)
        layers: dict[ChangeId, Layer] = {}
        for overlay in view.overlays:
            change = self.change(overlay.change_id)
            landing = self.log.landing_of(change.id)
            if landing is not None and landing.seq <= base_seq:
                continue
            if change.status is ChangeStatus.ABANDONED and change.id != own:
                continue
            version = overlay.version if overlay.pin else change.current_version
            if change.id == own and not overlay.pin:
                version = 0
            layers.pop(change.id, None)
            self._stack_into(layers, change, version, base_seq)
        return Position(base_seq, root, tuple(layers.values()))

    def follow_within_transaction(self, change: Change) -> None:
        """Lets live views see operations of the transaction under way.

        Used where a later edit of the same transaction depends on an earlier one. Whoever waits
        for movement is told after the commit, of these paths too.
        """
        own = self._touched.unfollowed.pop(change.id, None)
        if own is None:
            return
        drafts = filter(None, [self._draft_views.get(change.id)])
        for live in (*self._lives.values(), *drafts):
            if live.layers and live.layers[-1].change_id == change.id:
                live.follow_step(frozenset(own))

    # What a view shows, for programs

    def materialize(self, view_id: str) -> FileTree:
        """All files of a view, merged.

        Raises:
            NotFound: there is no such view.
            Conflicted: it conflicts and its policy is manual.
        """
        live = self.live(view_id)
        conflicts = {conflict.path: conflict for conflict in live.conflicts()}
        if conflicts and live.policy is ConflictPolicy.MANUAL:
            raise self.conflicted(f"View {view_id}", conflicts.values())
        root, listings = live.write()
        with self.transaction():
            self.log.put_trees(listings)
        entries = tuple(
            MaterializedFile(
                path=path,
                content_hash=entry.content_hash,
                mode=entry.mode.text,
                size=entry.size,
                is_conflict=path in conflicts,
                conflict_info=self.conflict_event(conflicts[path]) if path in conflicts else None,
            )
            for path, entry in sorted(live.files())
        )
        return FileTree(ViewId(view_id), live.base_seq, root, entries)

    def root_of(self, view_id: str) -> TreeHash:
        """The tree that a view shows, written to the store."""
        root, listings = self.live(view_id).write()
        with self.transaction():
            self.log.put_trees(listings)
        return root

    def read_file(self, view_id: str, path: str) -> bytes:
        """One file's content as a view shows it.

        Raises:
            NotFound: no such view or file.
            Conflicted: the file conflicts and the view's policy is manual.
        """
        live = self.live(view_id)
        parsed = parse_path(path)
        entry = live.file(parsed)
        if entry is None:
            raise NotFound(kind="file", id=path)
        if live.is_manual_conflict(parsed):
            conflict = live.conflict_at(parsed)
            assert conflict is not None
            raise self.conflicted(f"View {view_id}", [conflict])
        return self.blobs.get(entry.content_hash)
