"""Where each queued item stands, assuming that all before it land which have not failed.

The assumption is Zuul's nearest non-failing item: a failing item leaves the stack of those behind
it at once, though it leaves the queue only when everything its failure rests on has come true.
"""

import enum
from dataclasses import dataclass

from pwfs.model.ids import ChangeId, TreeHash
from pwfs.model.queue import Attempt, AttemptState, EjectReason, Member, QueueItem, TestKey
from pwfs.submit.snapshot import Composition, Snapshot

ERROR_RETRIES_MAX = 3
"""How often a test of one tree is repeated after the infrastructure failed it."""


class Standing(enum.StrEnum):
    """How an item fares."""

    PASSED = "passed"
    """Its tree passed; it lands once it is the first."""
    TESTING = "testing"
    """Its tree is being tested, by its own attempt or by another item's."""
    WANTED = "wanted"
    """Its tree is to be tested."""
    UNCOMPOSED = "uncomposed"
    """Its tree is not known yet."""
    FAILED = "failed"
    """Its tree failed; final once it is the first."""
    CONFLICTED = "conflicted"
    """It conflicts with what stands before it; final once it is the first."""
    BLOCKED = "blocked"
    """It waits for a dependency that fares badly further ahead."""
    LOST = "lost"
    """A dependency is neither landed nor ahead: it can never land."""
    WAITING = "waiting"
    """Its turn has not come, or depends on a tree that is not known yet."""

    @property
    def is_hopeful(self) -> bool:
        """Whether those behind it are tested with it."""
        return self in (Standing.PASSED, Standing.TESTING, Standing.WANTED)


@dataclass(frozen=True, slots=True)
class Place:
    """An item's place: ``stack`` on main's head is what is tested for it (its members last).

    ``below`` is the tree without it, ``key`` names its test, ``attempt`` is its own attempt that
    the standing rests on. ``reason`` and ``detail`` say why it fares badly. ``is_settled`` is
    False where the standing may change without anything happening, only by composing.
    """

    item: QueueItem
    standing: Standing
    stack: tuple[Member, ...] = ()
    below: TreeHash | None = None
    key: TestKey | None = None
    attempt: Attempt | None = None
    reason: EjectReason | None = None
    detail: str = ""
    is_settled: bool = True


def foresee(snapshot: Snapshot) -> tuple[Place, ...]:
    """Tells where each item stands, in the queue's order."""
    return _Walk(snapshot).places()


class _Walk:
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._below = snapshot.head_root
        self._stack: tuple[Member, ...] = ()
        self._depth = 0
        self._is_known = True
        self._ahead: set[ChangeId] = set()
        self._places: list[Place] = []

    def places(self) -> tuple[Place, ...]:
        for item in self._snapshot.in_order():
            place = self._place(item)
            self._places.append(place)
            if place.standing is not Standing.LOST:
                self._ahead |= {member.change_id for member in item.members}
            if place.standing is Standing.UNCOMPOSED:
                self._is_known = False
            if place.standing.is_hopeful and place.key is not None:
                self._below = place.key.root
                self._stack = place.stack
                self._depth += 1
        return tuple(self._places)

    def _place(self, item: QueueItem) -> Place:
        missing = self._snapshot.missing(item)
        if lost := missing - self._ahead:
            names = ", ".join(sorted(lost))
            detail = f"depends on {names}, which left the queue without landing"
            return Place(item, Standing.LOST, reason=EjectReason.DEPENDENCY, detail=detail)
        if not self._is_known:
            return Place(item, Standing.WAITING, is_settled=False)
        if self._depth >= self._snapshot.max_speculative:
            return Place(item, Standing.WAITING)
        if failing := missing - {member.change_id for member in self._stack}:
            names = ", ".join(sorted(failing))
            return Place(item, Standing.BLOCKED, detail=f"waits for {names}")
        return self._compose(item)

    def _compose(self, item: QueueItem) -> Place:
        stack = (*self._stack, *item.members)
        found = self._snapshot.compositions.get((self._below, item.members))
        if found is None or (not self._places and not self._is_exact(found, item)):
            return Place(
                item, Standing.UNCOMPOSED, stack=stack, below=self._below, is_settled=False
            )
        if found.root is None:
            return Place(
                item,
                Standing.CONFLICTED,
                stack=stack,
                below=self._below,
                reason=EjectReason.CONFLICT,
                detail=_describe_conflicts(found),
            )
        return self._judge(item, stack, self._snapshot.key(found.root))

    def _is_exact(self, found: Composition, item: QueueItem) -> bool:
        """What decides the first item is merged on main itself, not derived from a stack."""
        return found.base_seq == self._snapshot.head_seq and found.stack == item.members

    def _judge(self, item: QueueItem, stack: tuple[Member, ...], key: TestKey) -> Place:
        snapshot = self._snapshot
        own = snapshot.attempts_of(item, key)
        by_state = {
            state: [attempt for attempt in own if attempt.state is state] for state in AttemptState
        }

        def place(
            standing: Standing,
            attempt: Attempt | None = None,
            reason: EjectReason | None = None,
            detail: str = "",
        ) -> Place:
            return Place(item, standing, stack, self._below, key, attempt, reason, detail)

        if snapshot.passed_by(key) is not None:
            passed = by_state[AttemptState.PASSED]
            return place(Standing.PASSED, passed[-1] if passed else None)
        if running := by_state[AttemptState.RUNNING]:
            return place(Standing.TESTING, running[0])
        failures = [a for a in own if a.state in (AttemptState.FAILED, AttemptState.TIMED_OUT)]
        if len(failures) > snapshot.retries_max:
            last = failures[-1]
            is_late = last.state is AttemptState.TIMED_OUT
            reason = EjectReason.TIMEOUT if is_late else EjectReason.TEST_FAILED
            return place(Standing.FAILED, last, reason, _describe_failure(last, len(failures)))
        errors = by_state[AttemptState.ERROR]
        if len(errors) > ERROR_RETRIES_MAX:
            last = errors[-1]
            detail = f"could not be tested in {len(errors)} attempts: {last.detail}"
            return place(Standing.FAILED, last, EjectReason.INFRASTRUCTURE, detail)
        if any(a.key == key for a in snapshot.running()):
            return place(Standing.TESTING)
        return place(Standing.WANTED)


def _describe_conflicts(composition: Composition) -> str:
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
