"""``/api/workspaces``: the writable, mounted views."""

import errno
import os
from pathlib import Path

import trio
from quart import Blueprint, Response, request

from pwfs.model.errors import DirectoryNotEmpty, InvalidArgument
from pwfs.model.ids import AgentId, ChangeId, WorkspaceId
from pwfs.model.paths import RESERVED_NAME, ROOT, parse_path
from pwfs.model.touches import Moment, Touches
from pwfs.model.views import ConflictPolicy, Overlay, Workspace
from pwfs.repo.json import to_json
from pwfs.repo.standing import workspace_status
from pwfs_daemon.web.answers import Body, answer, no_content, query_text, read_body
from pwfs_daemon.web.openapi import takes
from pwfs_daemon.web.queue import describe_item
from pwfs_daemon.web.services import repository, services
from pwfs_daemon.web.views import NewOverlay

routes = Blueprint("workspaces", __name__)

GIT_HOOK_MEDIA_TYPE = "application/x-git-fsmonitor"


class NewWorkspace(Body):
    """A workspace; ``directory`` is an absolute path, or null for the place in the mount."""

    change_id: str
    agent_id: str = "local"
    directory: str | None = None
    pin: bool = False
    overlays: tuple[NewOverlay, ...] = ()
    conflict_policy: ConflictPolicy = ConflictPolicy.WARN


class Switch(Body):
    """The change that a workspace is to work on."""

    change_id: str


@routes.post("/workspaces")
@takes(NewWorkspace)
async def post_workspace() -> Response:
    """Creates a workspace and makes its directory show it."""
    body = await read_body(NewWorkspace)
    repo = repository()
    repo.change(ChangeId(body.change_id))
    if body.directory is not None:
        await trio.to_thread.run_sync(_check_directory, body.directory)
    workspace = repo.create_workspace(
        ChangeId(body.change_id),
        agent=AgentId(body.agent_id),
        directory=body.directory,
        pin=body.pin,
        overlays=tuple(
            Overlay(ChangeId(overlay.change_id), overlay.version, overlay.pin)
            for overlay in body.overlays
        ),
        policy=body.conflict_policy,
    )
    try:
        await services().settled()
        await services().mount.attach(workspace)
    except OSError as error:
        repo.destroy_workspace(workspace.id)
        reason = f"{error.filename or body.directory}: {error.strerror}"
        raise InvalidArgument(name="directory", reason=reason) from error
    except BaseException:
        # Also when the asker has gone: nobody would know of it.
        repo.destroy_workspace(workspace.id)
        raise
    return _answer(workspace, 201)


@routes.get("/workspaces")
async def get_workspaces() -> Response:
    """Lists the workspaces."""
    found = [_describe(workspace) for workspace in repository().workspaces()]
    return answer({"workspaces": found})


@routes.get("/workspaces/<workspace_id>")
async def get_workspace(workspace_id: str) -> Response:
    """Shows one workspace."""
    await services().captured()
    return _answer(repository().workspace(WorkspaceId(workspace_id)))


@routes.delete("/workspaces/<workspace_id>")
async def delete_workspace(workspace_id: str) -> Response:
    """Destroys a workspace; what was written in it stays with its change."""
    repo = repository()
    workspace = repo.workspace(WorkspaceId(workspace_id))
    # Detached first: what is captured then is all that came through the directory.
    await services().mount.detach(workspace)
    await services().captured()
    repo.destroy_workspace(workspace.id)
    await services().settled()
    return no_content()


@routes.post("/workspaces/<workspace_id>/sync")
async def post_sync(workspace_id: str) -> Response:
    """Moves a pinned workspace's base to the head."""
    await services().captured()
    workspace = repository().sync_workspace(WorkspaceId(workspace_id))
    await services().settled()
    return _answer(workspace)


@routes.post("/workspaces/<workspace_id>/scan")
async def post_scan(workspace_id: str) -> Response:
    """Tells the operations captured since the last scan: the barrier of promise 7."""
    repository().workspace(WorkspaceId(workspace_id))
    await services().captured()
    ops = repository().scan_workspace(WorkspaceId(workspace_id))
    return answer({"operations": ops})


@routes.get("/workspaces/<workspace_id>/status")
async def get_workspace_status(workspace_id: str) -> Response:
    """Tells what a workspace's change does to the files below it, and what is not settled."""
    repo = repository()
    repo.workspace(WorkspaceId(workspace_id))
    await services().captured()
    unsettled = services().mount.unsettled(workspace_id)
    status = workspace_status(repo, workspace_id, unsettled)
    queue = None if status.queue is None else describe_item(status.queue)
    shown = to_json(status)
    assert isinstance(shown, dict)
    return answer({**shown, "queue": queue})


@routes.get("/workspaces/<workspace_id>/touched")
@takes(None, "token", "below")
async def get_touched(workspace_id: str) -> Response:
    """Tells which paths may show something else than when a token was given out."""
    token, directory = query_text("token"), query_text("below")
    moment = None if token is None else Moment.parse(token)
    below = ROOT if directory is None else parse_path(directory)
    repository().workspace(WorkspaceId(workspace_id))
    await services().captured()
    # No await from here on: the token stands for this moment.
    touches = services().mount.touched(workspace_id, moment).below(below)
    if request.accept_mimetypes.best == GIT_HOOK_MEDIA_TYPE:
        return Response(_for_git(touches), content_type=GIT_HOOK_MEDIA_TYPE)
    return answer(touches)


def _for_git(touches: Touches) -> bytes:
    """What a hook for ``core.fsmonitor``, version 2, prints.

    Git knows what it wrote into its own directory. Told of it, it would look through the top
    directory each time, for it writes there each time.
    """
    paths = ["/"] if touches.everything else [path for path in touches.paths if path != ".git"]
    return "".join(f"{text}\0" for text in (touches.token, *paths)).encode()


@routes.post("/workspaces/<workspace_id>/switch")
@takes(Switch)
async def post_switch(workspace_id: str) -> Response:
    """Puts a workspace on another change."""
    body = await read_body(Switch)
    await services().captured()
    workspace = repository().switch_workspace(WorkspaceId(workspace_id), ChangeId(body.change_id))
    await services().settled()
    return _answer(workspace)


def _check_directory(text: str) -> None:
    """Refuses a directory before anything is made. Runs in a thread: it may lie in the mount."""
    directory = Path(text)
    if "\0" in text or not directory.is_absolute():
        raise InvalidArgument(name="directory", reason=f"{text!r} is not an absolute path")
    if RESERVED_NAME in directory.parts:
        raise InvalidArgument(name="directory", reason=f"{text} is the repository's own")
    try:
        if directory.is_dir():
            if any(directory.iterdir()):
                raise DirectoryNotEmpty(directory=text)
        elif os.path.lexists(directory):
            raise InvalidArgument(name="directory", reason=f"{text} is not a directory")
    except OSError as error:
        # A dead mount is in nobody's way: attaching clears it.
        if error.errno != errno.ENOTCONN:
            raise InvalidArgument(name="directory", reason=f"{text}: {error.strerror}") from error


def _answer(workspace: Workspace, status: int = 200) -> Response:
    return answer(_describe(workspace), status)


def _describe(workspace: Workspace) -> object:
    """Adds to a workspace its place in the mount, and what it kept out of the log."""
    shown = to_json(workspace)
    assert isinstance(shown, dict)
    path = services().mount.mountpoint / "ws" / workspace.id
    return {**shown, "path": str(path)}
