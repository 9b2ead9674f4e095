"""Workspaces: writable views on one change each, and the throw-away ones of the queue."""

from collections.abc import Sequence
from dataclasses import replace

from pwfs.model.errors import ChangeIsFinal, InvalidArgument
from pwfs.model.events import EventType
from pwfs.model.ids import SEQ_ZERO, AgentId, TreeHash, ViewId, WorkspaceId
from pwfs.model.ops import Op
from pwfs.model.views import (
    BaseType,
    ConflictPolicy,
    Overlay,
    View,
    ViewBase,
    Workspace,
)
from pwfs.repo.changes import check_agent
from pwfs.repo.edits import Edits
from pwfs.repo.viewing import check_name

TEST_AGENT = AgentId("submit-queue")


class Workspaces(Edits):
    """The part of a repository that knows workspaces."""

    def create_workspace(
        self,
        change_id: str,
        *,
        agent: str,
        directory: str | None = None,
        pin: bool = False,
        overlays: Sequence[Overlay] = (),
        policy: ConflictPolicy = ConflictPolicy.WARN,
    ) -> Workspace:
        """Creates a workspace ``ws-CHANGE`` (with -2, -3 … if that is taken) and its view.

        Args:
            pin: the base stays at main's position now until `sync_workspace`.
            overlays: other changes to show below this one.

        Raises:
            NotFound, ChangeIsFinal: there is no such open change, or an overlay's is missing.
        """
        change = self.open_change(change_id)
        if any(overlay.change_id == change.id for overlay in overlays):
            raise InvalidArgument(name="overlays", reason=f"{change.id} is the workspace's own")
        base = ViewBase(BaseType.MAIN_AT_LATEST)
        if pin:
            base = ViewBase(BaseType.MAIN_AT_SEQ, self.main()[0])
        number, id_ = 1, f"ws-{change.id}"
        while self.log.workspace(WorkspaceId(id_)) or self.log.view(ViewId(id_)):
            number += 1
            id_ = f"ws-{change.id}-{number}"
        with self.transaction():
            view = self.create_view(
                id_, owner=agent, base=base, overlays=[*overlays, Overlay(change.id)], policy=policy
            )
            workspace = Workspace(
                id=WorkspaceId(id_),
                view_id=view.id,
                change_id=change.id,
                agent_id=check_agent(agent),
                directory=directory,
                created_at=self.now(),
                last_scan_seq=self.log.head_seq(),
                read_only=False,
            )
            self.log.insert_workspace(workspace)
            self.publish(
                EventType.WORKSPACE_CREATED,
                workspace_id=workspace.id,
                change_id=change.id,
                agent_id=workspace.agent_id,
                directory=directory,
            )
        return workspace

    def create_test_workspace(self, name: str, root: TreeHash) -> Workspace:
        """Creates a throw-away workspace on an exact tree; nothing in it is logged."""
        check_name("workspace", name)
        workspace = Workspace(
            id=WorkspaceId(name),
            view_id=None,
            change_id=None,
            agent_id=TEST_AGENT,
            directory=None,
            created_at=self.now(),
            last_scan_seq=SEQ_ZERO,
            read_only=False,
            test_root=root,
        )
        with self.transaction():
            self.log.insert_workspace(workspace)
            self.publish(EventType.WORKSPACE_CREATED, workspace_id=name, test_root=root)
        return workspace

    def workspaces(self, *, tests: bool = False) -> list[Workspace]:
        """All workspaces, the queue's too if asked for."""
        return [w for w in self.log.workspaces() if tests or w.test_root is None]

    def destroy_workspace(self, workspace_id: str) -> None:
        """Removes a workspace and its view; what was captured stays in its change.

        Raises:
            NotFound: there is none of that id.
        """
        workspace = self.workspace(workspace_id)
        with self.transaction():
            self.log.delete_workspace(workspace.id)
            if workspace.view_id is not None:
                self.log.delete_view(workspace.view_id)
            self._lives.pop(workspace.id, None)
            self.publish(
                EventType.WORKSPACE_DESTROYED,
                workspace_id=workspace.id,
                change_id=workspace.change_id,
                directory=workspace.directory,
            )

    def switch_workspace(self, workspace_id: str, change_id: str) -> Workspace:
        """Puts a workspace on another open change.

        Raises:
            NotFound, ChangeIsFinal: there is no such workspace or open change.
        """
        workspace = self._changeable(workspace_id)
        change = self.open_change(change_id)
        with self.transaction():
            return self._switch(workspace, change)

    def sync_workspace(self, workspace_id: str) -> Workspace:
        """Moves a pinned workspace's base to main's head; others are there already.

        Raises:
            NotFound: there is none of that id.
        """
        workspace = self._changeable(workspace_id)
        view = self._view_of(workspace)
        if view.base.type is BaseType.MAIN_AT_SEQ:
            moved = replace(view, base=ViewBase(BaseType.MAIN_AT_SEQ, self.main()[0]))
            with self.transaction():
                self.log.update_view(moved)
                self.views_moved()
                self.publish(
                    EventType.WORKSPACE_SWITCHED,
                    workspace_id=workspace.id,
                    change_id=workspace.change_id,
                    base_seq=moved.base.seq,
                )
        return self.workspace(workspace_id)

    def scan_workspace(self, workspace_id: str) -> list[Op]:
        """Operations of the workspace's change captured since the last call.

        Raises:
            NotFound: there is none of that id.
        """
        workspace = self._changeable(workspace_id)
        assert workspace.change_id is not None
        ops = self.log.ops(change_id=workspace.change_id, since=workspace.last_scan_seq)
        head = self.log.head_seq()
        if head != workspace.last_scan_seq:
            with self.transaction():
                self.log.update_workspace(replace(workspace, last_scan_seq=head))
        return ops

    def _changeable(self, workspace_id: str) -> Workspace:
        workspace = self.workspace(workspace_id)
        if workspace.change_id is None:
            raise InvalidArgument(name="workspace", reason=f"{workspace_id} belongs to a test")
        return workspace

    def _view_of(self, workspace: Workspace) -> View:
        assert workspace.view_id is not None
        return self.view(workspace.view_id)

    def check_writable(self, workspace: Workspace) -> None:
        """Refuses to write where the change is final.

        Raises:
            ChangeIsFinal: it is (EROFS in the mount).
        """
        if workspace.change_id is not None and workspace.read_only:
            change = self.change(workspace.change_id)
            raise ChangeIsFinal(change_id=change.id, status=change.status)
