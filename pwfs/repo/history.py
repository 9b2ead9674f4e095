"""What the queue decided, for those who want to learn from it."""

from pwfs.model.ejection import Cause
from pwfs.model.queue import Attempt, EjectReason, QueueItem
from pwfs.repo.snapshots import Snapshots
from pwfs.submit.replaying import PastItem

_CAUSES = {
    EjectReason.CONFLICT: Cause.CONFLICT,
    EjectReason.TEST_FAILED: Cause.OWN_FAILURE,
    EjectReason.TIMEOUT: Cause.TIMEOUT,
    EjectReason.DEPENDENCY: Cause.DEPENDENCY,
    EjectReason.INFRASTRUCTURE: Cause.INFRASTRUCTURE,
    EjectReason.MAIN_FAILED: Cause.MAIN,
}
"""Of items that left before causes were kept."""


def past_items(repo: Snapshots, limit: int) -> list[PastItem]:
    """The items that landed or were ejected of the last ``limit``; times in seconds of Unix time."""
    items = repo.log.decided_items(limit)
    return sorted(
        (_past(item, repo.own_attempts(item.id)) for item in items), key=lambda past: past.entered_s
    )


def _past(item: QueueItem, attempts: list[Attempt]) -> PastItem:
    assert item.finished_at is not None
    cause = None if item.reason is None else _CAUSES[item.reason]
    return PastItem(
        item.id,
        tuple(member.change_id for member in item.members),
        item.entered_at.timestamp(),
        item.finished_at.timestamp(),
        cause if item.ejection is None else item.ejection.cause,
        () if item.ejection is None else item.ejection.with_changes,
        tuple(took_s for attempt in attempts if (took_s := _took_s(attempt)) > 0),
    )


def _took_s(attempt: Attempt) -> float:
    """How long a test ran; another attempt's result that was used took no time."""
    if attempt.ended_at is None:
        return 0.0
    return (attempt.ended_at - attempt.started_at).total_seconds()
