"""Every operation names the one before it on its path: read by hand, without the code that does it.

The parent is the change's own last operation on the path, for a rename or a copy on the path that
it came from; if the change has none, the last one that landed there before; else 0. What moved a
file away, a rename or a temporary file's last save, is an operation on the path that it left, too.
"""

from collections.abc import Iterator

from pwfs.model.ids import ChangeId, Seq
from pwfs.model.ops import Op, OpType
from pwfs.model.paths import RepoPath
from pwfs.repo.sources import TreeCache
from pwfs.store.protocols import LogStore
from pwfs.views.trees import lookup


def chains(log: LogStore) -> Iterator[str]:
    """Tells which operations follow another one than they should, a sentence each."""
    own: dict[tuple[ChangeId, RepoPath], Seq] = {}
    landed = _Landed(log)
    for op in log.ops():
        landed.until(op.id)
        source = _source(op)
        expected = own.get((op.change_id, source))
        where = f"operation {op.id} ({op.op_type} {op.path} in {op.change_id})"
        if expected is not None:
            if op.parent_seq != expected:
                yield f"{where} follows {op.parent_seq}, the change's last on {source} is {expected}"
        elif not landed.may_precede(op, source):
            yield f"{where} follows {op.parent_seq}, which is not the last landed on {source}"
        for path in _acted_on(op):
            own[op.change_id, path] = op.id


def _source(op: Op) -> RepoPath:
    if op.op_type in (OpType.RENAME, OpType.COPY):
        assert op.new.old_path is not None
        return op.new.old_path
    return op.path


def _acted_on(op: Op) -> Iterator[RepoPath]:
    yield op.path
    if op.op_type is not OpType.COPY and op.new.old_path is not None:
        yield op.new.old_path


class _Landed:
    """The operations on each path of the versions that landed, in the order of the landings."""

    def __init__(self, log: LogStore) -> None:
        self._log = log
        self._trees = TreeCache(log)
        self._landings = log.landings()
        self._roots = {landing.seq: landing.root for landing in self._landings}
        self._on: dict[RepoPath, list[tuple[Op, Seq]]] = {}

    def until(self, seq: Seq) -> None:
        """Takes in the landings before a number."""
        while self._landings and self._landings[0].seq < seq:
            landing = self._landings.pop(0)
            change = self._log.change(landing.change_id)
            version = change.version(landing.version) if change is not None else None
            assert version is not None
            for op in self._log.ops_numbered(version.operations):
                for path in _acted_on(op):
                    self._on.setdefault(path, []).append((op, landing.seq))

    def may_precede(self, op: Op, path: RepoPath) -> bool:
        """Whether an operation's parent is the last that made its path what it was in main.

        Landings behind it may only have left there what was there already: by the same content, or
        because what they did was merged away.
        """
        found = self._on.get(path, [])
        if op.parent_seq == 0:
            # Nothing landed here, or it came along with its directory, or it was gone again.
            return not found or op.op_type is OpType.CREATE
        numbers = [each.id for each, _ in found]
        if op.parent_seq not in numbers:
            return False
        landings = [landing for _, landing in found[numbers.index(op.parent_seq) :]]
        return len({lookup(self._trees, self._roots[landing], path) for landing in landings}) == 1
