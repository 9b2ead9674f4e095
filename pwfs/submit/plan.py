"""From what the policy wants to what is to be done.

A plan is complete for its snapshot only: whoever carries it out takes a new snapshot afterwards
and plans again, until a plan is empty. Main moves at most once a plan, so that what comes after is
decided on the new main.
"""

from dataclasses import dataclass

from pwfs.model.ids import ChangeId, ItemId, TreeHash
from pwfs.model.queue import Attempt, AttemptState, EjectReason, Member, QueueItem, TestKey
from pwfs.submit.actions import Action, Compose, Eject, Land, Reuse, Start, Stop
from pwfs.submit.line import Verdict, Wish
from pwfs.submit.policies import Decision, Schedule, decide, schedule, wish
from pwfs.submit.reading import (
    ERROR_RETRIES_MAX,
    FAILURES,
    Reading,
    describe_conflicts,
    read,
)
from pwfs.submit.snapshot import Composition, Snapshot


def plan(snapshot: Snapshot) -> tuple[Action, ...]:
    """Decides what to do: a pure function, so equal snapshots give equal plans.

    Meaningless attempts are stopped before anything else. Then either items leave the queue, or
    one is certified and landed, or tests are started and the next unknown trees are asked for.
    """
    return _Planning(snapshot).actions()


@dataclass(frozen=True, slots=True)
class _Tree:
    """What a scenario's stack gives on main: a key, or what to merge next, or None for neither."""

    key: TestKey | None = None
    compose: Compose | None = None


class _Planning:
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._reading: Reading = read(snapshot)
        self._items = {item.id: item for item in snapshot.in_order()}
        self._entries = {entry.id: entry for entry in self._reading.line.entries}
        self._attempts = {attempt.id: attempt for attempt in snapshot.attempts}
        self._composed: dict[tuple[TreeHash, tuple[Member, ...]], list[Composition]] = {}
        for (below, members, _), composition in snapshot.compositions.items():
            self._composed.setdefault((below, members), []).append(composition)
        self._roots: dict[tuple[ItemId, ...], TreeHash | Compose | None] = {}
        self._controls: list[Start] = []
        self._unstoppable = snapshot.lands_while_closed() if snapshot.closed else frozenset()

    def actions(self) -> tuple[Action, ...]:
        """See `plan`."""
        reading, snapshot = self._reading, self._snapshot
        line, policy = reading.line, reading.policy
        chosen = schedule(line, wish(policy, line) if snapshot.command else ())
        starts, compositions = self._starts(chosen)
        stops = self._stops(chosen, {start.item_id for start in starts}, bool(compositions))
        if reading.lost:
            return (*stops, *(self._lose(item_id) for item_id in reading.lost))
        for decision in decide(policy, line):
            if (action := self._carry(decision)) is not None:
                if isinstance(action, Compose):
                    return (*stops, action)
                return (*self._all_stops(stops, action), action)
        starts = (*self._controls, *starts)
        free = line.width - (len(snapshot.running()) - len(stops))
        return (*stops, *(() if snapshot.paused else starts[: max(0, free)]), *compositions)

    def _lose(self, item_id: ItemId) -> Eject:
        names = ", ".join(sorted(self._reading.lost[item_id]))
        detail = f"depends on {names}, which left the queue without landing"
        return Eject(item_id, EjectReason.DEPENDENCY, detail)

    # Stops

    def _stops(self, chosen: Schedule, started: set[ItemId], is_unknown: bool) -> tuple[Stop, ...]:
        """Stops what is not wanted; while trees are unknown, only where that cannot change it."""
        return tuple(
            Stop(attempt.id, why)
            for attempt in self._snapshot.running()
            if (why := self._why_stop(attempt, chosen))
            and not (is_unknown and attempt.item_id not in started and self._may_be_wanted(attempt))
        )

    def _why_stop(self, attempt: Attempt, chosen: Schedule) -> str:
        entry = self._entries.get(attempt.item_id)
        if entry is None:
            return "its item left the queue, or will"
        if attempt.is_control:
            is_current = attempt.key == self._snapshot.key(self._snapshot.head_root)
            return "" if is_current else "main, or the test, is not the same any more"
        scenario = self._reading.scenarios.get(attempt.id)
        if scenario is None:
            return "what stands before it, or the test, is not the same any more"
        trial = entry.trial(scenario)
        if trial is None or trial.attempt_id != attempt.id:
            return "another attempt decided the same tree"
        if (entry.id, scenario) not in chosen.kept:
            return "what it assumes is not likely any more, or others are wanted more"
        return ""

    def _may_be_wanted(self, attempt: Attempt) -> bool:
        is_current = self._snapshot.key(attempt.key.root) == attempt.key
        return is_current and attempt.item_id in self._entries

    def _all_stops(self, stops: tuple[Stop, ...], action: Action) -> tuple[Stop, ...]:
        """Who leaves or lands takes its running attempts along."""
        leaving: set[ItemId] = set()
        if isinstance(action, Land):
            leaving = {action.item_id, *action.with_ids}
        elif isinstance(action, Eject):
            leaving = {action.item_id}
        known = {stop.attempt_id for stop in stops}
        more = (
            Stop(attempt.id, "its item is decided")
            for attempt in self._snapshot.running()
            if attempt.item_id in leaving and attempt.id not in known
        )
        return (*stops, *more)

    # Decisions

    def _carry(self, decision: Decision) -> Action | None:
        """The next step towards a decision's end; None while it has to wait."""
        items = [self._items[item_id] for item_id in decision.item_ids]
        stack = tuple(member for item in items for member in item.members)
        exact = self._exact(items, stack)
        if isinstance(exact, Compose):
            return exact
        last = items[-1]
        if exact.root is None:
            detail = describe_conflicts(exact)
            return Eject(last.id, EjectReason.CONFLICT, detail) if len(items) == 1 else None
        if decision.trial is not None:
            trial = decision.trial
            if trial.reason is None or trial.verdict is Verdict.CONFLICTED:
                return None
            failed = Eject(last.id, trial.reason, trial.detail, trial.attempt_id)
            return failed if trial.reason is EjectReason.INFRASTRUCTURE else self._compare(failed)
        if self._snapshot.paused or not self._may_land(items):
            return None
        return self._land_or_certify(items, stack, self._snapshot.key(exact.root))

    def _compare(self, failed: Eject) -> Eject | None:
        """Whether an item is to blame for its failure: main without it has to pass the same test."""
        if self._snapshot.is_green:
            return failed
        controls = self._snapshot.controls
        failures = [control for control in controls if control.state in FAILURES]
        if len(failures) > self._snapshot.retries_max:
            detail = f"main fails without it, too, in attempt {failures[-1].id}: {failed.detail}"
            return Eject(failed.item_id, EjectReason.MAIN_FAILED, detail, failed.attempt_id)
        errors = [control for control in controls if control.state is AttemptState.ERROR]
        if len(errors) > ERROR_RETRIES_MAX:
            return failed
        key = self._snapshot.key(self._snapshot.head_root)
        if not any(attempt.key == key for attempt in self._snapshot.running()):
            self._controls.append(Start(failed.item_id, self._snapshot.head_seq, (), key))
        return None

    def _may_land(self, items: list[QueueItem]) -> bool:
        """Whether main is open to all of them."""
        return not self._snapshot.closed or self._unstoppable.issuperset(item.id for item in items)

    def _exact(self, items: list[QueueItem], stack: tuple[Member, ...]) -> Composition | Compose:
        """What is decided is merged on main itself, not derived from another stack."""
        snapshot, last = self._snapshot, items[-1]
        below = self._root(tuple(item.id for item in items[:-1]))
        if isinstance(below, Compose):
            return below
        assert below is not None, "what is before it in its tree merges"
        for found in self._composed.get((below, last.members), ()):
            if found.base_seq == snapshot.head_seq and found.stack == stack:
                return found
        return Compose(last.id, snapshot.head_seq, stack, below)

    def _land_or_certify(
        self, items: list[QueueItem], stack: tuple[Member, ...], key: TestKey
    ) -> Land | Reuse:
        """Lands what was tested on main as it is; another result that holds is certified first.

        So each landing names an attempt whose base is the landing before it, whose stack is what
        landed, and whose root is what main became.
        """
        snapshot, last = self._snapshot, items[-1]
        scenario = frozenset(item.id for item in items[:-1])
        trial = self._entries[last.id].trial(scenario)
        assert trial is not None and trial.attempt_id is not None
        own = [a for a in snapshot.attempts_of(last, key) if a.state is AttemptState.PASSED]
        for attempt in own:
            if attempt.base_seq == snapshot.head_seq and attempt.stack == stack:
                return Land(last.id, attempt.id, tuple(item.id for item in items[:-1]))
        same = own[-1].id if own else snapshot.passed_by(key)
        source = same if same is not None else trial.attempt_id
        differing = () if same is not None else self._differing(self._attempts[source], stack)
        return Reuse(last.id, snapshot.head_seq, stack, key, source, differing)

    def _differing(self, attempt: Attempt, stack: tuple[Member, ...]) -> tuple[ChangeId, ...]:
        """What is in one of two trees only: main with a stack, and what an attempt tested."""
        landed = {m for seq, m in self._snapshot.landings if seq > attempt.base_seq}
        return tuple(sorted(m.change_id for m in (landed | set(stack)) ^ set(attempt.stack)))

    # Starts

    def _starts(self, chosen: Schedule) -> tuple[tuple[Start, ...], tuple[Compose, ...]]:
        starts: dict[TestKey, Start] = {}
        compositions: dict[tuple[Member, ...], Compose] = {}
        for wanted in chosen.starts:
            tree = self._tree(wanted)
            if tree.compose is not None:
                compositions.setdefault(tree.compose.stack, tree.compose)
            elif tree.key is not None and tree.key not in starts:
                stack = self._stack(wanted)
                starts[tree.key] = Start(wanted.item_id, self._snapshot.head_seq, stack, tree.key)
        return tuple(starts.values()), tuple(compositions.values())

    def _order(self, wanted: Wish) -> tuple[ItemId, ...]:
        ahead = self._entries[wanted.item_id].ahead
        return (*(other for other in ahead if other in wanted.scenario), wanted.item_id)

    def _stack(self, wanted: Wish) -> tuple[Member, ...]:
        return tuple(m for item_id in self._order(wanted) for m in self._items[item_id].members)

    def _tree(self, wanted: Wish) -> _Tree:
        """The tree of a wish; one known from another stack is merged again as this one."""
        order = self._order(wanted)
        root = self._root(order)
        if root is None or isinstance(root, Compose):
            return _Tree(compose=root)
        below = self._root(order[:-1])
        assert isinstance(below, str)
        item = self._items[order[-1]]
        if not self._is_read_as(self._composed[below, item.members], order, exactly=True):
            stack = self._stack(wanted)
            return _Tree(compose=Compose(item.id, self._snapshot.head_seq, stack, below))
        return _Tree(key=self._snapshot.key(root))

    def _root(self, order: tuple[ItemId, ...]) -> TreeHash | Compose | None:
        """The tree of some items on main; what to merge first to know it; None if they conflict."""
        if not order:
            return self._snapshot.head_root
        if order not in self._roots:
            self._roots[order] = self._merged(order)
        return self._roots[order]

    def _merged(self, order: tuple[ItemId, ...]) -> TreeHash | Compose | None:
        below = self._root(order[:-1])
        if below is None or isinstance(below, Compose):
            return below
        item = self._items[order[-1]]
        found = self._composed.get((below, item.members), [])
        roots = [each.root for each in found if each.root is not None]
        if roots or self._is_read_as(found, order):
            return roots[0] if roots else None
        stack = tuple(member for item_id in order for member in self._items[item_id].members)
        return Compose(item.id, self._snapshot.head_seq, stack, below)

    def _is_read_as(
        self, found: list[Composition], order: tuple[ItemId, ...], *, exactly: bool = False
    ) -> bool:
        """Whether what is known of a tree is known of this scenario, not of others with equal trees.

        ``exactly``: on main as it is, so that any item's test of the tree counts.
        """
        item = self._items[order[-1]]
        ahead = [self._items[other] for other in self._entries[item.id].ahead]
        scenario = frozenset(order[:-1]).intersection(other.id for other in ahead)
        known = self._reading.scenarios_of
        return any(
            known.of(item, ahead, each.base_seq, each.stack) == scenario
            and (not exactly or known.is_exact(item, each.base_seq, each.stack))
            for each in found
        )
