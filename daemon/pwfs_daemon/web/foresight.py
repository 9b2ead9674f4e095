"""``/api/queue/plan`` and ``/api/queue/what-if``: what the queue is about to do, and would do."""

import math

from quart import Blueprint, Response

from pwfs.model.errors import InvalidArgument
from pwfs.model.ids import ChangeId, ItemId
from pwfs.model.queue import Member
from pwfs.repo.changes import check_agent
from pwfs.repo.history import past_items
from pwfs.submit.foresight import Prospect, Speculation, foresee, what_if
from pwfs.submit.snapshot import Snapshot
from pwfs_daemon.web.answers import Body, answer, query_number, read_body
from pwfs_daemon.web.openapi import takes
from pwfs_daemon.web.services import repository, services

routes = Blueprint("foresight", __name__)

DURATIONS_MAX = 200
HISTORY_MAX = 10_000


class Question(Body):
    """Changes that would be submitted together."""

    changes: tuple[str, ...]
    agent_id: str = "local"
    priority: int = 0


@routes.get("/queue/plan")
async def get_plan() -> Response:
    """Shows each queued item's tests by what they assume, and the odds that it lands."""
    snapshot = services().queue.snapshot()
    found = foresee(snapshot)
    names = {item.id: [member.change_id for member in item.members] for item in snapshot.items}

    def described(speculation: Speculation) -> dict[str, object]:
        assumes = [change for item_id in speculation.assumes for change in names[item_id]]
        return {
            "assumes": assumes,
            "state": speculation.state,
            "attempt_id": speculation.attempt_id,
        }

    items = [
        {
            "item_id": outlook.item_id,
            "changes": names[outlook.item_id],
            "waits_for": list(outlook.waits_for),
            "odds": outlook.odds,
            "tests": [described(each) for each in outlook.speculations],
        }
        for outlook in found.outlooks
    ]
    return answer({"policy": found.policy, "width": found.width, "items": items})


@routes.get("/queue/history")
@takes(None, "limit")
async def get_history() -> Response:
    """Lists what landed or was ejected of the last ``limit`` (1,000) items, as they came."""
    limit = query_number("limit")
    if limit is not None and not 1 <= limit <= HISTORY_MAX:
        raise InvalidArgument(name="limit", reason=f"must be from 1 to {HISTORY_MAX}")
    return answer({"items": past_items(repository(), limit or 1_000)})


@routes.post("/queue/what-if")
@takes(Question)
async def post_question() -> Response:
    """Tells what would become of changes if they were submitted now; nothing is changed."""
    body = await read_body(Question)
    await services().captured()
    repo = repository()
    changes = repo.check_submission(body.changes, agent=body.agent_id)
    snapshot = services().queue.snapshot()
    members = [Member(c.id, c.current_version + repo.has_draft(c)) for c in changes]
    needed = {change.id: change.dependencies for change in changes if change.dependencies}
    share = repo.next_share(check_agent(body.agent_id))
    drafts = [change for change in changes if repo.has_draft(change)]
    frozen = [m for m, change in zip(members, changes, strict=True) if change not in drafts]
    targets = repo.known_targets([*frozen, *_concerned(snapshot)], drafts)
    prospect = what_if(
        snapshot, members, needed, priority=body.priority, share=share, targets=targets
    )
    owner = {m.change_id: item.id for item in snapshot.items for m in item.members}
    conflicts = [
        {"change_id": change.id, "path": found.path, "with": found.their_change}
        for change in changes
        for found in repo.conflicts(change.id)
        if found.their_change is None or owner.get(found.their_change) in prospect.waits_for
    ]
    others = {owner[ChangeId(str(each["with"]))] for each in conflicts if each["with"] is not None}
    odds = {outlook.item_id: outlook.odds for outlook in foresee(snapshot).outlooks}
    is_possible = all(each["with"] is not None for each in conflicts)
    lands = prospect.odds * math.prod(1.0 - odds[ItemId(other)] for other in sorted(others))
    return answer(
        {
            "position": prospect.position,
            "waits_for": list(prospect.waits_for),
            "odds": lands if is_possible else 0.0,
            "conflicts": conflicts,
            "rounds_min": prospect.rounds_min,
            "rounds_expected": prospect.rounds_expected,
            **_waits(prospect),
        }
    )


def _concerned(snapshot: Snapshot) -> list[Member]:
    """The versions that have a part in a snapshot: queued, tested, or landed since."""
    queued = [member for item in snapshot.items for member in item.members]
    tested = [member for attempt in snapshot.attempts for member in attempt.stack]
    return [*queued, *tested, *(member for _, member in snapshot.landings)]


def _waits(prospect: Prospect) -> dict[str, float | None]:
    """How long it would take, by how long tests took that passed; null while none has."""
    took_s = sorted(repository().log.passed_durations_s(_command(), DURATIONS_MAX))
    if not took_s:
        return {"wait_min_s": None, "wait_expected_s": None, "wait_p95_s": None}
    middle_s, p95_s = took_s[len(took_s) // 2], took_s[math.ceil(0.95 * len(took_s)) - 1]
    return {
        "wait_min_s": middle_s * prospect.rounds_min,
        "wait_expected_s": middle_s * prospect.rounds_expected,
        "wait_p95_s": p95_s * prospect.rounds_expected,
    }


def _command() -> str:
    return repository().config.test_cmd
