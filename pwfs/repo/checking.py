"""fsck: recomputes everything that is derived from the log and compares."""

from dataclasses import dataclass, field

from pwfs.model.changes import ChangeStatus
from pwfs.model.errors import BlobMissing, Corrupt, PatchworkError
from pwfs.model.ids import SEQ_ZERO, BlobHash, ChangeId, Seq, TreeHash
from pwfs.model.queue import Member
from pwfs.repo.repository import Repository
from pwfs.views.overlay import OverlayEdits
from pwfs.views.trees import EMPTY_TREE, Subtree, decode_tree, encode_tree


@dataclass
class FsckReport:
    """What was checked and what is wrong; ``problems`` is empty for a sound repository."""

    ops: int = 0
    blobs: int = 0
    trees: int = 0
    landings: int = 0
    changes: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def fsck(repository: Repository) -> FsckReport:
    """Checks a repository; changes nothing.

    The log's numbering, every blob against its name, every tree, every landing against the tree
    that its operations give, statuses against landings and the queue.
    """
    check = _Check(repository)
    check.storage()
    check.ops()
    check.blobs()
    check.trees()
    check.landings()
    check.statuses()
    return check.report


class _Check:
    def __init__(self, repository: Repository) -> None:
        self._repo = repository
        self._log = repository.log
        self.report = FsckReport()
        self._named: dict[BlobHash, str] = {}

    def _problem(self, text: str) -> None:
        self.report.problems.append(text)

    def storage(self) -> None:
        for text in self._log.integrity_check():
            self._problem(f"database: {text}")

    def ops(self) -> None:
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
                    self._named.setdefault(entry.content_hash, f"operation {op.id} ({op.path})")
        if max(last, *landed, SEQ_ZERO) > self._log.head_seq():
            self._problem(f"the counter {self._log.head_seq()} is behind the log")

    def blobs(self) -> None:
        for blob, named_by in self._named.items():
            self.report.blobs += 1
            try:
                self._repo.blobs.get(blob)
            except BlobMissing:
                self._problem(f"blob {blob} is missing; {named_by} names it")
            except Corrupt:
                self._problem(f"blob {blob} is damaged; {named_by} names it")

    def trees(self) -> None:
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
                if isinstance(entry, Subtree) and self._log.tree(entry.hash) is None:
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
                root = self._replay(before_seq, before_root, landing.change_id, landing.version)
            except PatchworkError as error:
                self._problem(f"{where}: cannot be replayed: {error.message}")
            else:
                if root != landing.root:
                    self._problem(
                        f"{where}: its operations give {root}, recorded is {landing.root}"
                    )
            if landing.verified:
                self._certificate(where, landing.attempt_id, landing.root)
            before_seq, before_root = landing.seq, landing.root

    def _certificate(self, where: str, attempt_id: int | None, root: TreeHash) -> None:
        if attempt_id is None:
            self._problem(f"{where}: says it was tested, but not by which attempt")
            return
        attempt = self._repo.attempt(attempt_id)
        item = self._repo.item(attempt.item_id)
        last = attempt.stack[-1:]
        if attempt.state != "passed" or (len(item.members) == 1 and attempt.key.root != root):
            self._problem(f"{where}: attempt {attempt_id} (of {last}) did not pass on this tree")

    def _replay(
        self, seq: Seq, root: TreeHash, change_id: ChangeId, version: int
    ) -> TreeHash | None:
        change = self._repo.change(change_id)
        frozen = change.version(version)
        if frozen is None:
            raise Corrupt(what=f"version {version} does not exist")
        edits = OverlayEdits(self._log.ops_numbered(frozen.operations))
        member = Member(change_id, version)
        candidate = self._repo.candidate_of(seq, root, member, edits)
        return candidate.root

    def statuses(self) -> None:
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
