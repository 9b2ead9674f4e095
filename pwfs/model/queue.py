"""The submit queue's records: items, attempts and why an item left."""

import enum
from dataclasses import dataclass
from datetime import datetime

from pwfs.model.ids import AgentId, AttemptId, BlobHash, ChangeId, ItemId, Seq, TreeHash


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


@dataclass(frozen=True, slots=True)
class Member:
    """A change of an item, at the version that was submitted."""

    change_id: ChangeId
    version: int


@dataclass(frozen=True, slots=True)
class QueueItem:
    """A set of changes (usually one) that lands whole or not at all.

    ``order`` sorts the queue (higher priority first, then first come); ``retries`` counts the
    attempts that did not pass.
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
    own members last. ``output_hash`` names the kept output.
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
