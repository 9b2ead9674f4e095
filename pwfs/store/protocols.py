"""What a store must do, whatever it is made of; `tests/store/conformance.py` holds it to that.

Every method is synchronous and takes milliseconds at most. A log belongs to one thread, except
`Durable.sync`, which any thread may call. Times are aware; they come back in UTC, exact to the
microsecond. What a method changes, it changes whole or not at all, on its own or as part of the
caller's transaction.

A log raises `StoreBusy` when another process keeps it locked, `NoSpace` when the disk is full (the
transaction is rolled back) and `Corrupt` when what is stored cannot be read.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pwfs.model.changes import Change, ChangeStatus, Landing, TestResult, Version
from pwfs.model.ids import SEQ_ZERO, AgentId, AttemptId, BlobHash, ChangeId, Seq, TreeHash
from pwfs.model.ops import NewOp, Op
from pwfs.model.paths import RepoPath
from pwfs.store.records import (
    EventStore,
    QueueStore,
    TargetStore,
    TreeStore,
    ViewStore,
    WorkspaceStore,
)
from pwfs.store.verifying import GoodFile

Touch = tuple[datetime, Seq]
"""When a file last landed, and the operation that did it."""


class Durable(Protocol):
    """Transactions, and when they are on disk."""

    def transaction(self) -> AbstractContextManager[None]:
        """Makes what happens inside one step: all of it is committed, or none.

        Committed work survives the process; after `sync` it survives the machine. An inner
        transaction joins the outer one. When an inner one fails after it changed something, the
        outer one can no longer be committed: leaving it normally rolls it back and raises
        RuntimeError. A refused call changed nothing, so that its error may be handled.
        """

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""

    def sync(self) -> None:
        """Returns when all that is committed is on disk, and before it what it names.

        May be called from any thread.
        """

    def checkpoint(self) -> None:
        """Tidies what commits leave behind, once it is worth it; ordered as `sync` is.

        May be called from any thread, now and then. Without it the log tidies itself, later, in
        the middle of a commit.
        """

    def close(self) -> None:
        """Lets go of the files. Closing twice is harmless."""

    def integrity_check(self) -> list[str]:
        """Tells in sentences what is damaged in the storage itself; nothing when all is well."""


class OpLog(Protocol):
    """The operations: appended, numbered, never changed."""

    def head_seq(self) -> Seq:
        """Returns the last number given out to an operation or a landing, 0 at first."""

    def append_ops(
        self,
        change_id: ChangeId,
        version: int,
        agent_id: AgentId,
        ops: Sequence[NewOp],
        timestamp: datetime,
    ) -> list[Op]:
        """Numbers operations, in order, and stores them together with their events.

        An operation's ``parent_seq`` is the change's last one on its path, for a rename or copy on
        its ``old_path``; if it has none, the last landed one; else 0. A rename is an operation on
        both its paths, as is a modification with an ``old_path`` (a temporary file that was renamed
        over ``path``); a copy is one only on its target. With no operations nothing happens.
        """

    def op(self, seq: Seq) -> Op | None:
        """Finds an operation by its number."""

    def ops(
        self,
        *,
        change_id: ChangeId | None = None,
        path: RepoPath | None = None,
        since: Seq = SEQ_ZERO,
        until: Seq | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[Op]:
        """Lists operations with ``since < id <= until``; ``limit`` cuts after sorting.

        ``path`` selects operations on exactly this path, that which a rename left included.
        """

    def ops_numbered(self, seqs: Sequence[Seq]) -> list[Op]:
        """Returns the operations of these numbers, in the order given.

        Raises:
            NotFound: a number is not an operation's.
        """

    def draft_ops(self, change_id: ChangeId, after_version: int) -> list[Op]:
        """Lists a change's operations collected for a version above ``after_version``."""

    def last_op_on(self, path: RepoPath, *, landed_until: Seq) -> Op | None:
        """Finds the operation that last changed a path in main as of a number."""

    def renames_landed(self, since: Seq, until: Seq) -> list[Op]:
        """Lists rename operations of the landings with ``since < seq <= until``.

        They are in the order of the landings and, in each, of its version.
        """


class ChangeStore(Protocol):
    """Changes and their versions."""

    def insert_change(self, change: Change) -> None:
        """Stores a new change, its versions too.

        Raises:
            AlreadyExists: the id is taken.
        """

    def change(self, change_id: ChangeId) -> Change | None:
        """Finds a change, with its versions."""

    def changes(
        self,
        *,
        status: ChangeStatus | Collection[ChangeStatus] | None = None,
        after: ChangeId | None = None,
        limit: int | None = None,
    ) -> list[Change]:
        """Lists changes, oldest first, beginning behind ``after``.

        Raises:
            NotFound: there is no change ``after``.
        """

    def change_ids_like(self, prefix: str) -> set[str]:
        """Returns the ids that begin with a prefix (an id of its own included)."""

    def update_change(
        self,
        change_id: ChangeId,
        *,
        updated_at: datetime,
        status: ChangeStatus | None = None,
        metadata: Mapping[str, object] | None = None,
        dependencies: Sequence[ChangeId] | None = None,
        current_version: int | None = None,
    ) -> None:
        """Replaces the given fields.

        Raises:
            NotFound: there is no such change.
        """

    def insert_version(self, change_id: ChangeId, version: Version) -> None:
        """Stores a version; the change's ``current_version`` is the caller's to update.

        Raises:
            NotFound: there is no such change.
            AlreadyExists: it has a version of that number.
        """

    def set_test_result(self, change_id: ChangeId, number: int, result: TestResult) -> None:
        """Replaces the outcome of a version's latest test.

        Raises:
            NotFound: there is no such version.
        """


class LandingLog(Protocol):
    """What landed, when, and the files it touched."""

    def append_landing(
        self,
        *,
        change_id: ChangeId,
        version: int,
        agent_id: AgentId,
        root: TreeHash,
        previous_seq: Seq,
        verified: bool,
        attempt_id: AttemptId | None,
        timestamp: datetime,
        touched: Iterable[tuple[RepoPath, Seq]] = (),
    ) -> Landing:
        """Numbers and stores a landing, with the operation behind each path it touched.

        ``previous_seq`` is the newest landing's number (0 before the first). The first landing,
        which may have brought a whole code base, needs no ``touched``: where no later landing
        touched a path, `OpLog` looks among the first landing's operations.

        Raises:
            StaleBase: another landing is the newest.
        """

    def landing_at(self, seq: Seq) -> Landing | None:
        """Finds the newest landing whose number is at most ``seq``."""

    def head_landing(self) -> Landing | None:
        """Finds the newest landing."""

    def landings(self, since: Seq = SEQ_ZERO, limit: int | None = None) -> list[Landing]:
        """Lists the landings with ``seq > since``, oldest first."""

    def landing_of(self, change_id: ChangeId) -> Landing | None:
        """Finds the (newest) landing of a change."""

    def touched(self, path: RepoPath, until: Seq) -> Touch | None:
        """Tells the last landing that touched a path, as of a number."""

    def landings_touching(self, path: RepoPath, since: Seq, limit: int) -> list[Landing]:
        """Lists the first landings after ``since`` that touched a path, oldest first."""

    def touched_in(self, directory: RepoPath, until: Seq) -> dict[str, Touch]:
        """Tells the same of every name directly in a directory, deleted ones too."""


class LogStore(
    Durable,
    OpLog,
    ChangeStore,
    LandingLog,
    TreeStore,
    ViewStore,
    WorkspaceStore,
    EventStore,
    QueueStore,
    TargetStore,
    Protocol,
):
    """The log and all records that are kept with it, in one transactional store."""


class BlobStore(Protocol):
    """Contents of files by their SHA-256, each kept once; any thread may use it.

    With ``sync`` a content is on disk when the call returns, also when it was there before; other
    ones are once `sync` was called. Writing raises `NoSpace` and leaves nothing behind when the
    disk is full. A damaged content is never given out, and storing it again replaces it.
    """

    def put(self, content: bytes, *, sync: bool = False) -> BlobHash:
        """Stores a content."""

    def put_stream(
        self, chunks: Iterable[bytes], *, size_bytes_max: int, sync: bool = False
    ) -> tuple[BlobHash, int]:
        """Stores a content that comes in pieces; returns its name and size.

        Raises:
            TooLarge: the pieces are more than ``size_bytes_max``; nothing is stored. What the
                iterator raises passes through, with the same effect.
        """

    def adopt(self, file: Path, blob_hash: BlobHash, *, sync: bool = False) -> None:
        """Takes a finished private file in under its name, without copying where possible.

        The caller vouches for the hash, and never writes to the file again: it may from now on
        be the blob itself. Its permissions become 0444; the caller removes its own name.
        """

    def get(self, blob_hash: BlobHash) -> bytes:
        """Reads a whole content and checks it against its name.

        Raises:
            BlobMissing: it is not stored.
            BlobDamaged: it cannot be read, or the stored bytes are others.
        """

    def open(self, blob_hash: BlobHash) -> int:
        """Opens a content for reading; the descriptor is the caller's to close.

        The first time it reads all of it and compares it with its name.

        Raises:
            BlobMissing: it is not stored.
            BlobDamaged: it cannot be read, or the stored bytes are others.
        """

    def verify(self, blob_hash: BlobHash) -> None:
        """Raises what `open` would; then opening it, unchanged, costs no reading."""

    def is_verified(self, blob_hash: BlobHash) -> bool:
        """Whether `open` would return without reading the content."""

    def good_file(self, blob_hash: BlobHash) -> GoodFile | None:
        """The file of a content that was verified, which may be another since then."""

    def path(self, blob_hash: BlobHash) -> Path:
        """Tells where a content is, or would be."""

    def has(self, blob_hash: BlobHash) -> bool:
        """Tells whether a content is stored."""

    def size(self, blob_hash: BlobHash) -> int:
        """Tells a content's length in bytes.

        Raises:
            BlobMissing: it is not stored.
        """

    def hashes(self) -> Iterator[BlobHash]:
        """Names every content, in no order."""

    def sync(self) -> None:
        """Returns when every content stored through this object so far is on disk."""

    def sync_all(self) -> None:
        """Returns when every content is on disk, also what an earlier process stored."""
