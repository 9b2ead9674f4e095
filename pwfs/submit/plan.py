"""The policy: what follows from where the items stand.

A plan is complete for its snapshot only: whoever carries it out takes a new snapshot afterwards
and plans again, until a plan is empty. Main moves by at most one item a plan, so that what comes
after is decided on the new main.
"""

from pwfs.model.queue import Attempt, EjectReason
from pwfs.submit.actions import Action, Compose, Eject, Land, Reuse, Start, Stop
from pwfs.submit.forecast import Place, Standing, foresee
from pwfs.submit.snapshot import Snapshot


def plan(snapshot: Snapshot) -> tuple[Action, ...]:
    """Decides what to do: a pure function, so equal snapshots give equal plans.

    Meaningless attempts are stopped before anything else. Then either items leave the queue, or
    the first is certified, or tests are started and the next unknown tree is asked for.
    """
    places = foresee(snapshot)
    stops = _stops(snapshot, places)
    if decided := _departures(snapshot, places):
        return (*stops, *decided)
    return (*stops, *_starts(snapshot, places, len(stops)), *_compositions(snapshot, places))


def _stops(snapshot: Snapshot, places: tuple[Place, ...]) -> tuple[Stop, ...]:
    by_item = {place.item.id: place for place in places}
    return tuple(
        Stop(attempt.id, why)
        for attempt in snapshot.running()
        if (why := _why_stop(attempt, by_item.get(attempt.item_id)))
    )


def _why_stop(attempt: Attempt, place: Place | None) -> str:
    if place is None:
        return "its item left the queue"
    if not place.is_settled:
        return ""
    if place.key is None:
        return place.detail or "its turn has not come any more"
    if place.key != attempt.key:
        return "what stands before it, or the test, is not the same any more"
    if place.attempt is not None and place.attempt.id == attempt.id:
        return ""
    return "another attempt decided the same tree"


def _departures(snapshot: Snapshot, places: tuple[Place, ...]) -> tuple[Action, ...]:
    lost = tuple(
        Eject(place.item.id, EjectReason.DEPENDENCY, place.detail)
        for place in places
        if place.standing is Standing.LOST
    )
    if lost or not places:
        return lost
    first = places[0]
    if first.reason is not None:
        evidence = first.attempt.id if first.attempt is not None else None
        return (Eject(first.item.id, first.reason, first.detail, evidence),)
    if first.standing is Standing.PASSED and not snapshot.paused:
        return (_land_or_certify(snapshot, first),)
    return ()


def _land_or_certify(snapshot: Snapshot, first: Place) -> Land | Reuse:
    """Lands what was tested on main as it is; another result on the same tree is certified first.

    So each landing names an attempt whose base is the landing before it, whose stack is what
    landed, and whose root is what main became.
    """
    assert first.key is not None
    own = first.attempt
    if own is not None and own.base_seq == snapshot.head_seq and own.stack == first.stack:
        return Land(first.item.id, own.id)
    source = own.id if own is not None else snapshot.passed_by(first.key)
    assert source is not None
    return Reuse(first.item.id, snapshot.head_seq, first.stack, first.key, source)


def _starts(snapshot: Snapshot, places: tuple[Place, ...], stopped: int) -> tuple[Start, ...]:
    if snapshot.paused or not snapshot.command:
        return ()
    free = snapshot.max_speculative - (len(snapshot.running()) - stopped)
    starts: list[Start] = []
    for place in places:
        if len(starts) >= free:
            break
        if place.standing is not Standing.WANTED or place.key is None:
            continue
        if all(start.key != place.key for start in starts):
            starts.append(Start(place.item.id, snapshot.head_seq, place.stack, place.key))
    return tuple(starts)


def _compositions(snapshot: Snapshot, places: tuple[Place, ...]) -> tuple[Compose, ...]:
    return tuple(
        Compose(place.item.id, snapshot.head_seq, place.stack, place.below)
        for place in places
        if place.standing is Standing.UNCOMPOSED and place.below is not None
    )
