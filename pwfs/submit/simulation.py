"""The queue in simulated time: the daemon's policies on lines that are kept up to date.

Lines, wishes, decisions and schedules are `pwfs.submit`'s own; here is what the runner, the
repository and the tests would do. A tree is the set of changes in it. An item's test fails if the
item or one assumed below it is bad by itself, or if two changes in the tree disagree; whoever landed
before an item was submitted was seen by its author and does not disagree with it.
"""

import heapq
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar, overload

from pwfs.model.ids import AttemptId, ItemId
from pwfs.submit.history import NOTHING_DECIDED, History
from pwfs.submit.line import Entry, Line, Policy, Scenario, Trial, Verdict, Wish
from pwfs.submit.policies import Decision, decide, schedule, wish

FAILED = Trial(Verdict.FAILED)
Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class Change:
    """What is submitted once; ``key`` names it, ``is_good`` says that alone it passes."""

    key: int
    agent: int
    duration_s: float
    is_good: bool
    targets: frozenset[int]


@dataclass(frozen=True, slots=True)
class Arrival:
    """When an agent submits its change of that number."""

    at_s: float
    agent: int
    number: int


class Traffic(Protocol):
    """What comes, and the truth about it; all that contenders have in common.

    Things happen at multiples of ``tick_s`` (0: at any time). What is decided from ``from_s`` on is
    told; at ``until_s`` a simulation ends, if not before, because nothing is left to do.
    """

    @property
    def workers(self) -> int:
        """How many tests run at once."""

    @property
    def retries(self) -> int:
        """How often a test that failed is repeated."""

    @property
    def tick_s(self) -> float: ...
    @property
    def from_s(self) -> float: ...
    @property
    def until_s(self) -> float: ...

    def opening(self) -> Iterable[Arrival]:
        """Who comes whatever happens, first."""

    def after_arrival(self, agent: int, number: int, now_s: float) -> Arrival | None:
        """Who comes next whatever happens, once that one has."""

    def after_decision(self, agent: int, number: int, now_s: float) -> Arrival | None:
        """What an agent submits next, once it knows what became of that one."""

    def change(self, agent: int, number: int) -> Change: ...

    def disagree(self, one: Change, other: Change) -> bool:
        """Whether two changes that share a target fail together."""

    def is_missed(self, one: Change, other: Change) -> bool:
        """Whether the rule of independence does not see that two changes share a target."""

    def is_flaky(self, tree: int, attempt: int) -> bool:
        """Whether a test of a good tree fails."""


class Before(Sequence[ItemId]):
    """All items of a line before one of them, without a copy."""

    def __init__(self, order: list[ItemId], item_id: ItemId) -> None:
        self._order = order
        self._id = item_id

    def __len__(self) -> int:
        return bisect_left(self._order, self._id)

    @overload
    def __getitem__(self, index: int) -> ItemId: ...
    @overload
    def __getitem__(self, index: slice) -> list[ItemId]: ...
    def __getitem__(self, index: int | slice) -> ItemId | list[ItemId]:
        return self._order[: len(self)][index]

    def __iter__(self) -> Iterator[ItemId]:
        return iter(self._order[: len(self)])

    def __contains__(self, item_id: object) -> bool:
        return isinstance(item_id, int) and item_id < self._id and item_id in self._order


@dataclass(slots=True)
class Test:
    """A running test."""

    __test__ = False

    id: AttemptId
    item_id: ItemId
    scenario: Scenario
    started_s: float
    is_green: bool
    is_stopped: bool = False


@dataclass(slots=True)
class Waiting:
    """An item that waits, and the truth about it, which policies do not see.

    ``clashes`` are items queued with it that it disagrees with, ``poison`` counts those of them
    that landed.
    """

    id: ItemId
    change: Change
    number: int
    entered_s: float
    ahead: Sequence[ItemId]
    entry: Entry
    trials: dict[Scenario, Trial] = field(default_factory=dict)
    failures: dict[Scenario, int] = field(default_factory=dict)
    tests: dict[Scenario, Test] = field(default_factory=dict)
    clashes: set[ItemId] = field(default_factory=set)
    poison: int = 0
    landed_ahead: int = 0
    attempts: int = 0
    has_passed: bool = False
    is_vouched: bool = False
    company: set[ItemId] = field(default_factory=set)
    unseen: int = 0
    will_land: bool = True
    had_rivals: bool = False


@dataclass(frozen=True, slots=True)
class Decided:
    """How an item ended; ``key`` is its change's."""

    key: int
    entered_s: float
    decided_s: float
    is_landed: bool
    is_false: bool
    """It was ejected, and nothing was wrong with it."""
    is_red: bool
    """It landed, and disagrees with what had landed."""
    had_rivals: bool
    """Somebody ahead of it shared a target when it was submitted."""


@dataclass
class Outcome:
    """What a simulation saw after the warm-up."""

    hours: float
    decided: list[Decided] = field(default_factory=list)
    tests: int = 0
    test_s: float = 0.0
    longest_line: int = 0
    left_waiting_s: float = 0.0


Wisher = Callable[["Simulation", Line], list[Wish]]


def by_policy(policy: Policy) -> Wisher:
    """The daemon's own choice of tests."""
    return lambda _, line: wish(policy, line)


def by_oracle(simulation: "Simulation", line: Line) -> list[Wish]:
    """One test an item, first come first served, on what will have landed before it."""
    wishes = []
    for entry in line.entries:
        waiting = simulation.queue
        will_land = frozenset(other for other in entry.ahead if waiting[other].will_land)
        if entry.trial(will_land) is None or waiting[entry.id].tests:
            wishes.append(Wish(entry.id, will_land))
    return wishes


class Simulation:
    """One run; ``has_rule`` tells whether items without a common target are independent."""

    def __init__(
        self,
        traffic: Traffic,
        policy: Policy,
        *,
        has_rule: bool,
        wisher: Wisher | None = None,
        history: History = NOTHING_DECIDED,
    ) -> None:
        self._traffic = traffic
        self._policy = policy
        self._has_rule = has_rule
        self._is_oracle = wisher is by_oracle
        self._wisher = wisher or by_policy(policy)
        self.queue: dict[ItemId, Waiting] = {}
        self._order: list[ItemId] = []
        self._entries: list[Entry] = []
        self._by_target: dict[int, set[ItemId]] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._now = 0.0
        self._items = 0
        self._tests = 0
        self._history = history
        self.outcome = Outcome((traffic.until_s - traffic.from_s) / 3600.0)

    def run(self) -> Outcome:
        """Simulates the warm-up and the time that is measured."""
        end_s = self._traffic.until_s
        for arrival in self._traffic.opening():
            self._expect(arrival)
        while self._events and self._events[0][0] <= end_s:
            self._now = self._events[0][0]
            while self._events and self._events[0][0] == self._now:
                heapq.heappop(self._events)[2]()
            self._settle()
        self.outcome.left_waiting_s = max(
            (end_s - waiting.entered_s for waiting in self.queue.values()), default=0.0
        )
        return self.outcome

    # What happens

    def _at(self, when_s: float, what: Callable[[], None]) -> None:
        """Everything happens at whole ticks, when the runner looks."""
        tick_s = self._traffic.tick_s
        on_tick_s = -(-when_s // tick_s) * tick_s if tick_s else when_s
        self._sequence += 1
        heapq.heappush(self._events, (on_tick_s, self._sequence, what))

    def _expect(self, arrival: Arrival | None) -> None:
        if arrival is not None:
            self._at(arrival.at_s, lambda: self._arrive(arrival))

    def _arrive(self, arrival: Arrival) -> None:
        self._submit(arrival.agent, arrival.number)
        self._expect(self._traffic.after_arrival(arrival.agent, arrival.number, self._now))

    def _submit(self, agent: int, number: int) -> None:
        change = self._traffic.change(agent, number)
        item_id = ItemId(self._items)
        self._items += 1
        rivals = {other for target in change.targets for other in self._by_target.get(target, ())}
        seen = sorted(
            other
            for other in rivals
            if not self._traffic.is_missed(change, self.queue[other].change)
        )
        ahead: Sequence[ItemId] = seen if self._has_rule else Before(self._order, item_id)
        trials: dict[Scenario, Trial] = {}
        failures: dict[Scenario, int] = {}
        entry = Entry(item_id, ahead, trials=trials, failures=failures)
        waiting = Waiting(item_id, change, number, self._now, ahead, entry, trials, failures)
        for other in rivals:
            if self._traffic.disagree(change, self.queue[other].change):
                waiting.clashes.add(other)
                self.queue[other].clashes.add(item_id)
        waiting.had_rivals = bool(rivals)
        waiting.will_land = change.is_good and not any(
            self.queue[other].will_land for other in waiting.clashes
        )
        self.queue[item_id] = waiting
        self._order.append(item_id)
        self._entries.append(entry)
        for target in change.targets:
            self._by_target.setdefault(target, set()).add(item_id)
        self.outcome.longest_line = max(self.outcome.longest_line, len(self._order))

    def _end(self, test: Test) -> None:
        if test.is_stopped:
            return
        waiting = self.queue[test.item_id]
        scenario = test.scenario
        del waiting.tests[scenario]
        self._count(test)
        if test.is_green:
            waiting.trials[scenario] = Trial(Verdict.PASSED, test.id)
            waiting.has_passed = True
            self._meet(waiting.id, scenario)
            return
        failures = waiting.failures[scenario] = waiting.failures.get(scenario, 0) + 1
        if failures > self._traffic.retries + waiting.is_vouched:
            waiting.trials[scenario] = FAILED
        else:
            del waiting.trials[scenario]

    def _meet(self, item_id: ItemId, scenario: Scenario) -> None:
        """A tree passed: all that are in it are good, and agree."""
        for other in scenario:
            self.queue[other].is_vouched = True
        together = {item_id, *scenario}
        for other in together:
            waiting = self.queue[other]
            waiting.company |= together
            waiting.unseen = 0
            self._renew(waiting)

    def _renew(self, waiting: Waiting) -> None:
        position = bisect_left(self._order, waiting.id)
        waiting.entry = replace(waiting.entry, company=waiting.company, unseen=waiting.unseen)
        self._entries[position] = waiting.entry

    # What the runner does

    def _settle(self) -> None:
        while decisions := decide(self._policy, self._line()):
            for decision in decisions:
                self._carry(decision)
        line = self._line()
        chosen = schedule(line, self._wisher(self, line))
        for waiting in self.queue.values():
            for scenario in list(waiting.tests):
                if (waiting.id, scenario) not in chosen.kept:
                    self._stop(waiting, scenario)
        for start in chosen.starts:
            self._start(self.queue[start.item_id], start.scenario)

    def _line(self) -> Line:
        return Line(entries=self._entries, width=self._traffic.workers, history=self._history)

    def _start(self, waiting: Waiting, scenario: Scenario) -> None:
        self._tests += 1
        waiting.attempts += 1
        test = Test(
            AttemptId(self._tests),
            waiting.id,
            scenario,
            self._now,
            self._passes(waiting, scenario),
        )
        waiting.tests[scenario] = test
        waiting.trials[scenario] = Trial(Verdict.RUNNING, test.id)
        self._at(self._now + waiting.change.duration_s, lambda: self._end(test))

    def _stop(self, waiting: Waiting, scenario: Scenario) -> None:
        test = waiting.tests.pop(scenario)
        waiting.trials.pop(scenario, None)
        test.is_stopped = True
        self._count(test)

    def _count(self, test: Test) -> None:
        if self._now >= self._traffic.from_s:
            self.outcome.tests += 1
            self.outcome.test_s += self._now - test.started_s

    def _passes(self, waiting: Waiting, scenario: Scenario) -> bool:
        for item_id in (waiting.id, *scenario):
            item = self.queue[item_id]
            if not item.change.is_good or item.poison or not scenario.isdisjoint(item.clashes):
                return False
        tree = hash((waiting.change.key, frozenset(self.queue[i].change.key for i in scenario)))
        return self._is_oracle or not self._traffic.is_flaky(tree, waiting.attempts)

    # What is decided

    def _carry(self, decision: Decision) -> None:
        for item_id in decision.item_ids:
            self._decide(self.queue[item_id], is_landed=decision.trial is None)

    def _decide(self, waiting: Waiting, *, is_landed: bool) -> None:
        self._history = self._history.after(
            is_landed=is_landed, others=waiting.landed_ahead, has_passed=waiting.has_passed
        )
        for scenario in list(waiting.tests):
            self._stop(waiting, scenario)
        del self.queue[waiting.id]
        position = bisect_left(self._order, waiting.id)
        del self._order[position], self._entries[position]
        for target in waiting.change.targets:
            self._by_target[target].discard(waiting.id)
        for other in waiting.clashes & self.queue.keys():
            self.queue[other].poison += is_landed
            self.queue[other].clashes.discard(waiting.id)
        for follower in self._followers(waiting):
            self._settle_assumption(follower, waiting.id, is_landed)
        self._record(waiting, is_landed)
        agent, number = waiting.change.agent, waiting.number
        self._expect(self._traffic.after_decision(agent, number, self._now))

    def _followers(self, waiting: Waiting) -> list[Waiting]:
        if not self._has_rule:
            start = bisect_left(self._order, waiting.id)
            return [self.queue[item_id] for item_id in self._order[start:]]
        sharing = {i for target in waiting.change.targets for i in self._by_target[target]}
        found = []
        for item_id in sharing:
            follower = self.queue[item_id]
            if item_id > waiting.id and waiting.id in follower.ahead:
                assert isinstance(follower.ahead, list)
                follower.ahead.remove(waiting.id)
                found.append(follower)
        return found

    def _settle_assumption(self, follower: Waiting, decided: ItemId, is_landed: bool) -> None:
        """What was assumed of an item came true, or did not: then its tests are stopped."""
        follower.landed_ahead += is_landed
        if is_landed and decided not in follower.company:
            follower.unseen += 1
            self._renew(follower)
        if not follower.trials and not follower.failures:
            return
        for scenario in list(follower.trials):
            if (decided in scenario) != is_landed:
                if scenario in follower.tests:
                    self._stop(follower, scenario)
                else:
                    del follower.trials[scenario]
        _without(follower.trials, decided, is_landed)
        _without(follower.failures, decided, is_landed)
        _without(follower.tests, decided, is_landed)
        for scenario, test in follower.tests.items():
            test.scenario = scenario

    def _record(self, waiting: Waiting, is_landed: bool) -> None:
        if self._now < self._traffic.from_s:
            return
        is_innocent = waiting.change.is_good and not waiting.poison
        self.outcome.decided.append(
            Decided(
                waiting.change.key,
                waiting.entered_s,
                self._now,
                is_landed,
                is_false=not is_landed and is_innocent,
                is_red=is_landed and waiting.poison > 0,
                had_rivals=waiting.had_rivals,
            )
        )


def _without(kept: dict[Scenario, Kept], decided: ItemId, is_landed: bool) -> None:
    """Takes an item that was decided out of the scenarios; others than came true are dropped."""
    if is_landed:
        renamed = {s - {decided}: value for s, value in kept.items() if decided in s}
    else:
        renamed = {s: value for s, value in kept.items() if decided not in s}
    kept.clear()
    kept.update(renamed)
