"""``/api/changes``: changes, their versions and what becomes of them."""

from quart import Blueprint, Response

from pwfs.model.changes import ChangeStatus
from pwfs.model.errors import InvalidArgument
from pwfs.model.ids import ChangeId
from pwfs_daemon.web.answers import (
    Acting,
    Body,
    answer,
    page,
    query_limit,
    query_number,
    query_text,
    read_body,
)
from pwfs_daemon.web.openapi import takes
from pwfs_daemon.web.services import repository, services

routes = Blueprint("changes", __name__)


class NewChange(Body):
    """What a change starts with; its id is made of the title."""

    title: str
    author: str = "local"
    target: str = "main"
    dependencies: tuple[str, ...] = ()
    metadata: dict[str, object] | None = None


class NewStatus(Body):
    """The status that a change is to have."""

    status: ChangeStatus


class NewMetadata(Body):
    """Metadata to merge into a change's; a null takes a key away."""

    metadata: dict[str, object]


class NewDependencies(Body):
    """The ids of all changes that must land first."""

    dependencies: tuple[str, ...]


class NewVersion(Body):
    """What a version says of itself."""

    message: str = ""
    agent_id: str = "local"


@routes.post("/changes")
@takes(NewChange)
async def post_change() -> Response:
    """Creates a change."""
    body = await read_body(NewChange)
    change = repository().create_change(
        body.title,
        author=body.author,
        target=body.target,
        depends_on=body.dependencies,
        metadata=body.metadata,
    )
    await services().settled()
    return answer(change, 201)


@routes.get("/changes")
@takes(None, "status", "limit", "after")
async def get_changes() -> Response:
    """Lists changes, oldest first."""
    await services().captured()
    limit = query_limit()
    status = query_text("status")
    after = query_text("after")
    if status is not None and status not in set(ChangeStatus):
        known = ", ".join(ChangeStatus)
        raise InvalidArgument(name="status", reason=f"{status!r} is none of {known}")
    if after is not None:
        repository().change(ChangeId(after))
    found = repository().log.changes(
        status=ChangeStatus(status) if status else None,
        after=ChangeId(after) if after else None,
        limit=limit + 1,
    )
    return page("changes", found, limit, "id")


@routes.get("/changes/<change_id>")
async def get_change(change_id: str) -> Response:
    """Shows one change with its versions."""
    await services().captured()
    return answer(repository().change(change_id))


@routes.patch("/changes/<change_id>/status")
@takes(NewStatus)
async def patch_status(change_id: str) -> Response:
    """Moves a change along its life cycle."""
    body = await read_body(NewStatus)
    change = repository().set_status(change_id, body.status)
    await services().settled()
    return answer(change)


@routes.patch("/changes/<change_id>/metadata")
@takes(NewMetadata)
async def patch_metadata(change_id: str) -> Response:
    """Merges into a change's metadata."""
    body = await read_body(NewMetadata)
    change = repository().set_metadata(change_id, body.metadata)
    await services().settled()
    return answer(change)


@routes.put("/changes/<change_id>/dependencies")
@takes(NewDependencies)
async def put_dependencies(change_id: str) -> Response:
    """Says which changes must land first."""
    body = await read_body(NewDependencies)
    change = repository().set_dependencies(change_id, body.dependencies)
    await services().settled()
    return answer(change)


@routes.post("/changes/<change_id>/versions")
@takes(NewVersion)
async def post_version(change_id: str) -> Response:
    """Freezes a change's draft."""
    body = await read_body(NewVersion)
    await services().captured(on_disk=True)
    version = repository().create_version(change_id, body.message, agent=body.agent_id)
    await services().settled()
    return answer(version, 201)


@routes.post("/changes/<change_id>/rebase")
@takes(Acting)
async def post_rebase(change_id: str) -> Response:
    """Replays a change on the head, as a new version."""
    body = await read_body(Acting)
    await services().captured(on_disk=True)
    version = repository().rebase(change_id, agent=body.agent_id)
    await services().settled()
    return answer(version, 201)


@routes.post("/changes/<change_id>/land")
@takes(Acting)
async def post_land(change_id: str) -> Response:
    """Lands a change without a test."""
    body = await read_body(Acting)
    await services().captured(on_disk=True)
    landing = repository().land(change_id, agent=body.agent_id)
    await services().settled()
    return answer(landing, 201)


@routes.get("/changes/<change_id>/conflicts")
async def get_conflicts(change_id: str) -> Response:
    """Compares a change with main and with every other open change."""
    await services().captured()
    return answer({"conflicts": repository().conflicts(change_id)})


@routes.get("/changes/<change_id>/diff")
@takes(None, "version")
async def get_diff(change_id: str) -> Response:
    """Shows what a change, or one version of it, does to the files."""
    await services().captured()
    version = query_number("version")
    return answer({"files": repository().diff(change_id, version)})
