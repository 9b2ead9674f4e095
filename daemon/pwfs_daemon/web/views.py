"""``/api/views``: views and the files they show."""

import mimetypes

import msgspec
from quart import Blueprint, Response

from pwfs.model.ids import AgentId, ChangeId, Seq, ViewId
from pwfs.model.paths import parse_path
from pwfs.model.views import BaseType, ConflictPolicy, Overlay, ViewBase
from pwfs_daemon.web.answers import Body, answer, no_content, query_text, read_body
from pwfs_daemon.web.openapi import takes
from pwfs_daemon.web.services import repository, services

routes = Blueprint("views", __name__)


class NewBase(Body):
    """Main, at its head or at a number."""

    type: BaseType = BaseType.MAIN_AT_LATEST
    seq: int = 0


class NewOverlay(Body):
    """A change to lay over the base; version 0 floats to the newest."""

    change_id: str
    version: int = 0
    pin: bool = False


class NewView(Body):
    """A view; without an id it gets one."""

    id: str | None = None
    owner: str = "local"
    base: NewBase = msgspec.field(default_factory=NewBase)
    overlays: tuple[NewOverlay, ...] = ()
    conflict_policy: ConflictPolicy = ConflictPolicy.WARN


@routes.post("/views")
@takes(NewView)
async def post_view() -> Response:
    """Creates a view."""
    body = await read_body(NewView)
    view = repository().create_view(
        ViewId(body.id) if body.id is not None else None,
        owner=AgentId(body.owner),
        base=ViewBase(body.base.type, Seq(body.base.seq)),
        overlays=tuple(
            Overlay(ChangeId(overlay.change_id), overlay.version, overlay.pin)
            for overlay in body.overlays
        ),
        policy=body.conflict_policy,
    )
    await services().settled()
    return answer(view, 201)


@routes.get("/views")
@takes(None, "owner")
async def get_views() -> Response:
    """Lists the stored views."""
    owner = query_text("owner")
    return answer({"views": repository().views(AgentId(owner) if owner else None)})


@routes.get("/views/<view_id>")
async def get_view(view_id: str) -> Response:
    """Shows one view."""
    return answer(repository().view(ViewId(view_id)))


@routes.delete("/views/<view_id>")
async def delete_view(view_id: str) -> Response:
    """Deletes a view; no content goes with it."""
    repository().delete_view(ViewId(view_id))
    await services().settled()
    return no_content()


@routes.get("/views/<view_id>/tree")
async def get_tree(view_id: str) -> Response:
    """Lists every file that a view shows."""
    await services().captured()
    return answer(repository().materialize(ViewId(view_id)))


@routes.get("/views/<view_id>/files/<path:path>")
async def get_file(view_id: str, path: str) -> Response:
    """Sends one file as a view shows it."""
    await services().captured()
    content = repository().read_file(ViewId(view_id), parse_path(path))
    guessed = mimetypes.guess_type(path)[0]
    response = Response(content, content_type=guessed or "application/octet-stream")
    response.headers["X-Content-Type-Options"] = "nosniff"
    # The bytes are somebody's code: a browser must not run them with this origin's rights.
    response.headers["Content-Security-Policy"] = "sandbox"
    return response
