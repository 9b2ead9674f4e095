"""Changes: creation, dependencies, versions, what they do to the code base."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pwfs.merge.lines import is_binary, unified_diff
from pwfs.model.changes import Change, ChangeStatus, Version, check_transition
from pwfs.model.entries import FileEntry
from pwfs.model.errors import (
    AlreadyQueued,
    DependencyCycle,
    InvalidArgument,
    NotFound,
    NothingToFreeze,
)
from pwfs.model.events import EventType
from pwfs.model.ids import AgentId, ChangeId, Seq, TreeHash, slugify
from pwfs.model.ops import NewOp, OpType
from pwfs.model.paths import RepoPath
from pwfs.model.views import ConflictPolicy
from pwfs.repo.live import LiveView, NetEdit, Position
from pwfs.repo.telling import Telling
from pwfs.views.compose import Layer

TITLE_LENGTH_MAX = 500
_AGENT = re.compile(r"[^\s\x00-\x1f\x7f]{1,100}")


@dataclass(frozen=True, slots=True)
class FileDiff:
    """One file of a change's diff; ``patch`` is a unified diff that `git apply` takes."""

    path: RepoPath
    old_path: RepoPath | None
    status: str
    old_mode: str | None
    new_mode: str | None
    is_binary: bool
    patch: str


def check_agent(name: str) -> AgentId:
    """Checks an agent's name: 1 to 100 characters without white space.

    Raises:
        InvalidArgument: it is not.
    """
    if not _AGENT.fullmatch(name):
        raise InvalidArgument(name="agent", reason=f"{name!r} is no name without white space")
    return AgentId(name)


class Changes(Telling):
    """The part of a repository that knows changes."""

    def create_change(
        self,
        title: str,
        *,
        author: str,
        target: str = "main",
        depends_on: Sequence[str] = (),
        metadata: dict[str, object] | None = None,
    ) -> Change:
        """Creates a draft change; its id is the title's slug, with -2, -3 … if that is taken.

        Raises:
            EmptySlug, InvalidArgument: the title or the target is not usable.
            NotFound: a dependency does not exist.
        """
        if len(title) > TITLE_LENGTH_MAX:
            raise InvalidArgument(name="title", reason=f"is longer than {TITLE_LENGTH_MAX}")
        if target != "main":
            raise InvalidArgument(name="target", reason="main is the only target there is")
        agent = check_agent(author)
        dependencies = tuple(dict.fromkeys(self.change(other).id for other in depends_on))
        now = self.now()
        change = Change(
            id=self._free_change_id(slugify(title)),
            title=title,
            author=agent,
            target=target,
            status=ChangeStatus.DRAFT,
            current_version=0,
            versions=(),
            dependencies=dependencies,
            metadata=dict(metadata or {}),
            created_at=now,
            updated_at=now,
        )
        with self.transaction():
            self.log.insert_change(change)
            self.publish(EventType.CHANGE_CREATED, change_id=change.id, title=title, author=agent)
        return change

    def _free_change_id(self, slug: str) -> ChangeId:
        taken = self.log.change_ids_like(slug)
        number, candidate = 1, slug
        while candidate in taken:
            number += 1
            candidate = f"{slug}-{number}"
        return ChangeId(candidate)

    def changes(self, status: ChangeStatus | None = None) -> list[Change]:
        """All changes, oldest first."""
        return self.log.changes(status=status)

    def set_metadata(self, change_id: str, metadata: dict[str, object]) -> Change:
        """Merges keys into a change's metadata; a None value removes its key.

        Raises:
            NotFound: there is no such change.
        """
        change = self.change(change_id)
        merged = {**change.metadata, **metadata}
        kept = {key: value for key, value in merged.items() if value is not None}
        with self.transaction():
            self.log.update_change(change.id, metadata=kept, updated_at=self.now())
            self.changed(change.id)
            self.publish(EventType.CHANGE_UPDATED, change_id=change.id, metadata=kept)
        return self.change(change_id)

    def set_dependencies(self, change_id: str, dependencies: Sequence[str]) -> Change:
        """Replaces the list of changes that must land first.

        Raises:
            NotFound, ChangeIsFinal: the change or a dependency is not there, or it is final.
            DependencyCycle: a dependency would depend on this change.
        """
        change = self.open_change(change_id)
        wanted = tuple(dict.fromkeys(self.change(other).id for other in dependencies))
        for other in wanted:
            if path := self._dependency_path(other, change.id):
                raise DependencyCycle(changes=(change.id, *path))
        with self.transaction():
            self.log.update_change(change.id, dependencies=wanted, updated_at=self.now())
            self.changed(change.id)
            self.views_moved()
            self.publish(EventType.CHANGE_UPDATED, change_id=change.id, dependencies=list(wanted))
        return self.change(change_id)

    def _dependency_path(self, start: ChangeId, goal: ChangeId) -> tuple[ChangeId, ...]:
        """The chain of dependencies from one change to another, empty if there is none."""
        came_from: dict[ChangeId, ChangeId | None] = {start: None}
        pending = [start]
        while pending:
            here = pending.pop()
            if here == goal:
                chain: list[ChangeId] = []
                step: ChangeId | None = here
                while step is not None:
                    chain.append(step)
                    step = came_from[step]
                return tuple(reversed(chain))
            for following in self.change(here).dependencies:
                if following not in came_from:
                    came_from[following] = here
                    pending.append(following)
        return ()

    def _move_status(self, change: Change, status: ChangeStatus, **why: object) -> None:
        check_transition(change.id, change.status, status)
        with self.transaction():
            self.log.update_change(change.id, status=status, updated_at=self.now())
            self.changed(change.id)
            self.views_moved()
            if status.is_final:
                self.let_go(change.id)
            self.publish(
                EventType.CHANGE_STATUS,
                change_id=change.id,
                status=status.value,
                previous=change.status.value,
                **why,
            )

    # Versions

    def has_draft(self, change: Change) -> bool:
        """Whether the change has operations that no version holds yet."""
        return bool(self.log.draft_ops(change.id, change.current_version))

    def create_version(self, change_id: str, message: str, *, agent: str) -> Version:
        """Freezes a change's operations as its next version.

        Raises:
            NotFound, ChangeIsFinal: there is no such open change.
            NothingToFreeze: nothing was written since the last version.
        """
        change = self.open_change(change_id)
        draft = self.log.draft_ops(change.id, change.current_version)
        if not draft:
            raise NothingToFreeze(change_id=change.id)
        current = change.version(change.current_version)
        operations = (*(current.operations if current else ()), *(op.id for op in draft))
        return self._insert_version(change, operations, message, check_agent(agent))

    def _insert_version(
        self, change: Change, operations: tuple[Seq, ...], message: str, agent: AgentId
    ) -> Version:
        version = Version(
            number=change.current_version + 1,
            operations=operations,
            base_seq=self.main()[0],
            created_at=self.now(),
            message=message,
        )
        # Frozen operations cannot be made good after a power failure as a draft's are.
        self.blobs.sync()
        with self.transaction():
            self.log.insert_version(change.id, version)
            self.changed(change.id)
            self.log.update_change(change.id, current_version=version.number, updated_at=self.now())
            self.changed(change.id)
            self.views_moved()
            self.publish(
                EventType.VERSION_CREATED,
                change_id=change.id,
                version=version.number,
                agent_id=agent,
                message=message,
                base_seq=version.base_seq,
            )
        return version

    def rebase(self, change_id: str, *, agent: str) -> Version:
        """Writes a version whose operations are replayed on main's head, merged.

        Raises:
            NotFound, ChangeIsFinal: there is no such open change.
            AlreadyQueued: a version is being tested; what follows it is continued from that one.
            NothingToFreeze: main has everything that the change does.
            Conflicted: both sides changed the same lines; nothing was written.
        """
        change = self.open_change(change_id)
        if change.status is ChangeStatus.TESTING:
            raise AlreadyQueued(change_id=change.id)
        who = check_agent(agent)
        head, root = self.main()
        live = self.compose(head, root, self.stack(change))
        if conflicts := live.conflicts():
            raise self.conflicted(f"Rebasing {change.id}", conflicts)
        ops = [replayed(edit, head) for edit in _in_order(live.net_edits())]
        if not ops:
            raise NothingToFreeze(change_id=change.id)
        with self.transaction():
            rows = self.log.append_ops(change.id, change.current_version + 1, who, ops, self.now())
            self.replaced_draft(change.id)
            return self._insert_version(
                change, tuple(row.id for row in rows), f"Rebased onto {head}", who
            )

    # What changes do

    def stack(
        self, change: Change, version: int = 0, *, base_seq: Seq | None = None
    ) -> tuple[Layer, ...]:
        """A change as layers: its dependencies that are not below ``base_seq`` yet, then itself."""
        layers: dict[ChangeId, Layer] = {}
        self._stack_into(layers, change, version, self.main()[0] if base_seq is None else base_seq)
        return tuple(layers.values())

    def _stack_into(
        self, layers: dict[ChangeId, Layer], change: Change, version: int, base_seq: Seq
    ) -> None:
        for other in change.dependencies:
            below = self.change(other)
            landing = self.log.landing_of(below.id)
            if below.id not in layers and (landing is None or landing.seq > base_seq):
                self._stack_into(layers, below, below.current_version, base_seq)
        layers[change.id] = self.layer(change, version)

    def compose(
        self,
        base_seq: Seq,
        root: TreeHash,
        layers: tuple[Layer, ...],
        policy: ConflictPolicy = ConflictPolicy.WARN,
    ) -> LiveView:
        """Composes layers on a moment of main, for one look."""
        return LiveView("", self, lambda: Position(base_seq, root, layers), policy)

    def diff(self, change_id: str, version: int | None = None) -> list[FileDiff]:
        """What a version (by default everything up to now) does to the files below it.

        Raises:
            NotFound: there is no such change or version.
        """
        change = self.change(change_id)
        frozen = None
        if version is not None:
            frozen = change.version(version)
            if frozen is None:
                raise NotFound(kind="version", id=f"{change_id}@{version}")
        elif change.status.is_final:
            frozen = change.version(change.current_version)
        base = frozen.base_seq if frozen else self.main()[0]
        seq, root = self.main_at(base)
        layers = self.stack(change, frozen.number if frozen else 0, base_seq=base)
        live = self.compose(seq, root, layers)
        return [self._file_diff(edit) for edit in live.net_edits()]

    def _file_diff(self, edit: NetEdit) -> FileDiff:
        before = self._content(edit.before)
        after = self._content(edit.after)
        if edit.before is None:
            status = "added"
        elif edit.after is None:
            status = "deleted"
        else:
            status = "renamed" if edit.old_path else "modified"
        binary = is_binary(before) or is_binary(after)
        old_path = edit.old_path or edit.path
        header = _diff_header(edit, old_path, binary=binary)
        body = b""
        if not binary and before != after:
            body = unified_diff(
                before,
                after,
                old_label="/dev/null" if edit.before is None else f"a/{old_path}",
                new_label="/dev/null" if edit.after is None else f"b/{edit.path}",
            )
        return FileDiff(
            path=edit.path,
            old_path=edit.old_path,
            status=status,
            old_mode=edit.before.mode.text if edit.before else None,
            new_mode=edit.after.mode.text if edit.after else None,
            is_binary=binary,
            patch=header
            + body.decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode(),
        )

    def _content(self, entry: FileEntry | None) -> bytes:
        return self.blobs.get(entry.content_hash) if entry else b""


def replayed(edit: NetEdit, base_seq: Seq, moved_from: Seq | None = None) -> NewOp:
    """The operation that repeats a net edit on what is below it now."""
    if edit.after is None:
        op_type = OpType.DELETE
    elif edit.old_path is not None:
        op_type = OpType.RENAME
    else:
        op_type = OpType.MODIFY if edit.before else OpType.CREATE
    return NewOp(
        op_type=op_type,
        path=edit.path,
        entry=edit.after,
        old_path=edit.old_path,
        base=edit.before,
        base_seq=base_seq,
        replaced=edit.replaced,
        moved_from=moved_from,
    )


def _in_order(edits: Iterable[NetEdit]) -> list[NetEdit]:
    """Sorts edits so that repeating them one by one gives what all of them give at once.

    A rename comes after the one that moves away what stood at its target, and before all that is
    written. Files that changed places cannot be renamed in any order: those are written.
    """
    renames: dict[RepoPath, NetEdit] = {}
    rest: list[NetEdit] = []
    for edit in edits:
        if edit.old_path is None:
            rest.append(edit)
        else:
            renames[edit.old_path] = edit
    ordered: list[NetEdit] = []
    while renames:
        free = [source for source, edit in renames.items() if edit.path not in renames]
        ordered += [renames.pop(source) for source in free]
        if not free:
            rest += [NetEdit(e.path, None, e.replaced, e.after) for e in renames.values()]
            break
    return ordered + rest


def _diff_header(edit: NetEdit, old_path: RepoPath, *, binary: bool) -> str:
    lines = [f"diff --git a/{old_path} b/{edit.path}"]
    if edit.before is None and edit.after is not None:
        lines.append(f"new file mode {edit.after.mode.text}")
    elif edit.after is None and edit.before is not None:
        lines.append(f"deleted file mode {edit.before.mode.text}")
    elif edit.before and edit.after and edit.before.mode is not edit.after.mode:
        lines += [f"old mode {edit.before.mode.text}", f"new mode {edit.after.mode.text}"]
    if edit.old_path is not None:
        lines += [f"rename from {edit.old_path}", f"rename to {edit.path}"]
    if binary and edit.before != edit.after:
        lines.append(f"Binary files a/{old_path} and b/{edit.path} differ")
    return "\n".join(lines) + "\n"
