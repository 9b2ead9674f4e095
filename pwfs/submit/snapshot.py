"""All that the scheduler knows: one consistent reading of the queue, as a value."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pwfs.model.ids import SEQ_ZERO, AttemptId, ChangeId, ItemId, Seq, TreeHash
from pwfs.model.queue import Attempt, AttemptState, Member, QueueItem, TestKey
from pwfs.model.views import ConflictEvent
from pwfs.submit.history import NOTHING_DECIDED, History
from pwfs.submit.line import Policy
from pwfs.submit.ordering import in_queue_order


@dataclass(frozen=True, slots=True)
class Composition:
    """What an item's members, strictly merged on the tree ``below``, give: a tree or conflicts.

    It was made as main at ``base_seq`` with ``stack``, the item's members last.
    """

    base_seq: Seq
    stack: tuple[Member, ...]
    below: TreeHash
    root: TreeHash | None
    conflicts: tuple[ConflictEvent, ...] = ()


CompositionKey = tuple[TreeHash, tuple[Member, ...], tuple[Member, ...]]
"""The tree below, the members laid on it, and the whole stack: scenarios may have equal trees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One reading of the queue; two equal snapshots lead to equal plans.

    Main:
        ``head_seq`` and ``head_root`` are the newest landing's (0 and the empty tree before any).
        ``is_green``: it passed the test, as things are set; ``controls`` are the tests of it without
        any item, oldest first.
    The queue:
        ``items`` are the queued ones. ``attempts`` are all attempts of these items, and whatever
        else is running, oldest first. ``dependencies`` has an entry for each queued change that
        depends on others, and ``landed`` those of these others that are part of main. ``ages`` are
        the levels of priority that items gained by waiting.
    The settings:
        ``command`` (empty: nothing can be tested), ``environment_hash`` (see
        `hash_environment`), ``paused``, ``closed`` (only what jumped the queue lands), ``policy``,
        ``max_speculative`` (1 is linear), ``cores``
        (for the policy ``auto``), ``retries_max``, how often a failed test of the same tree is
        repeated.
    The past:
        ``landings`` are all after ``landings_since``, oldest first: an attempt on an older main
        counts only if its tree is the one wanted. ``history`` are counts for the policies.
    The rule of independence:
        ``targets`` are what a declared rule says that a change concerns; two changes whose
        targets are known and have none in common are independent. Without an entry a change
        may disagree with every other.
    What whoever carries the plan out found out for it:
        ``compositions`` by the tree below, the members on it and the stack, ``passed`` an attempt that
        passed under a key. Leaving some out costs a repeated `Compose` or test, nothing else.
    """

    head_seq: Seq
    head_root: TreeHash
    is_green: bool
    controls: tuple[Attempt, ...] = ()
    items: tuple[QueueItem, ...]
    attempts: tuple[Attempt, ...] = ()
    dependencies: Mapping[ChangeId, tuple[ChangeId, ...]] = field(default_factory=dict)
    landed: frozenset[ChangeId] = frozenset()
    ages: Mapping[ItemId, int] = field(default_factory=dict)
    command: str
    environment_hash: str
    paused: bool = False
    closed: bool = False
    policy: Policy = Policy.WINDOW
    max_speculative: int = 1
    cores: int = 1
    retries_max: int = 0
    landings: tuple[tuple[Seq, Member], ...] = ()
    landings_since: Seq = SEQ_ZERO
    history: History = NOTHING_DECIDED
    targets: Mapping[ChangeId, frozenset[str]] = field(default_factory=dict)
    compositions: Mapping[CompositionKey, Composition] = field(default_factory=dict)
    passed: Mapping[TestKey, AttemptId] = field(default_factory=dict)

    def key(self, root: TreeHash) -> TestKey:
        """What the result of testing a tree depends on, as things are set now."""
        return TestKey(root, self.command, self.environment_hash)

    def running(self) -> tuple[Attempt, ...]:
        """The attempts that occupy a place."""
        return tuple(a for a in self.attempts if a.state is AttemptState.RUNNING)

    def attempts_of(self, item: QueueItem, key: TestKey) -> tuple[Attempt, ...]:
        """An item's attempts on one tree, oldest first."""
        return tuple(a for a in self.attempts if a.item_id == item.id and a.key == key)

    def passed_by(self, key: TestKey) -> AttemptId | None:
        """An attempt that passed on the same tree, whoever's it was."""
        found = self.passed.get(key)
        if found is not None:
            return found
        passed = (
            a.id
            for a in self.attempts
            if a.key == key and a.state is AttemptState.PASSED and a.rests_on is None
        )
        return max(passed, default=None)

    def missing(self, item: QueueItem) -> frozenset[ChangeId]:
        """The dependencies of an item that neither landed nor come with it."""
        own = {member.change_id for member in item.members}
        return frozenset(
            other
            for member in item.members
            for other in self.dependencies.get(member.change_id, ())
            if other not in own and other not in self.landed
        )

    def in_order(self) -> tuple[QueueItem, ...]:
        """The items in the order in which they are decided."""
        return in_queue_order(self.items, self.dependencies, self.ages)

    def lands_while_closed(self) -> frozenset[ItemId]:
        """The items that jumped the queue, and those that they depend on."""
        owner = {member.change_id: item for item in self.items for member in item.members}
        pending = [item for item in self.items if item.jump is not None]
        found: set[ItemId] = set()
        while pending:
            item = pending.pop()
            if item.id not in found:
                found.add(item.id)
                needed = (o for m in item.members for o in self.dependencies.get(m.change_id, ()))
                pending.extend(owner[other] for other in needed if other in owner)
        return frozenset(found)


def hash_environment(environment: Mapping[str, str]) -> str:
    """Names what a result depends on besides the tree and the command, 64 hexadecimal digits.

    Values that differ from one test to the next (the names of the change, the attempt and the
    temporary directories) do not belong in it.
    """
    text = json.dumps(dict(environment), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
