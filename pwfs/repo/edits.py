"""How a write becomes operations: from a mount (`record`) or from a program (`append_op`)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pwfs.model.changes import Change, ChangeStatus
from pwfs.model.entries import FileEntry, Mode
from pwfs.model.errors import (
    BlobMissing,
    ChangeIsFinal,
    InvalidArgument,
    NotFound,
    PatchworkError,
)
from pwfs.model.ids import AgentId, BlobHash, Seq, is_hash
from pwfs.model.ops import NewOp, Op, OpType, Provenance
from pwfs.model.paths import RepoPath, parents, parse_path
from pwfs.model.views import ConflictNote, ConflictType
from pwfs.repo.changes import check_agent
from pwfs.repo.landings import Landings
from pwfs.repo.live import LiveView, Seen
from pwfs.views.editor import DIRECTORY
from pwfs.views.resolution import Merge, Side


@dataclass(frozen=True, slots=True)
class Edit:
    """What a program did to one path of a workspace.

    ``entry`` is the file afterwards (None: deleted). ``seen`` is what the writer started from
    (None: what the view shows now).
    """

    op_type: OpType
    path: RepoPath
    entry: FileEntry | None
    old_path: RepoPath | None = None
    seen: Seen | None = None
    process: Provenance | None = None
    recovered: bool = False
    directory_rename: tuple[RepoPath, RepoPath] | None = None


@dataclass(frozen=True, slots=True)
class OpRequest:
    """An operation that a program asks for; the content is uploaded before."""

    op_type: OpType
    path: str
    content_hash: str | None = None
    mode: str = Mode.FILE.text
    old_path: str | None = None


class Edits(Landings):
    """The part of a repository that turns writes into operations."""

    def append_op(self, change_id: str, request: OpRequest, *, agent: str) -> Op:
        """Appends one operation to a change's draft.

        Raises:
            NotFound, ChangeIsFinal: there is no such open change.
            InvalidPath, InvalidArgument: the request does not make sense for what is there.
            BlobMissing: the content was not uploaded.
        """
        who = check_agent(agent)
        return self._append_requested(self.open_change(change_id), who, request)

    def append_ops(self, change_id: str, requests: Sequence[OpRequest], *, agent: str) -> list[Op]:
        """Appends operations to a change's draft, all or none; each sees those before it.

        Raises:
            PatchworkError: what `append_op` raises; ``index`` tells for which request.
        """
        change = self.open_change(change_id)
        who = check_agent(agent)
        rows: list[Op] = []
        with self.transaction():
            for index, request in enumerate(requests):
                self.follow_within_transaction(change)
                try:
                    rows.append(self._append_requested(change, who, request))
                except PatchworkError as error:
                    error.index = index
                    raise
        return rows

    def _append_requested(self, change: Change, who: AgentId, request: OpRequest) -> Op:
        live = self.draft_view(change)
        path = parse_path(request.path)
        old = parse_path(request.old_path) if request.old_path is not None else None
        edit = Edit(request.op_type, path, self._requested_entry(request, live, path, old), old)
        _check_fits(live, edit)
        ops = self._new_ops(live, change, edit)
        if not ops:
            raise InvalidArgument(name="op", reason=f"{path} is like that already")
        return self.append(change, who, ops)[-1]

    def _requested_entry(
        self, request: OpRequest, live: LiveView, path: RepoPath, old: RepoPath | None
    ) -> FileEntry | None:
        if (old is not None) != (request.op_type in (OpType.RENAME, OpType.COPY)):
            raise InvalidArgument(name="old_path", reason="goes with rename and copy, only there")
        if request.op_type is OpType.DELETE:
            return None
        if request.content_hash is None:
            source = live.file(old or path)
            if source is None:
                raise NotFound(kind="file", id=old or path)
            if request.op_type is OpType.CREATE or request.op_type is OpType.MODIFY:
                raise InvalidArgument(name="content_hash", reason="is needed")
            return source
        if not is_hash(request.content_hash):
            raise InvalidArgument(name="content_hash", reason="must be 64 hexadecimal digits")
        blob = BlobHash(request.content_hash)
        if not self.blobs.has(blob):
            raise BlobMissing(blob_hash=blob)
        try:
            mode = Mode(int(request.mode, 8))
        except ValueError:
            choices = ", ".join(mode.text for mode in Mode)
            raise InvalidArgument(name="mode", reason=f"must be one of {choices}") from None
        return FileEntry(blob, mode, self.blobs.size(blob))

    def record(self, workspace_id: str, edits: Sequence[Edit]) -> list[Op]:
        """Logs what programs did in a workspace, in one transaction.

        Edits that change nothing give no operation. A write that started before its change
        became final goes to a follow-up change; the workspace moves there.

        Raises:
            NotFound: there is no such workspace, or it is a test's.
            ChangeIsFinal: the change is final and the edit started after that.
        """
        workspace = self.workspace(workspace_id)
        if workspace.change_id is None:
            raise NotFound(kind="change of workspace", id=workspace_id)
        rows: list[Op] = []
        with self.transaction():
            change = self.change(workspace.change_id)
            if change.status.is_final:
                if not any(edit.seen is not None for edit in edits):
                    raise ChangeIsFinal(change_id=change.id, status=change.status)
                edits = [self._after_landing(change, edit) for edit in edits]
                change = self.follow_up(change, change.current_version, [workspace])
            for edit in edits:
                if rows:
                    # This edit may depend on what the ones before it did to the view.
                    self.follow_within_transaction(change)
                live = self.live(workspace_id)
                rows += self._record_one(live, change, workspace.agent_id, edit)
        return rows

    def _record_one(self, live: LiveView, change: Change, agent: AgentId, edit: Edit) -> list[Op]:
        if edit.entry is not None and edit.seen is not None and edit.old_path is None:
            edit = self._joined_with_others(live, change, edit)
        ops = self._new_ops(live, change, edit)
        if not ops:
            return []
        return self.append(change, agent, ops)

    def _after_landing(self, change: Change, edit: Edit) -> Edit:
        if edit.seen is None or change.status is not ChangeStatus.LANDED:
            return edit
        base = self.base_after_landing(change, edit.path, edit.seen.base)
        return replace(edit, seen=replace(edit.seen, base=base))

    def _joined_with_others(self, live: LiveView, change: Change, edit: Edit) -> Edit:
        """Merges a write with what others wrote to the same change since the writer started."""
        assert edit.seen is not None and edit.entry is not None
        current = live.file(edit.path)
        own = self.edits(change).edits.get(live.edited_path(edit.path))
        moved = (
            own is not None
            and own.result not in (None, edit.seen.current, edit.entry)
            and own.seq > edit.seen.own_seq
            and current not in (edit.seen.current, edit.entry)
        )
        if not moved or current is None or own is None:
            return edit
        merge = Merge(
            type=ConflictType.CONTENT,
            base=edit.seen.current,
            theirs=current,
            yours=edit.entry,
            their_side=Side(change.id, 0, own.seq),
            your_side=Side(change.id, 0, Seq(0)),
        )
        settled = self.merger.settle(merge)
        if settled.conflict is not None:
            note = ConflictNote(
                type=settled.conflict,
                path=edit.path,
                your_change=change.id,
                your_version=0,
                their_change=change.id,
                conflicting_op=own.seq,
                base_hash=edit.seen.current.content_hash if edit.seen.current else None,
                your_hash=edit.entry.content_hash,
                their_hash=current.content_hash,
                marked_hash=settled.entry.content_hash,
            )
            self.publish_conflict(note)
        return replace(edit, entry=settled.entry, seen=None)

    def _new_ops(self, live: LiveView, change: Change, edit: Edit) -> list[NewOp]:
        """The operations that make an edit of what a view shows."""
        match edit.op_type:
            case OpType.RENAME:
                return self._rename_ops(live, change, edit)
            case OpType.DELETE:
                return self._delete_ops(live, edit)
            case OpType.CREATE | OpType.MODIFY | OpType.COPY:
                return self._write_ops(live, edit)

    def _write_ops(self, live: LiveView, edit: Edit) -> list[NewOp]:
        current = live.file(edit.path)
        if current == edit.entry and not self._decides(live, edit.path):
            return []
        op_type = edit.op_type
        if op_type is not OpType.COPY or current is not None:
            op_type = OpType.CREATE if current is None else OpType.MODIFY
        old_path = edit.old_path if op_type is OpType.COPY else None
        write = self._op(live, replace(edit, op_type=op_type, old_path=old_path), edit.path)
        return [*self._freeing(live, edit.path), *self._adopting(live, edit.path), write]

    def _decides(self, live: LiveView, path: RepoPath) -> bool:
        """Whether saving a file as it is shown decides a conflict: one side is shown whole.

        Where both are shown between markers, saving them again decides nothing.
        """
        conflict = live.conflict_at(path)
        return conflict is not None and conflict.shown in (conflict.theirs, conflict.yours)

    def _delete_ops(self, live: LiveView, edit: Edit) -> list[NewOp]:
        if live.file(edit.path) is None:
            return []
        known_as = live.edited_path(edit.path)
        if known_as != edit.path and live.base_of(edit.path) is None:
            return [self._op(live, replace(edit, path=known_as), known_as)]
        return [*self._adopting(live, edit.path), self._op(live, edit, edit.path)]

    def _rename_ops(self, live: LiveView, change: Change, edit: Edit) -> list[NewOp]:
        assert edit.old_path is not None and edit.entry is not None
        old = edit.old_path
        own = self.edits(change).edits.get(live.edited_path(old))
        target = live.file(edit.path)
        is_new = own is not None and own.base is None and own.origin is None
        if is_new and target is not None:
            # A save through a temporary file keeps the history of its target.
            save = replace(edit, op_type=OpType.MODIFY)
            return [*self._adopting(live, edit.path), self._op(live, save, edit.path)]
        known_as = live.edited_path(old)
        if known_as != old and live.base_of(old) is None:
            moved = self._op(live, replace(edit, old_path=known_as), known_as)
            return [*self._freeing(live, edit.path), moved]
        rename = replace(self._op(live, edit, old), replaced=live.below(edit.path))
        return [*self._freeing(live, edit.path), *self._adopting(live, old), rename]

    def _freeing(self, live: LiveView, path: RepoPath) -> list[NewOp]:
        """Moves the change's own edit of a path to where the view shows it.

        Needed once main renamed a file that the change had edited, before another takes its name.
        """
        where = live.shown_elsewhere(path)
        own = live.own_edit(path)
        if where is None or own is None or live.get(path) is not None:
            return []
        return [
            NewOp(
                op_type=OpType.RENAME,
                path=where,
                entry=own.result,
                old_path=path,
                base_seq=live.base_seq,
                replaced=own.base,
            )
        ]

    def _adopting(self, live: LiveView, path: RepoPath) -> list[NewOp]:
        """Brings the change's own edit to the path where the view shows it.

        Needed once main renamed a file that the change had edited under its old name.
        """
        known_as = live.edited_path(path)
        if known_as == path or live.base_of(path) is None:
            return []
        return [
            NewOp(
                op_type=OpType.RENAME,
                path=path,
                entry=live.file(path),
                old_path=known_as,
                base_seq=live.base_seq,
            )
        ]

    def _op(self, live: LiveView, edit: Edit, source: RepoPath) -> NewOp:
        base = edit.seen.base if edit.seen else live.base_of(source)
        return NewOp(
            op_type=edit.op_type,
            path=edit.path,
            entry=edit.entry,
            old_path=edit.old_path,
            base=base,
            base_seq=edit.seen.base_seq if edit.seen else live.base_seq,
            directory_rename=edit.directory_rename,
            process=edit.process,
            recovered=edit.recovered,
        )


def _check_fits(live: LiveView, edit: Edit) -> None:
    """Refuses what no filesystem would do: these checks are the kernel's in a mount."""
    if live.get(edit.path) is DIRECTORY:
        raise InvalidArgument(name="path", reason=f"{edit.path} is a directory")
    for above in parents(edit.path):
        if above and live.get(above) not in (None, DIRECTORY):
            raise InvalidArgument(name="path", reason=f"{above} is a file")
    exists = live.get(edit.path) is not None
    if edit.op_type is OpType.CREATE and exists:
        raise InvalidArgument(name="path", reason=f"{edit.path} exists already; modify it")
    if edit.op_type in (OpType.MODIFY, OpType.DELETE) and not exists:
        raise NotFound(kind="file", id=edit.path)
    if edit.old_path is not None and live.file(edit.old_path) is None:
        raise NotFound(kind="file", id=edit.old_path)
