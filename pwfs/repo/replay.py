"""What versions give on a moment of main, computed anew from the log: for `fsck` and `verify`."""

from collections.abc import Sequence

from pwfs.model.errors import Corrupt
from pwfs.model.ids import Seq, TreeHash
from pwfs.model.queue import Member
from pwfs.model.views import ConflictPolicy
from pwfs.repo.live import LiveView, Position
from pwfs.repo.repository import Repository
from pwfs.repo.sources import Merging
from pwfs.views.compose import Layer
from pwfs.views.overlay import OverlayEdits


class Replay:
    """Composes as the repository does, with nothing taken from a cache.

    Every merge is made again, every version's operations are read from the log.
    """

    def __init__(self, repository: Repository) -> None:
        self._repo = repository
        self.trees = repository.trees
        self.merger = Merging(repository.log, repository.blobs, use_stored=False)
        self.renames_between = repository.renames_between
        self.touched_at = repository.touched_at
        self.touched_in = repository.touched_in
        self.begun_at = repository.begun_at

    def root_of(self, seq: Seq, root: TreeHash, members: Sequence[Member]) -> TreeHash | None:
        """The tree of versions, in order, on ``root``, main at ``seq``; None if they conflict.

        Raises:
            Corrupt: a version does not exist.
        """
        layers = tuple(self._frozen(member) for member in members)
        position = Position(seq, root, layers)
        live = LiveView("", self, lambda: position, ConflictPolicy.WARN)
        return None if live.conflicts() else live.write()[0]

    def _frozen(self, member: Member) -> Layer:
        version = self._repo.change(member.change_id).version(member.version)
        if version is None:
            raise Corrupt(what=f"version {member.change_id}@{member.version} does not exist")
        edits = OverlayEdits(self._repo.log.ops_numbered(version.operations))
        return Layer(member.change_id, member.version, edits, edits.revision)
