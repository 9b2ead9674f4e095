"""Changes, their versions and their life cycle."""

import enum
from dataclasses import dataclass
from datetime import datetime

from pwfs.model.errors import IllegalTransition
from pwfs.model.ids import AgentId, ChangeId, Seq, TreeHash


class ChangeStatus(enum.StrEnum):
    """Where a change stands; landed and abandoned are final."""

    DRAFT = "draft"
    READY = "ready"
    TESTING = "testing"
    LANDED = "landed"
    ABANDONED = "abandoned"

    @property
    def is_final(self) -> bool:
        """Whether no transition leaves this status."""
        return self in (ChangeStatus.LANDED, ChangeStatus.ABANDONED)


TRANSITIONS: frozenset[tuple[ChangeStatus, ChangeStatus]] = frozenset(
    {
        (ChangeStatus.DRAFT, ChangeStatus.READY),
        (ChangeStatus.DRAFT, ChangeStatus.TESTING),
        (ChangeStatus.READY, ChangeStatus.TESTING),
        (ChangeStatus.TESTING, ChangeStatus.DRAFT),
        (ChangeStatus.TESTING, ChangeStatus.LANDED),
        (ChangeStatus.DRAFT, ChangeStatus.ABANDONED),
        (ChangeStatus.READY, ChangeStatus.ABANDONED),
        (ChangeStatus.TESTING, ChangeStatus.ABANDONED),
    }
)


def check_transition(change_id: ChangeId, before: ChangeStatus, after: ChangeStatus) -> None:
    """Refuses a step that the life cycle does not have.

    Raises:
        IllegalTransition: the pair is not in `TRANSITIONS`.
    """
    if (before, after) not in TRANSITIONS:
        raise IllegalTransition(change_id=change_id, before=before, after=after)


class TestStatus(enum.StrEnum):
    """How far a test is."""

    __test__ = False

    PENDING = "pending"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class TestResult:
    """The outcome of a version's latest test."""

    __test__ = False

    status: TestStatus
    output: str
    start_at: datetime
    end_at: datetime | None


@dataclass(frozen=True, slots=True)
class Version:
    """A frozen, self-contained list of a change's operations; numbers start at 1."""

    number: int
    operations: tuple[Seq, ...]
    base_seq: Seq
    created_at: datetime
    message: str
    test_result: TestResult | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A reviewable group of operations. ``current_version`` is 0 before the first version."""

    id: ChangeId
    title: str
    author: AgentId
    target: str
    status: ChangeStatus
    current_version: int
    versions: tuple[Version, ...]
    dependencies: tuple[ChangeId, ...]
    metadata: dict[str, object]
    created_at: datetime
    updated_at: datetime

    def version(self, number: int) -> Version | None:
        """Finds a version by its number."""
        return next((v for v in self.versions if v.number == number), None)


@dataclass(frozen=True, slots=True)
class Landing:
    """A record that main became ``root`` at ``seq`` by landing a version.

    ``verified`` is True when the submit queue tested exactly this tree, False for an explicit
    ``land``. ``attempt_id`` names the queue's attempt that tested it.
    """

    seq: Seq
    timestamp: datetime
    change_id: ChangeId
    version: int
    agent_id: AgentId
    root: TreeHash
    previous_seq: Seq
    verified: bool
    attempt_id: int | None = None
