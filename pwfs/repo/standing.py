"""Puts a workspace's status together, in time proportional to what its change does."""

from pwfs.model.errors import InvalidArgument
from pwfs.model.standing import (
    ChangedFile,
    StandingConflict,
    Unsettled,
    WorkspaceStatus,
)
from pwfs.repo.live import NetEdit
from pwfs.repo.snapshots import Snapshots


def workspace_status(repo: Snapshots, workspace_id: str, unsettled: Unsettled) -> WorkspaceStatus:
    """Tells where a workspace stands; ``unsettled`` is what the mount knows of it.

    Raises:
        NotFound: there is none of that id.
        InvalidArgument: it is one of the queue's tests, on no change.
    """
    workspace = repo.workspace(workspace_id)
    if workspace.change_id is None or workspace.view_id is None:
        raise InvalidArgument(name="workspace", reason=f"{workspace_id} belongs to a test")
    change = repo.change(workspace.change_id)
    live = repo.live(workspace.id)
    is_shown = bool(live.layers) and live.layers[-1].change_id == change.id
    items = (i for i in repo.queued() if any(m.change_id == change.id for m in i.members))
    return WorkspaceStatus(
        workspace_id=workspace.id,
        agent_id=workspace.agent_id,
        directory=workspace.directory,
        read_only=workspace.read_only,
        change_id=change.id,
        title=change.title,
        status=change.status,
        current_version=change.current_version,
        unfrozen=len(repo.log.draft_ops(change.id, change.current_version)),
        base_type=repo.view(workspace.view_id).base.type,
        base_seq=live.base_seq,
        main_seq=repo.main()[0],
        files=tuple(_changed(edit) for edit in live.net_edits()) if is_shown else (),
        conflicts=tuple(
            StandingConflict(conflict.path, conflict.type, conflict.their_side.change_id)
            for conflict in live.conflicts()
        ),
        open=unsettled.open,
        pending=unsettled.pending,
        not_logged=unsettled.not_logged,
        queue=next(items, None),
    )


def _changed(edit: NetEdit) -> ChangedFile:
    if edit.before is None:
        status = "added"
    elif edit.after is None:
        status = "deleted"
    else:
        status = "renamed" if edit.old_path else "modified"
    return ChangedFile(edit.path, edit.old_path, status)
