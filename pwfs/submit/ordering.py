"""Who goes first: the queue's order, and what it is made of.

By what is said of an item: whether somebody had it jump the queue, its priority, what it gained by
waiting, and its agent's share. Each is a number that is known when a snapshot is taken, so that the
order of a snapshot is always the same.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from pwfs.model.ids import AgentId, ChangeId, ItemId
from pwfs.model.queue import QueueItem

_Rank = tuple[datetime, int, int, ItemId]
_NEVER = datetime.max.replace(tzinfo=UTC)


def in_queue_order(
    items: Iterable[QueueItem],
    dependencies: Mapping[ChangeId, tuple[ChangeId, ...]],
    ages: Mapping[ItemId, int],
) -> tuple[QueueItem, ...]:
    """Orders items; what an item depends on goes before it.

    First those that jumped, the earliest jump first; then by priority and ``ages`` (see `ages_of`)
    together, highest first; then by share (see `next_share`); then first come. A dependency takes
    part in the rank of what needs it. Where items depend on each other in a ring, one of them is
    left before its dependency.
    """

    def rank(item: QueueItem) -> _Rank:
        jumped_at = _NEVER if item.jump is None else item.jump.jumped_at
        level = item.priority + ages.get(item.id, 0)
        return (jumped_at, -level, item.share, item.id)

    ranked = sorted(items, key=rank)
    owner = {member.change_id: item for item in ranked for member in item.members}
    ordered: list[QueueItem] = []
    seen: set[ItemId] = set()
    # A stack of its own: a chain of dependencies may be longer than Python recurses.
    for first in ranked:
        pending = [(first, False)]
        while pending:
            item, is_ready = pending.pop()
            if is_ready:
                ordered.append(item)
                continue
            if item.id in seen:
                continue
            seen.add(item.id)
            pending.append((item, True))
            below = [
                owner[other]
                for member in item.members
                for other in dependencies.get(member.change_id, ())
                if other in owner
            ]
            below.sort(key=rank, reverse=True)
            pending.extend((other, False) for other in below)
    return tuple(ordered)


def ages_of(
    items: Iterable[QueueItem], landed_at: Sequence[datetime], every: int
) -> dict[ItemId, int]:
    """What items gained by waiting: a level of priority for ``every`` items that landed meanwhile.

    ``landed_at``, ascending, are the times at which items landed since the first of ``items``
    entered. With ``every`` 0 nobody gains anything. As it is landings that are counted, an item
    whose priority is n levels lower than that of all who come later waits for n times ``every``
    landings at most, besides those that were before it anyway.
    """
    if not every:
        return {}
    total = len(landed_at)
    gained = {
        item.id: (total - bisect_right(landed_at, item.entered_at)) // every for item in items
    }
    return {item_id: levels for item_id, levels in gained.items() if levels}


def next_share(queued: Iterable[QueueItem], agent_id: AgentId) -> int:
    """The share of an item that an agent is about to submit: the start tag of fair queueing.

    Items of one agent have ascending tags, and whoever has none queued starts at the least that is
    queued; so of equal priorities those of n agents land in turn, however many each submits. (Goyal,
    Vin, Cheng: Start-time Fair Queueing, SIGCOMM 1996, with all lengths and weights 1.)
    """
    waiting = list(queued)
    now = min((item.share for item in waiting), default=0)
    own = max((item.share + 1 for item in waiting if item.agent_id == agent_id), default=0)
    return max(now, own)
