"""What a plan consists of: things to do, in order, each complete in itself."""

from dataclasses import dataclass
from typing import TypeAlias

from pwfs.model.ids import AttemptId, ChangeId, ItemId, Seq, TreeHash
from pwfs.model.queue import EjectReason, Member, TestKey


@dataclass(frozen=True, slots=True)
class Compose:
    """Merge ``stack`` strictly on main at ``base_seq``; the answer stands in the next snapshot.

    The stack without the item's own members gives the tree ``below``.
    """

    item_id: ItemId
    base_seq: Seq
    stack: tuple[Member, ...]
    below: TreeHash


@dataclass(frozen=True, slots=True)
class Start:
    """Test an item on top of an exact tree; with no stack main itself, without the item."""

    item_id: ItemId
    base_seq: Seq
    stack: tuple[Member, ...]
    key: TestKey


@dataclass(frozen=True, slots=True)
class Reuse:
    """Certify an item on main as it is by the result of an earlier attempt on the same tree.

    ``independent_of`` names the changes that the two trees differ in, all of which a rule calls
    independent of the item; none where they are the same.
    """

    item_id: ItemId
    base_seq: Seq
    stack: tuple[Member, ...]
    key: TestKey
    source_attempt_id: AttemptId
    independent_of: tuple[ChangeId, ...] = ()


@dataclass(frozen=True, slots=True)
class Stop:
    """End a running attempt whose result has no meaning any more."""

    attempt_id: AttemptId
    why: str


@dataclass(frozen=True, slots=True)
class Land:
    """Make main the tree that an attempt tested; its base is main as it is.

    ``with_ids`` are the items before it that were tested with it and land with it.
    """

    item_id: ItemId
    attempt_id: AttemptId
    with_ids: tuple[ItemId, ...] = ()


@dataclass(frozen=True, slots=True)
class Eject:
    """Take an item out of the queue; ``attempt_id`` names the evidence where a test is."""

    item_id: ItemId
    reason: EjectReason
    detail: str
    attempt_id: AttemptId | None = None


Action: TypeAlias = Compose | Start | Reuse | Stop | Land | Eject
