"""How operations made on top of a version are repeated once that version is in main.

What lay under the operations was main with the version laid over it; now it is main. So an edit of
a file that the version has made is now based on what landed, and a name that the version left free
is free in main.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pwfs.model.entries import FileEntry
from pwfs.model.ids import Seq
from pwfs.model.ops import NewOp, Op, OpType
from pwfs.model.paths import RepoPath, parents
from pwfs.views.overlay import FileEdit, OverlayEdits

Merged = Callable[[FileEdit, FileEntry], FileEntry]
"""Merges what a version makes of a file with what main had of it, another content than its base."""


def base_after_landing(
    landed: FileEdit | None, base: FileEntry | None, merged: Merged
) -> FileEntry | None:
    """What an edit of a version's file starts from, once that version is in main.

    ``base`` stood below the change when the edit was made: the writer saw the version's file
    merged with it.
    """
    if landed is None or (landed.moved_to is not None and landed.result is None):
        return base
    if landed.result is None or base in (None, landed.base, landed.replaced):
        return landed.result
    assert base is not None
    return merged(landed, base)


class Continuation:
    """Repeats a change's later operations, one after the other, for the change that follows it.

    ``version`` are the operations of the version on which the later ones are. ``landed`` are its
    edits if it is in main at ``seq``, else none. ``own`` are the following change's, to which each
    operation is applied before the next is asked for.
    """

    def __init__(
        self,
        version: Sequence[Op],
        landed: Mapping[RepoPath, FileEdit],
        own: OverlayEdits,
        seq: Seq,
        merged: Merged,
    ) -> None:
        self._before = OverlayEdits(version)
        # Moved for a moment is enough: main's renames tell of it, too.
        self._moved_directories = frozenset(
            op.new.directory_rename[0] for op in version if landed and op.new.directory_rename
        )
        self._landed = landed
        self._own = own
        self._seq = seq
        self._merged = merged

    def repeat(self, op: Op) -> list[NewOp]:
        """The operations that do on top of main what ``op`` did on top of the version."""
        source = op.new.old_path if op.op_type is OpType.RENAME else op.path
        assert source is not None
        base = self._base(op, source)
        self._before.apply(op)
        replaced = op.new.replaced
        if op.op_type is OpType.RENAME and op.path in self._landed:
            replaced = self._landed[op.path].result
        repeated = replace(
            op.new,
            base=base,
            base_seq=op.new.base_seq if self._is_as_before(op, base) else self._seq,
            replaced=replaced,
            moved_from=op.id,
        )
        return [repeated, *self._temporary_file(op)]

    def _is_as_before(self, op: Op, base: FileEntry | None) -> bool:
        """Whether the landing left alone what the operation was based on, and its directory."""
        moved = self._moved_directories
        return base == op.new.base and not any(above in moved for above in parents(op.path))

    def _base(self, op: Op, path: RepoPath) -> FileEntry | None:
        own = self._own.edits.get(path)
        if own is not None and own.result is None:
            own = None
        if own is not None and own.base is None:
            return None
        before = self._before.edits.get(path)
        was_at = before.source if before is not None and before.result is not None else path
        is_at = own.source if own is not None else path
        landed = self._landed.get(is_at)
        if landed is None:
            return op.new.base if own is None or is_at == was_at else own.base
        if landed.result is None:
            return None
        if landed.source == was_at or op.new.base is None:
            return base_after_landing(landed, op.new.base, self._merged)
        # Another file than the one that the operation was based on has landed there.
        return own.base if own is not None else landed.result

    def _temporary_file(self, op: Op) -> list[NewOp]:
        """Deletes the file from which a later one was saved, if the version had it still."""
        path = op.new.old_path
        if op.op_type is not OpType.MODIFY or path is None:
            return []
        landed, own = self._landed.get(path), self._own.edits.get(path)
        if landed is None or landed.result is None or (own is not None and own.base is None):
            return []
        return [
            NewOp(
                op_type=OpType.DELETE,
                path=path,
                entry=None,
                base=landed.result,
                base_seq=self._seq,
                moved_from=op.id,
            )
        ]
