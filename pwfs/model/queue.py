"""The submit queue's records: items, attempts and why an item left."""

import enum
from dataclasses import dataclass
from datetime import datetime

from pwfs.model.ejection import Ejection
from pwfs.model.ids import AgentId, AttemptId, BlobHash, ChangeId, ItemId, Seq, TreeHash
from pwfs.model.targets import Declaration, Rule


class ItemState(enum.StrEnum):
    """Where an item stands; all but ``queued`` are final."""

    QUEUED = "queued"
    LANDED = "landed"
    EJECTED = "ejected"
    CANCELLED = "cancelled"


class AttemptState(enum.StrEnum):
    """How far an attempt is; all but ``running`` are final.

    ``error`` is the infrastructure's fault, ``stopped`` says nothing about the tree.
    """

    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    STOPPED = "stopped"
    ERROR = "error"


class EjectReason(enum.StrEnum):
    """Why an item left the queue without landing."""

    CONFLICT = "conflict"
    TEST_FAILED = "test_failed"
    TIMEOUT = "timeout"
    DEPENDENCY = "dependency"
    INFRASTRUCTURE = "infrastructure"
    MAIN_FAILED = "main_failed"
    """Main by itself, without the item, fails the test, too."""


@dataclass(frozen=True, slots=True)
class Member:
    """A change of an item, at the version that was submitted."""

    change_id: ChangeId
    version: int


@dataclass(frozen=True, slots=True)
class Jump:
    """Why an item goes before all others, and lands though the tree is closed; who said so, when."""

    agent_id: AgentId
    reason: str
    jumped_at: datetime


@dataclass(frozen=True, slots=True)
class Closing:
    """Why nothing lands but what jumped the queue; who closed the tree, when."""

    agent_id: AgentId
    reason: str
    closed_at: datetime


@dataclass(frozen=True, slots=True)
class QueueItem:
    """A set of changes (usually one) that lands whole or not at all.

    `pwfs.submit.ordering` sorts the queue by ``jump``, ``priority``, ``share`` and ``id``.
    ``retries`` counts the attempts that did not pass. ``resubmits`` is how often it may be submitted
    again by itself.
    """

    id: ItemId
    members: tuple[Member, ...]
    state: ItemState
    priority: int
    agent_id: AgentId
    entered_at: datetime
    finished_at: datetime | None = None
    retries: int = 0
    reason: EjectReason | None = None
    detail: str = ""
    resubmits: int = 0
    ejection: Ejection | None = None
    share: int = 0
    jump: Jump | None = None


@dataclass(frozen=True, slots=True)
class TestKey:
    """What a result depends on: a tree that passed under the same key is not tested again."""

    __test__ = False

    root: TreeHash
    command: str
    environment_hash: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One test of an item on top of an exact tree.

    ``stack`` is the ordered list of (change, version) on top of main at ``base_seq``, the item's
    own members last; without any it is a control: main was tested without the item, to know if the
    item is to blame. ``output_hash`` names the kept output.
    ``rests_on`` names the attempt of another tree whose result this is, because a rule calls
    independent of the item what the two trees differ in; None: the result is of this very tree.
    """

    id: AttemptId
    item_id: ItemId
    base_seq: Seq
    stack: tuple[Member, ...]
    key: TestKey
    state: AttemptState
    started_at: datetime
    ended_at: datetime | None = None
    exit_code: int | None = None
    output_hash: BlobHash | None = None
    detail: str = ""
    rests_on: AttemptId | None = None

    @property
    def is_control(self) -> bool:
        """Whether main itself was tested, without the item."""
        return not self.stack


@dataclass(frozen=True, slots=True)
class IndependenceProof:
    """Why a test of another tree than the one that landed speaks for it.

    ``tested_stack`` on main at ``tested_base_seq`` gave ``tested_root``, which passed. Main became
    another: ``besides`` landed since and were not in that tree, ``without`` were in it and are not
    in main, each in order. ``rule`` tells of what landed and of all of these its ``declarations``,
    by which none of the others has a target in common with what landed. ``either_root`` is the tree
    of all together: what lands with ``without`` on top, and what was tested with ``besides``.
    """

    tested_base_seq: Seq
    tested_base_root: TreeHash
    tested_stack: tuple[Member, ...]
    tested_root: TreeHash
    besides: tuple[Member, ...]
    without: tuple[Member, ...]
    rule: Rule
    declarations: tuple[Declaration, ...]
    either_root: TreeHash


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was tested before it landed: written in the same step as the landing, never changed.

    ``stack`` on main at ``base_seq`` (the tree ``base_root``) gave ``root``, which passed
    ``command`` in attempt ``tested_by``: the item's own one, ``attempt_id``, or an earlier one of
    the same tree, command and environment. ``members``, the last of the stack, are the item's and
    those of the items that landed with it.
    ``main_seq`` and ``main_root`` are what main was until then. Certificates are numbered from 1,
    and ``previous`` is the digest (SHA-256 in hexadecimal digits) of the one before, '' for none.
    With an ``independence`` what passed in ``tested_by`` is the tree that this tells of instead.
    """

    number: int
    previous: str
    item_id: ItemId
    attempt_id: AttemptId
    tested_by: AttemptId
    base_seq: Seq
    base_root: TreeHash
    stack: tuple[Member, ...]
    members: tuple[Member, ...]
    root: TreeHash
    command: str
    environment_hash: str
    exit_code: int
    output_hash: BlobHash | None
    started_at: datetime
    ended_at: datetime
    main_seq: Seq
    main_root: TreeHash
    certified_at: datetime
    independence: IndependenceProof | None = None


@dataclass(frozen=True, slots=True)
class StoredCertificate:
    """A certificate as it is stored; ``is_intact`` says that its digest is that of its text."""

    certificate: Certificate
    digest: str
    is_intact: bool
