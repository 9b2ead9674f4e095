"""fsck: recomputes everything that is derived from the log and compares."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pwfs.model.changes import ChangeStatus, Landing
from pwfs.model.entries import FileEntry
from pwfs.model.errors import BlobDamaged, BlobMissing, Corrupt, PatchworkError
from pwfs.model.events import EventType
from pwfs.model.ids import SEQ_ZERO, BlobHash, Seq, TreeHash
from pwfs.model.queue import AttemptState, Member
from pwfs.repo.references import find_references
from pwfs.repo.replay import Replay
from pwfs.repo.repository import Repository
from pwfs.views.trees import EMPTY_TREE, decode_tree, diff_trees, encode_tree


@dataclass
class FsckReport:
    """What was checked and what is wrong; ``problems`` is empty for a sound repository.

    ``lost`` are contents that a power failure took before they were synced: the log tells so, and
    nothing shows them any more.
    """

    ops: int = 0
    blobs: int = 0
    trees: int = 0
    landings: int = 0
    changes: int = 0
    problems: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def fsck(repository: Repository) -> FsckReport:
    """Checks a repository; changes nothing.

    The log's numbering, every blob against its name, every tree, every landing against the tree
    that its operations give, statuses against landings and the queue.
    """
    check = Check(repository)
    for step in (*check.steps(), check.blobs, *check.last_steps()):
        step()
    return check.report


class Check:
    """The steps of `fsck`, for a caller that has other things to do between them."""

    def __init__(self, repository: Repository) -> None:
        self._repo = repository
        self._log = repository.log
        self._replay = Replay(repository)
        self.report = FsckReport()
        self._named: set[BlobHash] = set()
        self._bad: dict[BlobHash, str] = {}
        self._attempt_before: int | None = None

    def steps(self) -> tuple[Callable[[], None], ...]:
        """What belongs to the repository's thread; then comes `blobs`, the longest, anywhere.

        Comparing a landing merges anew what was merged for it.
        """
        return (self.storage, self.ops, self.trees, self.landings, self.statuses)

    def last_steps(self) -> tuple[Callable[[], None], ...]:
        """What comes after `blobs`, on the repository's thread again."""
        return (self.name_what_is_hurt,)

    def _problem(self, text: str) -> None:
        self.report.problems.append(text)

    def storage(self) -> None:
        """Asks the store for damage of its own."""
        for text in self._log.integrity_check():
            self._problem(f"database: {text}")

    def ops(self) -> None:
        """Checks the numbering, and what operations refer to."""
        changes = {change.id for change in self._log.changes()}
        last = SEQ_ZERO
        landed = {landing.seq for landing in self._log.landings()}
        for op in self._log.ops():
            self.report.ops += 1
            if op.id <= last or op.id in landed:
                self._problem(f"operation {op.id}: its number is not the next one")
            last = op.id
            if op.parent_seq >= op.id:
                self._problem(f"operation {op.id}: its parent {op.parent_seq} is not older")
            if op.change_id not in changes:
                self._problem(f"operation {op.id}: change {op.change_id} does not exist")
            for entry in (op.new.entry, op.new.base, op.new.replaced):
                if entry is not None:
                    self._named.add(entry.content_hash)
        if max(last, *landed, SEQ_ZERO) > self._log.head_seq():
            self._problem(f"the counter {self._log.head_seq()} is behind the log")

    def blobs(self) -> None:
        """Reads every content that an operation or a tree names; any thread may do it."""
        for blob in self._named:
            self.report.blobs += 1
            try:
                self._repo.blobs.get(blob)
            except BlobMissing:
                self._bad[blob] = "is missing"
            except BlobDamaged as error:
                self._bad[blob] = f"is damaged, it {error.reason}"

    def name_what_is_hurt(self) -> None:
        """Says of each bad content what names it, or that it is known to be lost."""
        if not self._bad:
            return
        lost = {
            str(event.payload["content_hash"])
            for event in self._repo.log.events(types=[EventType.CONTENT_LOST])
        }
        for blob, named_by in find_references(self._repo, self._bad.keys()).items():
            text = f"blob {blob} {self._bad[blob]}; {'; '.join(named_by)}"
            if blob in lost and not named_by.trees and not named_by.shown:
                self.report.lost.append(text)
            else:
                self._problem(text)

    def trees(self) -> None:
        """Checks every tree against its name, and for missing ones."""
        for tree in self._log.tree_hashes():
            self.report.trees += 1
            encoded = self._log.tree(tree)
            try:
                listing = decode_tree(encoded or b"")
            except Corrupt as error:
                self._problem(f"tree {tree}: {error.message}")
                continue
            if encode_tree(listing)[0] != tree:
                self._problem(f"tree {tree} is not what its name says")
            for name, entry in listing.items():
                if isinstance(entry, FileEntry):
                    self._named.add(entry.content_hash)
                elif self._log.tree(entry.hash) is None:
                    self._problem(f"tree {tree}: directory {name} ({entry.hash}) is missing")

    def landings(self) -> None:
        """Replays every landing's version on the main before it and compares the roots."""
        before_seq, before_root = SEQ_ZERO, EMPTY_TREE
        for landing in self._log.landings():
            self.report.landings += 1
            where = f"landing {landing.seq} of {landing.change_id}@{landing.version}"
            if landing.previous_seq != before_seq:
                self._problem(f"{where}: follows {landing.previous_seq}, not {before_seq}")
            try:
                root = self._expected(landing, before_seq, before_root)
            except PatchworkError as error:
                self._problem(f"{where}: cannot be replayed: {error.message}")
            else:
                if root != landing.root:
                    self._problem(
                        f"{where}: its operations give {root}, recorded is {landing.root}"
                    )
            if before_seq:
                self._touched(where, before_root, landing)
            before_seq, before_root = landing.seq, landing.root
            self._attempt_before = landing.attempt_id

    def _touched(self, where: str, before: TreeHash, landing: Landing) -> None:
        """Compares the index of what a landing touched with what it changed."""
        for difference in diff_trees(self._repo.trees, before, landing.root):
            touch = self._log.touched(difference.path, landing.seq)
            if touch is None or touch[0] != landing.timestamp:
                self._problem(f"{where}: the index does not know that it touched {difference.path}")

    def _expected(self, landing: Landing, seq: Seq, root: TreeHash) -> TreeHash | None:
        """The tree that a landing's operations give; what was tested together lands as one tree."""
        members: tuple[Member, ...] = (Member(landing.change_id, landing.version),)
        if landing.verified:
            if landing.attempt_id is None:
                raise Corrupt(what="it says it was tested, but not by which attempt")
            attempt = self._repo.attempt(landing.attempt_id)
            if attempt.state is not AttemptState.PASSED or attempt.key.root != landing.root:
                raise Corrupt(what=f"attempt {attempt.id} did not pass on this tree")
            if attempt.id == self._attempt_before:
                return root
            if members[0] not in attempt.stack:
                raise Corrupt(what=f"attempt {attempt.id} did not test it")
            members = attempt.stack[attempt.stack.index(members[0]) :]
        return self._replay.root_of(seq, root, members)

    def statuses(self) -> None:
        """Compares statuses with landings, the queue and versions."""
        queued = {m.change_id for item in self._repo.queued() for m in item.members}
        for change in self._log.changes():
            self.report.changes += 1
            landed = self._log.landing_of(change.id) is not None
            if landed != (change.status is ChangeStatus.LANDED):
                fact = "has" if landed else "has no"
                self._problem(f"change {change.id} is {change.status} but {fact} landing")
            if (change.id in queued) != (change.status is ChangeStatus.TESTING):
                self._problem(f"change {change.id} is {change.status}; the queue says otherwise")
            numbers = [version.number for version in change.versions]
            if numbers != list(range(1, len(numbers) + 1)) or change.current_version != len(
                numbers
            ):
                self._problem(f"change {change.id}: its versions are {numbers}")
