"""What a program needs to know to act on an item that left the queue without landing."""

import enum
from dataclasses import dataclass

from pwfs.model.ids import AttemptId, ChangeId, ItemId
from pwfs.model.paths import RepoPath
from pwfs.model.views import ConflictType


class Cause(enum.StrEnum):
    """What it was about: `EjectReason` is what was seen, this is what follows from the records.

    An ``interaction`` is a failure of what passed without the changes that are named; ``flaky`` is
    one of exactly what passed elsewhere. ``main`` fails by itself, the item is not known to.
    """

    CONFLICT = "conflict"
    OWN_FAILURE = "own_failure"
    INTERACTION = "interaction"
    FLAKY = "flaky"
    TIMEOUT = "timeout"
    INFRASTRUCTURE = "infrastructure"
    DEPENDENCY = "dependency"
    MAIN = "main"


class Remedy(enum.StrEnum):
    """What has to be done before it can land."""

    EDIT = "edit"
    """Its files need another content."""
    RESUBMIT = "resubmit"
    """It may pass as it is; what was submitted is merged with main anew in any case."""
    DEPENDENCY = "dependency"
    """Something else has to land first."""
    MAIN = "main"
    """Main has to be mended first; then it may pass as it is."""


@dataclass(frozen=True, slots=True)
class Region:
    """Lines of a file that both sides changed, numbered from 1.

    ``your_count`` lines from ``your_first`` are the change's, ``base_count`` lines from
    ``base_first`` were there before both. A count of 0 stands for the place before that line.
    """

    your_first: int
    your_count: int
    base_first: int
    base_count: int


@dataclass(frozen=True, slots=True)
class Dispute:
    """A file in conflict; without ``regions`` it is disputed whole."""

    path: RepoPath
    type: ConflictType
    change_id: ChangeId
    with_change: ChangeId | None
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True, slots=True)
class Ejection:
    """Why an item left, and what helps.

    ``with_changes`` is the smallest set of other changes that it takes: those whose edits it
    conflicts with, or without which it passed, or that it waits for. ``merges`` tells whether it
    merged with main when it left: then no edit is needed for that. ``attempt_id`` is the test that
    decided, ``view_id`` shows the tree that it had. ``resubmitted_as`` is the item that took its
    place, where that was asked for.
    """

    cause: Cause
    remedy: Remedy
    merges: bool
    with_changes: tuple[ChangeId, ...] = ()
    disputes: tuple[Dispute, ...] = ()
    attempt_id: AttemptId | None = None
    view_id: str | None = None
    resubmitted_as: ItemId | None = None
