"""What may never happen, checked by other means than the plan was made.

The runner checks each plan before it carries it out, tests check whole histories. Each check
names the promise it holds: green, identity, order, independence, dependencies, evidence, conservation, bounds.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pwfs.model.changes import Landing
from pwfs.model.ids import AttemptId, ChangeId, ItemId, Seq
from pwfs.model.queue import (
    Attempt,
    AttemptState,
    EjectReason,
    ItemState,
    Member,
    QueueItem,
    TestKey,
)
from pwfs.submit.actions import Action, Compose, Eject, Land, Reuse, Start, Stop
from pwfs.submit.line import Policy
from pwfs.submit.reading import ERROR_RETRIES_MAX
from pwfs.submit.snapshot import Composition, Snapshot


class InvariantBroken(AssertionError):
    """A promise of the queue would be, or was, broken: a defect, never a user's fault."""


def check_actions(snapshot: Snapshot, actions: Sequence[Action]) -> None:
    """Checks a plan against the snapshot it was made from.

    Raises:
        InvariantBroken: it must not be carried out.
    """
    checked = _Checked(snapshot, actions)
    for action in actions:
        checked.check(action)
    _bounds(snapshot, actions)


def check_landing(attempt: Attempt, landings: Sequence[Landing]) -> None:
    """Checks that what landed is what was tested: the landings are one item's, in order.

    Raises:
        InvariantBroken: green or identity does not hold.
    """
    _hold("green", attempt.state is AttemptState.PASSED, f"attempt {attempt.id} did not pass")
    _hold("identity", bool(landings), f"attempt {attempt.id} landed nothing")
    landed = tuple(Member(landing.change_id, landing.version) for landing in landings)
    _hold("identity", landed == attempt.stack, f"{landed} landed, tested was {attempt.stack}")
    first, last = landings[0], landings[-1]
    _hold(
        "identity",
        first.previous_seq == attempt.base_seq,
        f"tested on main at {attempt.base_seq}, landed on {first.previous_seq}",
    )
    _hold(
        "identity",
        last.root == attempt.key.root,
        f"main became {last.root}, tested was {attempt.key.root}",
    )
    for landing in landings:
        _hold("identity", landing.verified, f"the landing at {landing.seq} says it is untested")


def check_history(
    items: Sequence[QueueItem], attempts: Sequence[Attempt], landings: Sequence[Landing]
) -> None:
    """Checks a queue's whole past: every verified landing, and that every item is accounted for.

    Raises:
        InvariantBroken: conservation, green or identity does not hold.
    """
    by_id = {attempt.id: attempt for attempt in attempts}
    by_attempt: dict[AttemptId, list[Landing]] = {}
    head = Seq(0)
    for landing in landings:
        _hold("identity", landing.previous_seq == head, f"a gap in main before {landing.seq}")
        head = landing.seq
        if landing.verified and landing.attempt_id is not None:
            by_attempt.setdefault(AttemptId(landing.attempt_id), []).append(landing)
    for attempt_id, made in by_attempt.items():
        check_landing(by_id[attempt_id], made)
    owner = {member: item.id for item in items for member in item.members}
    landed_items = Counter(
        item_id
        for attempt_id in by_attempt
        for item_id in {by_id[attempt_id].item_id} | _owners(by_id[attempt_id], owner)
    )
    for item in items:
        expected = int(item.state is ItemState.LANDED)
        found = landed_items[item.id]
        _hold("conservation", found == expected, f"item {item.id} landed {found} times")
        is_final = item.state is not ItemState.QUEUED
        _hold(
            "conservation",
            is_final == (item.finished_at is not None),
            f"item {item.id} is {item.state} and ended at {item.finished_at}",
        )
    _hold(
        "conservation",
        set(landed_items) <= {item.id for item in items},
        "something landed that was never submitted",
    )


def _owners(attempt: Attempt, owner: Mapping[Member, ItemId]) -> set[ItemId]:
    return {owner[member] for member in attempt.stack if member in owner}


class _Checked:
    """Checks one action after the other; see `check_actions`."""

    def __init__(self, snapshot: Snapshot, actions: Sequence[Action]) -> None:
        self._snapshot = snapshot
        self._order = snapshot.in_order()
        self._items = {item.id: item for item in snapshot.items}
        self._attempts = {attempt.id: attempt for attempt in snapshot.attempts}
        self._leaving = {action.item_id for action in actions if isinstance(action, Eject)}

    def check(self, action: Action) -> None:
        match action:
            case Land():
                self._land(action)
            case Eject():
                self._eject(action)
            case Start() if not action.stack:
                self._control(action)
            case Start() | Reuse():
                self._test(action)
            case Stop():
                attempt = self._attempts.get(action.attempt_id)
                is_running = attempt is not None and attempt.state is AttemptState.RUNNING
                _hold("bounds", is_running, f"attempt {action.attempt_id} does not run")
            case Compose():
                self._stack(action.item_id, action.base_seq, action.stack)

    def _land(self, action: Land) -> None:
        snapshot = self._snapshot
        items = [self._undisputed(i, action.with_ids) for i in (*action.with_ids, action.item_id)]
        item, stack = items[-1], tuple(member for item in items for member in item.members)
        attempt = self._attempts.get(action.attempt_id)
        _hold("pause", not snapshot.paused, f"item {item.id} would land while paused")
        may_land = not snapshot.closed or snapshot.lands_while_closed() >= {i.id for i in items}
        _hold("closed", may_land, f"item {item.id} would land while the tree is closed")
        if attempt is None or attempt.item_id != item.id:
            raise InvariantBroken(f"green: attempt {action.attempt_id} is not item {item.id}'s")
        _hold("green", attempt.state is AttemptState.PASSED, f"attempt {attempt.id} not passed")
        _hold(
            "identity",
            attempt.base_seq == snapshot.head_seq and attempt.stack == stack,
            f"attempt {attempt.id} tested something else than landing item {item.id} gives",
        )
        exact = self._exact(item, stack)
        _hold(
            "identity",
            exact.root is not None and attempt.key == snapshot.key(exact.root),
            f"attempt {attempt.id} tested {attempt.key}, landing gives {exact.root}",
        )
        coming = {member.change_id for member in stack}
        missing = sorted(c for item in items for c in snapshot.missing(item) - coming)
        _hold("dependencies", not missing, f"item {item.id} would land before {missing}")

    def _eject(self, action: Eject) -> None:
        snapshot, item = self._snapshot, self._items.get(action.item_id)
        if item is None:
            raise InvariantBroken(f"conservation: item {action.item_id} is not queued")
        if action.reason is EjectReason.DEPENDENCY:
            coming = {
                member.change_id
                for other in self._order[: self._order.index(item)]
                if other.id not in self._leaving
                for member in other.members
            }
            is_lost = bool(snapshot.missing(item) - coming)
            _hold("evidence", is_lost, f"item {item.id} lost no dependency")
            return
        self._undisputed(item.id, ())
        exact = self._exact(item, item.members)
        if action.reason is EjectReason.CONFLICT:
            _hold("evidence", exact.root is None, f"item {item.id} merges with main")
            return
        if exact.root is None or action.attempt_id is None:
            raise InvariantBroken(f"evidence: no test of item {item.id} on main itself")
        key = snapshot.key(exact.root)
        evidence = self._attempts[action.attempt_id]
        _hold(
            "evidence",
            evidence.item_id == item.id and self._is_as_good(evidence, item, key, item.members),
            f"attempt {evidence.id} tested another tree than item {item.id} on main",
        )
        _hold("evidence", snapshot.passed_by(key) is None, f"item {item.id}'s tree passed")
        self._check_counts(item, key, action.reason)
        if action.reason is not EjectReason.INFRASTRUCTURE:
            self._check_control(item, action.reason)

    def _check_counts(self, item: QueueItem, key: TestKey, reason: EjectReason) -> None:
        states = Counter(
            attempt.state
            for attempt in self._snapshot.attempts
            if attempt.item_id == item.id and self._is_as_good(attempt, item, key, item.members)
        )
        if reason is EjectReason.INFRASTRUCTURE:
            is_proven = states[AttemptState.ERROR] > ERROR_RETRIES_MAX
        else:
            failures = states[AttemptState.FAILED] + states[AttemptState.TIMED_OUT]
            is_proven = failures > self._snapshot.retries_max
        _hold("evidence", is_proven, f"item {item.id} has attempts left: {dict(states)}")

    def _check_control(self, item: QueueItem, reason: EjectReason) -> None:
        """Exoneration: who fails is to blame if main without it passes, and only then."""
        snapshot = self._snapshot
        states = Counter(control.state for control in snapshot.controls)
        failures = states[AttemptState.FAILED] + states[AttemptState.TIMED_OUT]
        is_red = not snapshot.is_green and failures > snapshot.retries_max
        if reason is EjectReason.MAIN_FAILED:
            _hold("evidence", is_red, f"item {item.id} would leave for a main that did not fail")
            return
        is_known = snapshot.is_green or states[AttemptState.ERROR] > ERROR_RETRIES_MAX
        _hold("evidence", is_known and not is_red, f"main was not tested without item {item.id}")

    def _is_as_good(
        self, attempt: Attempt, item: QueueItem, key: TestKey, stack: tuple[Member, ...]
    ) -> bool:
        """Whether an attempt tested a tree, or one that differs only in what the item ignores."""
        if attempt.key == key:
            return True
        difference = self._difference(attempt, stack)
        if attempt.state in (AttemptState.FAILED, AttemptState.TIMED_OUT):
            # It may be the fault of what was tested with it and is not part of main.
            tested = {member.change_id for member in attempt.stack}
            landed = {m.change_id for seq, m in self._snapshot.landings if seq > attempt.base_seq}
            if tested & difference - landed:
                return False
        return (
            attempt.key == self._snapshot.key(attempt.key.root)
            and attempt.base_seq >= self._snapshot.landings_since
            and bool(difference)
            and all(_is_independent(self._snapshot, item, change) for change in difference)
        )

    def _difference(self, attempt: Attempt, stack: tuple[Member, ...]) -> set[ChangeId]:
        landed = {m for seq, m in self._snapshot.landings if seq > attempt.base_seq}
        return {m.change_id for m in (landed | set(stack)) ^ set(attempt.stack)}

    def _control(self, action: Start) -> None:
        snapshot = self._snapshot
        is_main = (action.base_seq, action.key) == (
            snapshot.head_seq,
            snapshot.key(snapshot.head_root),
        )
        _hold("identity", is_main, f"{action.key.root} is not main")
        _hold("conservation", action.item_id in self._items, f"{action.item_id} is not queued")
        _hold("pause", not snapshot.paused, "main would be tested while paused")
        _hold("bounds", not snapshot.is_green, "main passed already")

    def _test(self, action: Start | Reuse) -> None:
        snapshot = self._snapshot
        item = self._stack(action.item_id, action.base_seq, action.stack)
        known = {
            found.root
            for found in snapshot.compositions.values()
            if found.stack[-len(item.members) :] == item.members
        }
        _hold("identity", action.key.root in known, f"{action.key.root} was never composed")
        _hold(
            "identity",
            action.key == snapshot.key(action.key.root),
            f"item {item.id} would be tested otherwise than configured",
        )
        source = snapshot.passed_by(action.key)
        if isinstance(action, Start):
            _hold("pause", not snapshot.paused, f"item {item.id} would start while paused")
            _hold("bounds", source is None, f"item {item.id}'s tree passed in {source}")
        else:
            self._reuse(action, item, source)

    def _reuse(self, action: Reuse, item: QueueItem, source: AttemptId | None) -> None:
        if not action.independent_of:
            _hold("green", source is not None, f"nothing passed for item {item.id}")
            return
        attempt = self._attempts[action.source_attempt_id]
        _hold("green", attempt.state is AttemptState.PASSED, f"attempt {attempt.id} not passed")
        is_told = set(action.independent_of) == self._difference(attempt, action.stack)
        is_good = self._is_as_good(attempt, item, action.key, action.stack)
        _hold(
            "independence",
            attempt.item_id == item.id and is_told and is_good,
            f"attempt {attempt.id} differs from item {item.id} on main in more than it ignores",
        )

    def _stack(self, item_id: ItemId, base_seq: Seq, stack: tuple[Member, ...]) -> QueueItem:
        """Order: whole items, each once, in the queue's order, this one last, on main's head."""
        item = self._items.get(item_id)
        if item is None:
            raise InvariantBroken(f"conservation: item {item_id} is not queued")
        _hold("order", base_seq == self._snapshot.head_seq, f"{base_seq} is not main's head")
        rest = list(stack)
        last: QueueItem | None = None
        for other in self._order:
            if rest and tuple(rest[: len(other.members)]) == other.members:
                del rest[: len(other.members)]
                last = other
        is_ordered = not rest and last is not None and last.id == item_id
        _hold("order", is_ordered, f"item {item_id}'s stack is {stack}")
        return item

    def _undisputed(self, item_id: ItemId, with_ids: tuple[ItemId, ...]) -> QueueItem:
        """Order: whoever is before it is independent of it, or lands with it."""
        item = self._items.get(item_id)
        if item is None:
            raise InvariantBroken(f"conservation: item {item_id} is not queued")
        for other in self._order[: self._order.index(item)]:
            is_free = other.id in with_ids or all(
                _is_independent(self._snapshot, item, member.change_id) for member in other.members
            )
            _hold("order", is_free, f"item {item_id} would be decided before {other.id}")
        return item

    def _exact(self, item: QueueItem, stack: tuple[Member, ...]) -> Composition:
        snapshot = self._snapshot
        for (_, members, _), found in snapshot.compositions.items():
            is_on_main = found.base_seq == snapshot.head_seq and found.stack == stack
            if members == item.members and is_on_main:
                return found
        raise InvariantBroken(f"evidence: item {item.id} was not merged on main itself")


def _is_independent(snapshot: Snapshot, item: QueueItem, change_id: ChangeId) -> bool:
    """Independence: all targets are known, none is shared, and neither needs the other."""
    targets = snapshot.targets
    own = [member.change_id for member in item.members]
    if change_id not in targets or any(change not in targets for change in own):
        return False
    if any(targets[change] & targets[change_id] for change in own):
        return False
    needed, pending = set[ChangeId](), [*own, change_id]
    while pending:
        others = set(snapshot.dependencies.get(pending.pop(), ())) - needed
        needed |= others
        pending.extend(others)
    return change_id not in needed and not needed.intersection(own)


def _bounds(snapshot: Snapshot, actions: Iterable[Action]) -> None:
    stopped: set[AttemptId] = set()
    started: list[ItemId] = []
    keys: list[TestKey] = []
    departed: list[ItemId] = []
    decided = 0
    for action in actions:
        if isinstance(action, Stop):
            _hold("bounds", action.attempt_id not in stopped, f"{action} twice")
            stopped.add(action.attempt_id)
        elif isinstance(action, Start):
            started.append(action.item_id)
            keys.append(action.key)
        elif isinstance(action, Land | Eject):
            departed.append(action.item_id)
            is_lost = isinstance(action, Eject) and action.reason is EjectReason.DEPENDENCY
            decided += not is_lost
            departed.extend(action.with_ids if isinstance(action, Land) else ())
    kept = [attempt for attempt in snapshot.running() if attempt.id not in stopped]
    testing = [attempt.item_id for attempt in kept] + started
    if started:
        is_auto = snapshot.policy is Policy.AUTO
        width = max(snapshot.max_speculative, snapshot.cores * is_auto)
        _hold("bounds", len(testing) <= width, f"{len(testing)} tests at once")
    is_once = len(set(testing)) == len(testing) or snapshot.policy in (Policy.TREE, Policy.AUTO)
    _hold("bounds", is_once, "an item would be tested twice at once")
    under_test = [attempt.key for attempt in kept] + keys
    _hold("bounds", len(set(keys)) == len(keys), "a tree would be tested twice at once")
    _hold("bounds", all(under_test.count(key) == 1 for key in keys), "a tree is tested already")
    _hold("conservation", len(set(departed)) == len(departed), "an item would leave twice")
    _hold("order", decided <= 1, "two items would be decided on one main")


def _hold(promise: str, is_held: bool, message: str) -> None:
    if not is_held:
        raise InvariantBroken(f"{promise}: {message}")
