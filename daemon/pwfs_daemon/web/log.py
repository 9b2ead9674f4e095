"""``/api/ops`` and ``/api/landings``: the operation log."""

from quart import Blueprint, Response

from pwfs.model.entries import Mode
from pwfs.model.errors import InvalidArgument
from pwfs.model.ids import ChangeId, Seq
from pwfs.model.ops import OpType
from pwfs.model.paths import parse_path
from pwfs.repo.edits import OpRequest
from pwfs.repo.json import to_json
from pwfs_daemon.web.answers import (
    Body,
    answer,
    page,
    parse_number,
    query_flag,
    query_limit,
    query_number,
    query_text,
    read_body,
)
from pwfs_daemon.web.openapi import takes
from pwfs_daemon.web.services import repository, services

routes = Blueprint("log", __name__)


OPS_A_REQUEST_MAX = 500
"""They are one transaction, and nothing else is done meanwhile."""


class Operation(Body):
    """An operation as a client gives it; ``content_hash`` names an uploaded blob."""

    op_type: OpType
    path: str
    content_hash: str | None = None
    mode: str = Mode.FILE.text
    old_path: str | None = None

    @property
    def requested(self) -> OpRequest:
        """What the repository is asked for."""
        return OpRequest(self.op_type, self.path, self.content_hash, self.mode, self.old_path)


class NewOperation(Operation, kw_only=True):
    """One operation of a change."""

    change_id: str
    agent_id: str = "local"


class NewOperations(Body):
    """Several operations of a change, in order."""

    change_id: str
    ops: list[Operation]
    agent_id: str = "local"


@routes.post("/ops")
@takes(NewOperation)
async def post_op() -> Response:
    """Appends one operation to a change."""
    body = await read_body(NewOperation)
    await services().captured()
    op = repository().append_op(body.change_id, body.requested, agent=body.agent_id)
    await services().settled()
    return answer(op, 201)


@routes.post("/ops/batch")
@takes(NewOperations)
async def post_ops() -> Response:
    """Appends operations to a change, all or none."""
    body = await read_body(NewOperations)
    if not 1 <= len(body.ops) <= OPS_A_REQUEST_MAX:
        raise InvalidArgument(name="ops", reason=f"must be from 1 to {OPS_A_REQUEST_MAX}")
    await services().captured()
    requests = [op.requested for op in body.ops]
    ops = repository().append_ops(body.change_id, requests, agent=body.agent_id)
    await services().settled()
    return answer({"ops": ops}, 201)


@routes.get("/ops")
@takes(None, "change_id", "path", "since", "until", "limit", "after", "newest_first")
async def get_ops() -> Response:
    """Lists operations after ``since`` (or ``after``), oldest first unless ``newest_first``."""
    await services().captured()
    repo = repository()
    limit = query_limit()
    newest_first = query_flag("newest_first")
    change_id = query_text("change_id")
    path = query_text("path")
    if change_id is not None:
        repo.change(ChangeId(change_id))
    after = query_number("after")
    since = query_number("since", 0) or 0
    until = query_number("until")
    # Newest first, the next page goes on below the last one shown.
    if newest_first and after is not None:
        until = after - 1 if until is None else min(until, after - 1)
    elif after is not None:
        since = max(since, after)
    found = repo.log.ops(
        change_id=ChangeId(change_id) if change_id else None,
        path=parse_path(path) if path else None,
        since=Seq(since),
        until=Seq(until) if until is not None else None,
        limit=limit + 1,
        newest_first=newest_first,
    )
    return page("ops", found, limit, "id")


@routes.get("/ops/<seq>")
async def get_op(seq: str) -> Response:
    """Shows one operation."""
    return answer(repository().op(parse_number("seq", seq)))


@routes.get("/landings")
@takes(None, "since", "limit", "after")
async def get_landings() -> Response:
    """Lists landings after ``since`` (or ``after``), oldest first."""
    limit = query_limit()
    since = max(query_number("since", 0) or 0, query_number("after", 0) or 0)
    found = repository().log.landings(since=Seq(since), limit=limit + 1)
    return page("landings", found, limit, "seq")


@routes.get("/landings/<seq>/certificate")
async def get_certificate(seq: str) -> Response:
    """Shows what was tested before a landing."""
    stored = repository().certificate(parse_number("seq", seq))
    certificate = to_json(stored.certificate)
    assert isinstance(certificate, dict)
    if stored.certificate.independence is None:
        del certificate["independence"]
    return answer({**certificate, "digest": stored.digest})
