"""Which attempts count whose result is another tree's (`pwfs.model.queue.Attempt.rests_on`)."""

from collections.abc import Iterable, Sequence

from pwfs.model.ids import Seq
from pwfs.model.queue import Attempt, Member, QueueItem
from pwfs.submit.independence import Independence


def counting(
    items: Iterable[QueueItem],
    attempts: Sequence[Attempt],
    landings: Sequence[tuple[Seq, Member]],
    head_seq: Seq,
    independence: Independence,
) -> list[Attempt]:
    """Leaves out, of all attempts of some items, those that rest on what does not hold any more.

    A result of another tree is good for landing on the main that it was written down for, as long as
    the rule says the same. Otherwise the test itself, which is another attempt, is read again.
    ``landings`` are all since the oldest attempt's main.
    """
    by_id = {attempt.id: attempt for attempt in attempts}
    owners = {item.id: item for item in items}

    def counts(attempt: Attempt) -> bool:
        if attempt.rests_on is None:
            return True
        run, item = by_id.get(attempt.rests_on), owners[attempt.item_id]
        if run is None or attempt.base_seq != head_seq:
            return False
        landed = {member for seq, member in landings if seq > run.base_seq}
        differing = (landed | set(attempt.stack)) ^ set(run.stack)
        return all(independence.of_change(item, member.change_id) for member in differing)

    return [attempt for attempt in attempts if counts(attempt)]
