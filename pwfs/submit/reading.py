"""Reads a line from a snapshot: which results count for whom, and in which scenario.

An attempt is understood by what its tree was made of: main at its base and its stack. What landed
since, and concerns the item, must stand in the stack, in that order; the rest of the stack that
concerns it are items that are still ahead: the scenario. An attempt that cannot be read so was made
of something that left or came in between, and says nothing any more, unless its tree happens to be
one that is wanted (`TestKey`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pwfs.model.ids import AttemptId, ChangeId, ItemId, Seq
from pwfs.model.queue import Attempt, AttemptState, EjectReason, Member, QueueItem, TestKey
from pwfs.submit.independence import Concerning, Independence
from pwfs.submit.line import Entry, Line, Policy, Scenario, Trial, Verdict
from pwfs.submit.policies import choose
from pwfs.submit.snapshot import Composition, Snapshot

ERROR_RETRIES_MAX = 3
"""How often a test of one tree is repeated after the infrastructure failed it."""

FAILURES = (AttemptState.FAILED, AttemptState.TIMED_OUT)


@dataclass
class Reading:
    """A line and what it was read from.

    ``scenarios`` has the scenario of each attempt that can be read. ``lost`` are the items that
    can never land, and what is missing to each.
    """

    policy: Policy
    line: Line
    scenarios: dict[AttemptId, Scenario]
    lost: dict[ItemId, frozenset[ChangeId]]
    scenarios_of: "Scenarios"


def read(snapshot: Snapshot) -> Reading:
    """Reads a snapshot."""
    return _Reader(snapshot).read()


class Scenarios:
    """Tells what trees stand for."""

    def __init__(self, snapshot: Snapshot, independence: Independence) -> None:
        self._snapshot = snapshot
        self._independence = independence

    def of(
        self, item: QueueItem, ahead: Sequence[QueueItem], base_seq: Seq, stack: Sequence[Member]
    ) -> Scenario | None:
        """The scenario that a tree stands for, the item's members last; None: it stands for none.

        ``ahead`` are the items before it that concern it, in the queue's order.
        """
        split = len(stack) - len(item.members)
        if base_seq < self._snapshot.landings_since or tuple(stack[split:]) != item.members:
            return None
        below = self.concerning(item, stack[:split])
        since = [member for seq, member in self._snapshot.landings if seq > base_seq]
        landed = self.concerning(item, since)
        if below[: len(landed)] != landed:
            return None
        assumed = below[len(landed) :]
        scenario: set[ItemId] = set()
        for other in ahead if assumed else ():
            if tuple(assumed[: len(other.members)]) == other.members:
                del assumed[: len(other.members)]
                scenario.add(other.id)
        return None if assumed else frozenset(scenario)

    def has_strangers(self, item: QueueItem, base_seq: Seq, stack: Sequence[Member]) -> bool:
        """Whether a tree has something in it that is neither part of main nor concerns an item.

        That it passed says the same without; that it failed may be a stranger's fault.
        """
        if not self._independence.is_declared():
            return False
        landed = {member for seq, member in self._snapshot.landings if seq > base_seq}
        return any(
            member not in landed and self._independence.of_change(item, member.change_id)
            for member in stack
        )

    def is_exact(self, item: QueueItem, base_seq: Seq, stack: Sequence[Member]) -> bool:
        """Whether a tree is what its scenario gives on main as it is, not only as good by a rule."""
        if not self._independence.is_declared():
            return True
        landed = [member for seq, member in self._snapshot.landings if seq > base_seq]
        is_on_main = list(stack[: len(landed)]) == landed
        return is_on_main and not self.has_strangers(item, base_seq, stack)

    def concerning(self, item: QueueItem, members: Sequence[Member]) -> list[Member]:
        """Those of some members that are not independent of an item."""
        if not self._independence.is_declared():
            return list(members)
        return [m for m in members if not self._independence.of_change(item, m.change_id)]


@dataclass
class _Evidence:
    """What bears on one scenario of an item.

    ``keys`` name the trees that it gave, ``exact`` those of them that another item's result counts
    for: what it gives on main as it is. Where only a rule says that a tree is as good, the item's own
    tests count, of which it is known what they were made of.
    """

    attempts: dict[AttemptId, Attempt] = field(default_factory=dict)
    keys: set[TestKey] = field(default_factory=set)
    exact: set[TestKey] = field(default_factory=set)
    conflict: Composition | None = None


class _Reader:
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._order = snapshot.in_order()
        self._items = {item.id: item for item in self._order}
        policy, width = choose(
            snapshot.policy, snapshot.max_speculative, snapshot.cores, snapshot.history
        )
        self._policy, self._width = policy, width
        # A batch is one tree for all that are in it, whatever they concern.
        targets = {} if policy is Policy.BATCH else snapshot.targets
        self._independence = Independence(targets, snapshot.dependencies)
        is_declared = self._independence.is_declared()
        self._concerning = Concerning(self._independence) if is_declared else None
        self._scenarios = Scenarios(snapshot, self._independence)
        self._own: dict[ItemId, list[Attempt]] = {}
        self._by_key: dict[TestKey, list[Attempt]] = {}
        self._composed: dict[tuple[Member, ...], list[Composition]] = {}
        self._vouched: set[ItemId] = set()
        self._company: dict[ItemId, frozenset[ItemId]] = {}
        self._found: dict[AttemptId, Scenario] = {}

    def read(self) -> Reading:
        snapshot = self._snapshot
        for attempt in snapshot.attempts:
            if snapshot.key(attempt.key.root) == attempt.key:
                if not attempt.is_control:
                    self._own.setdefault(attempt.item_id, []).append(attempt)
                if attempt.rests_on is None:
                    self._by_key.setdefault(attempt.key, []).append(attempt)
        for (_, members, _), composition in snapshot.compositions.items():
            self._composed.setdefault(members, []).append(composition)
        self._vouched = vouched_for(snapshot)
        self._company = company_in(snapshot)
        lost = self._lost()
        entries: list[Entry] = []
        waiting: list[QueueItem] = []
        for item in self._order:
            if item.id not in lost:
                entries.append(self._entry(item, waiting))
                waiting.append(item)
                if self._concerning is not None:
                    self._concerning.append(item)
        line = Line(entries=entries, width=self._width, history=snapshot.history)
        return Reading(self._policy, line, self._found, lost, self._scenarios)

    def _lost(self) -> dict[ItemId, frozenset[ChangeId]]:
        lost: dict[ItemId, frozenset[ChangeId]] = {}
        coming: set[ChangeId] = set()
        for item in self._order:
            if missing := self._snapshot.missing(item) - coming:
                lost[item.id] = missing
            else:
                coming |= {member.change_id for member in item.members}
        return lost

    def _entry(self, item: QueueItem, waiting: list[QueueItem]) -> Entry:
        ahead = self._concerning.ahead(item) if self._concerning is not None else waiting
        missing = self._snapshot.missing(item)
        needs = frozenset(
            other.id
            for other in (ahead if missing else ())
            if any(member.change_id in missing for member in other.members)
        )
        found = self._evidence(item, ahead)
        trials = {
            scenario: trial
            for scenario, evidence in found.items()
            if (trial := self._judge(item, evidence)) is not None
        }
        failures = {
            scenario: count
            for scenario, evidence in found.items()
            if (count := sum(a.state in FAILURES for a in evidence.attempts.values()))
        }
        company = self._company.get(item.id, frozenset())
        unseen = self._unseen(item)
        names = tuple(other.id for other in ahead)
        return Entry(item.id, names, needs, trials, company, unseen, failures)

    def _unseen(self, item: QueueItem) -> int:
        """What concerns an item, landed since its first test began, and was in none that passed."""
        own = self._own.get(item.id, ())
        if not own:
            return 0
        seen = {m for a in own if a.state is AttemptState.PASSED for m in a.stack}
        first = own[0].base_seq
        since = [m for seq, m in self._snapshot.landings if seq > first and m not in seen]
        return len(self._scenarios.concerning(item, since))

    def _evidence(self, item: QueueItem, ahead: list[QueueItem]) -> dict[Scenario, _Evidence]:
        found: dict[Scenario, _Evidence] = {}
        own = self._own.get(item.id, ())
        for attempt in own:
            scenario = self._scenarios.of(item, ahead, attempt.base_seq, attempt.stack)
            if scenario is not None and not self._is_vain(item, attempt, attempt):
                self._found[attempt.id] = scenario
                evidence = found.setdefault(scenario, _Evidence())
                evidence.attempts[attempt.id] = attempt
                self._note_key(item, evidence, attempt.key, attempt)
        for composition in self._composed.get(item.members, ()):
            scenario = self._scenarios.of(item, ahead, composition.base_seq, composition.stack)
            if scenario is None:
                continue
            evidence = found.setdefault(scenario, _Evidence())
            if composition.root is None:
                evidence.conflict = composition
                continue
            key = self._snapshot.key(composition.root)
            self._note_key(item, evidence, key, composition)
            for attempt in own:
                is_known = attempt.id in self._found or self._is_vain(item, attempt, composition)
                if attempt.key == key and not is_known:
                    self._found[attempt.id] = scenario
                    evidence.attempts[attempt.id] = attempt
        return found

    def _note_key(
        self, item: QueueItem, evidence: _Evidence, key: TestKey, made: Attempt | Composition
    ) -> None:
        evidence.keys.add(key)
        if self._scenarios.is_exact(item, made.base_seq, made.stack):
            evidence.exact.add(key)

    def _is_vain(self, item: QueueItem, attempt: Attempt, made: Attempt | Composition) -> bool:
        """Whether an attempt failed on a tree, made so, in which that may be a stranger's fault."""
        is_failure = attempt.state in FAILURES
        return is_failure and self._scenarios.has_strangers(item, made.base_seq, made.stack)

    def _judge(self, item: QueueItem, evidence: _Evidence) -> Trial | None:
        own = [evidence.attempts[attempt_id] for attempt_id in sorted(evidence.attempts)]
        if passed := [a for a in own if a.state is AttemptState.PASSED]:
            return Trial(Verdict.PASSED, passed[-1].id)
        for key in evidence.exact:
            if (source := self._passed_by(key)) is not None:
                return Trial(Verdict.PASSED, source)
        if running := [a for a in own if a.state is AttemptState.RUNNING]:
            return Trial(Verdict.RUNNING, running[0].id)
        if evidence.conflict is not None and not evidence.keys:
            detail = describe_conflicts(evidence.conflict)
            return Trial(Verdict.CONFLICTED, None, EjectReason.CONFLICT, detail)
        tries = tries_of(self._snapshot, is_vouched=item.id in self._vouched)
        if (failed := judge_failures(own, tries)) is not None:
            return failed
        others = [a for key in evidence.exact for a in self._by_key.get(key, ())]
        if any(a.state is AttemptState.RUNNING for a in others):
            return Trial(Verdict.RUNNING)
        return None

    def _passed_by(self, key: TestKey) -> AttemptId | None:
        if (found := self._snapshot.passed.get(key)) is not None:
            return found
        own = [a.id for a in self._by_key.get(key, ()) if a.state is AttemptState.PASSED]
        return max(own, default=None)


def vouched_for(snapshot: Snapshot) -> set[ItemId]:
    """The items that another's test, which passed, contained: a failure of theirs may be a flake."""
    contained = {
        member
        for attempt in snapshot.attempts
        if attempt.state is AttemptState.PASSED
        for member in attempt.stack
    }
    failed = {
        a.item_id for a in snapshot.attempts if a.state is AttemptState.FAILED and not a.is_control
    }
    return {
        item.id
        for item in snapshot.items
        if item.id in failed and contained.issuperset(item.members)
    }


def company_in(snapshot: Snapshot) -> dict[ItemId, frozenset[ItemId]]:
    """With whom each item was in a tree that passed, itself included."""
    owner = {member: item.id for item in snapshot.items for member in item.members}
    company: dict[ItemId, frozenset[ItemId]] = {}
    for attempt in snapshot.attempts:
        if attempt.state is AttemptState.PASSED:
            together = frozenset(owner[member] for member in attempt.stack if member in owner)
            for item_id in together:
                company[item_id] = company.get(item_id, frozenset()) | together
    return company


def tries_of(snapshot: Snapshot, *, is_vouched: bool) -> int:
    """How many failures of one scenario count as its failure."""
    return snapshot.retries_max + 1 + int(is_vouched)


def judge_failures(own: Sequence[Attempt], tries: int) -> Trial | None:
    """What an item's attempts at one scenario, none of which passed, say: enough is enough."""
    failures = [a for a in own if a.state in FAILURES]
    if len(failures) >= tries:
        last = failures[-1]
        is_late = last.state is AttemptState.TIMED_OUT
        reason = EjectReason.TIMEOUT if is_late else EjectReason.TEST_FAILED
        return Trial(Verdict.FAILED, last.id, reason, _describe_failure(last, len(failures)))
    errors = [a for a in own if a.state is AttemptState.ERROR]
    if len(errors) > ERROR_RETRIES_MAX:
        detail = f"could not be tested in {len(errors)} attempts: {errors[-1].detail}"
        return Trial(Verdict.FAILED, errors[-1].id, EjectReason.INFRASTRUCTURE, detail)
    return None


def describe_conflicts(composition: Composition) -> str:
    """Where, and with whom."""
    paths = sorted({conflict.path for conflict in composition.conflicts})
    others = sorted({c.their_change for c in composition.conflicts if c.their_change})
    shown = ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
    what = f"conflicts in {shown}" if paths else "does not merge"
    return f"{what} (with {', '.join(others)})" if others else what


def _describe_failure(attempt: Attempt, failures: int) -> str:
    detail = attempt.detail or (
        f"the test ended with exit code {attempt.exit_code}"
        if attempt.exit_code is not None
        else "the test failed"
    )
    return f"{detail} (the last of {failures} attempts)" if failures > 1 else detail
