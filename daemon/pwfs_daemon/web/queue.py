"""``/api/queue``: the submit queue."""

from quart import Blueprint, Response

from pwfs.model.errors import InvalidArgument, NotFound
from pwfs.model.queue import Attempt, AttemptState, ItemState, QueueItem
from pwfs.repo.json import to_json
from pwfs_daemon.web.answers import (
    Acting,
    Body,
    answer,
    parse_number,
    query_flag,
    query_number,
    query_text,
    read_body,
)
from pwfs_daemon.web.blobs import send_content
from pwfs_daemon.web.openapi import takes
from pwfs_daemon.web.outputs import read_output
from pwfs_daemon.web.services import repository, services

routes = Blueprint("queue", __name__)

TEXT = "text/plain; charset=utf-8"
RESUBMITS_MAX = 100
TAIL_CHARS = 4096


class Submission(Body):
    """One change, or several that land together or not at all."""

    change_id: str | None = None
    changes: tuple[str, ...] = ()
    agent_id: str = "local"
    priority: int = 0
    message: str = ""
    resubmits: int = 0


class Reason(Body):
    """Who does something out of the ordinary, and why."""

    reason: str
    agent_id: str = "local"


class Priority(Body):
    """A new priority: higher goes first."""

    priority: int


@routes.post("/queue")
@takes(Submission)
async def post_submission() -> Response:
    """Submits; work that no version holds yet is frozen first."""
    body = await read_body(Submission)
    if (body.change_id is None) == (not body.changes):
        raise InvalidArgument(name="body", reason="give either change_id or changes")
    await services().captured(on_disk=True)
    changes = (body.change_id,) if body.change_id is not None else body.changes
    if not 0 <= body.resubmits <= RESUBMITS_MAX:
        raise InvalidArgument(name="resubmits", reason=f"must be from 0 to {RESUBMITS_MAX}")
    item = repository().submit(
        changes,
        agent=body.agent_id,
        priority=body.priority,
        message=body.message,
        resubmits=body.resubmits,
    )
    # Described before anything else runs: as it was submitted.
    submitted = describe_item(item)
    await services().settled()
    return answer(submitted, 201)


@routes.get("/queue")
async def get_queue() -> Response:
    """Shows what is queued, first to land first."""
    repo = repository()
    items = [describe_item(item) for item in repo.queued()]
    return answer({"paused": repo.queue_paused, "closing": repo.closing, "items": items})


@routes.get("/queue/items")
@takes(None, "change_id")
async def get_items() -> Response:
    """Lists the items of a change, oldest first, those that left the queue too.

    Raises:
        NotFound: there is no such change, or it was never submitted.
    """
    change_id = query_text("change_id")
    if change_id is None:
        raise InvalidArgument(name="change_id", reason="is missing")
    repo = repository()
    change = repo.change(change_id)
    found = [i for i in repo.log.items() if any(m.change_id == change.id for m in i.members)]
    if not found:
        raise NotFound(kind="queue item of change", id=change_id)
    return answer({"items": [describe_item(item) for item in found]})


@routes.get("/queue/items/<item_id>")
async def get_item(item_id: str) -> Response:
    """Shows one item, queued or not, with its attempts."""
    repo = repository()
    item = repo.item(parse_number("item", item_id))
    own = repo.own_attempts(item.id)
    tail = repo.output_tail(own[-1])[-TAIL_CHARS:] if own else ""
    shown = {
        **describe_item(item),
        "attempts": [describe_attempt(attempt) for attempt in repo.attempts(item.id)],
        "output_tail": tail,
    }
    targets = repo.described_targets(item.members)
    return answer(shown if targets is None else {**shown, "targets": targets})


@routes.delete("/queue/items/<item_id>")
@takes(Acting)
async def delete_item(item_id: str) -> Response:
    """Cancels an item; its changes are drafts again."""
    body = await read_body(Acting)
    item = repository().cancel(parse_number("item", item_id), agent=body.agent_id)
    await services().settled()
    return answer(describe_item(item))


@routes.put("/queue/items/<item_id>/priority")
@takes(Priority)
async def put_priority(item_id: str) -> Response:
    """Moves an item."""
    body = await read_body(Priority)
    if not -(1 << 31) <= body.priority < 1 << 31:
        raise InvalidArgument(name="priority", reason="must be a 32-bit number")
    moved = describe_item(repository().set_priority(parse_number("item", item_id), body.priority))
    await services().settled()
    return answer(moved)


@routes.post("/queue/items/<item_id>/jump")
@takes(Reason)
async def post_jump(item_id: str) -> Response:
    """Lets an item go before all others, and land though the tree is closed."""
    body = await read_body(Reason)
    number = parse_number("item", item_id)
    item = repository().jump(number, body.reason, agent=body.agent_id)
    # Described before it may land.
    jumped = describe_item(item)
    await services().settled()
    return answer(jumped)


@routes.post("/queue/close")
@takes(Reason)
async def post_close() -> Response:
    """Lets nothing land but what jumps the queue; tests go on."""
    body = await read_body(Reason)
    closing = repository().close_tree(body.reason, agent=body.agent_id)
    await services().settled()
    return answer({"closing": closing})


@routes.post("/queue/open")
@takes(Acting)
async def post_open() -> Response:
    """Opens the tree again."""
    body = await read_body(Acting)
    repository().open_tree(agent=body.agent_id)
    await services().settled()
    return answer({"closing": None})


@routes.post("/queue/pause")
async def post_pause() -> Response:
    """Lets nothing start or land for now; tests that run go on."""
    return await _set_paused(True)


@routes.post("/queue/resume")
async def post_resume() -> Response:
    """Ends a pause."""
    return await _set_paused(False)


@routes.get("/queue/items/<item_id>/output")
@takes(None, "attempt", "follow")
async def get_output(item_id: str) -> Response:
    """Sends what a test printed: the latest of the item itself, or ``attempt``.

    With ``follow`` the answer goes on for as long as the test runs.
    """
    item = repository().item(parse_number("item", item_id))
    wanted = query_number("attempt")
    follow = query_flag("follow")
    repo = repository()
    attempts = repo.own_attempts(item.id)
    if wanted is not None:
        attempts = [a for a in repo.attempts(item.id) if a.id == wanted]
    if not attempts:
        if wanted is not None:
            raise NotFound(kind="attempt", id=str(wanted))
        return Response(b"", content_type=TEXT)
    return await _output(attempts[-1], follow=follow)


async def _output(attempt: Attempt, *, follow: bool) -> Response:
    if attempt.output_hash is not None:
        return await send_content(attempt.output_hash, TEXT)
    if attempt.state is not AttemptState.RUNNING:
        return Response(attempt.detail + "\n" if attempt.detail else "", content_type=TEXT)
    response = Response(read_output(services(), attempt.id, follow=follow), content_type=TEXT)
    response.timeout = None
    response.headers["Cache-Control"] = "no-store"
    return response


async def _set_paused(paused: bool) -> Response:
    repository().set_queue_paused(paused)
    await services().settled()
    return answer({"paused": paused})


def describe_item(item: QueueItem) -> dict[str, object]:
    """Adds to an item its place in the queue (null when it left) and how its test stands.

    ``change_id`` and ``version`` repeat the first member, for the many items that have one.
    """
    shown = to_json(item)
    assert isinstance(shown, dict)
    places = [queued.id for queued in repository().queued()]
    return {
        **shown,
        "position": places.index(item.id) if item.id in places else None,
        "status": _test_status(item),
        "change_id": item.members[0].change_id,
        "version": item.members[0].version,
    }


def describe_attempt(attempt: Attempt) -> dict[str, object]:
    """An attempt, with ``rests_on`` only where it is another one's result."""
    shown = to_json(attempt)
    assert isinstance(shown, dict)
    if attempt.rests_on is None:
        del shown["rests_on"]
    return shown


def _test_status(item: QueueItem) -> str:
    if item.state is not ItemState.QUEUED:
        return item.state.value
    attempts = repository().own_attempts(item.id)
    if attempts and attempts[-1].state in (AttemptState.RUNNING, AttemptState.PASSED):
        return attempts[-1].state.value
    return "pending"
