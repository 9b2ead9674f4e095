"""Landing: main becomes the tree of a version, and drafts left over move to a follow-up."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pwfs.model.changes import Change, ChangeStatus, Landing
from pwfs.model.entries import FileEntry
from pwfs.model.errors import AlreadyQueued, DependencyNotLanded, NothingToFreeze
from pwfs.model.events import EventType
from pwfs.model.ids import SEQ_ZERO, AgentId, AttemptId, ChangeId, Seq, TreeHash
from pwfs.model.paths import RepoPath
from pwfs.model.queue import Member
from pwfs.model.views import ConflictEvent, ConflictType, Workspace
from pwfs.repo.changes import check_agent
from pwfs.repo.following import Continuation, base_after_landing
from pwfs.repo.viewing import Viewing
from pwfs.views.compose import Layer
from pwfs.views.overlay import FileEdit
from pwfs.views.resolution import Merge, Side
from pwfs.views.trees import diff_trees


@dataclass(frozen=True, slots=True)
class Candidate:
    """Main with some versions strictly merged into it: a tree, or the conflicts that forbid it."""

    root: TreeHash | None
    conflicts: tuple[ConflictEvent, ...]


class Landings(Viewing):
    """The part of a repository that moves main."""

    def candidate(self, base_seq: Seq, members: Sequence[Member]) -> Candidate:
        """Merges versions, in order, into main at ``base_seq``, without any conflict."""
        seq, root = self.main_at(base_seq)
        layers = tuple(self.layer(self.change(m.change_id), m.version) for m in members)
        return self.candidate_of(seq, root, layers)

    def candidate_of(self, seq: Seq, root: TreeHash, layers: tuple[Layer, ...]) -> Candidate:
        """Merges layers into a tree that stands for main at ``seq``."""
        live = self.compose(seq, root, layers)
        if conflicts := live.conflicts():
            return Candidate(None, tuple(self.conflict_event(c) for c in conflicts))
        merged, listings = live.write()
        self.log.put_trees(listings)
        return Candidate(merged, ())

    def land(self, change_id: str, *, agent: str) -> Landing:
        """Lands a change around the queue: the log says that nothing tested it.

        Raises:
            NotFound, ChangeIsFinal: there is no such open change.
            AlreadyQueued: it is being tested; cancel that first.
            DependencyNotLanded: a dependency has not landed.
            NothingToFreeze: the change does nothing.
            Conflicted: it does not merge with main.
        """
        who = check_agent(agent)
        change = self.open_change(change_id)
        if change.status is ChangeStatus.TESTING:
            raise AlreadyQueued(change_id=change.id)
        self._check_dependencies_landed(change)
        with self.transaction():
            if self.has_draft(change):
                self.create_version(change.id, "Landed directly", agent=who)
                change = self.change(change_id)
            if not change.current_version:
                raise NothingToFreeze(change_id=change.id)
            head, root = self.main()
            layer = self.layer(change, change.current_version)
            live = self.compose(head, root, (layer,))
            if conflicts := live.conflicts():
                raise self.conflicted(f"Change {change.id}", conflicts)
            landed_root, listings = live.write()
            self.log.put_trees(listings)
            self._move_status(change, ChangeStatus.TESTING, reason="landed directly")
            seqs = {path: edit.seq for path, edit in layer.edits.edits.items()}
            return self._land(
                self.change(change_id), change.current_version, landed_root, who, seqs=seqs
            )

    def _check_dependencies_landed(self, change: Change) -> None:
        missing = tuple(
            other for other in change.dependencies if self.log.landing_of(other) is None
        )
        if missing:
            raise DependencyNotLanded(change_id=change.id, dependencies=missing)

    def _land(
        self,
        change: Change,
        version: int,
        root: TreeHash,
        agent: AgentId,
        *,
        seqs: Mapping[RepoPath, Seq],
        attempt_id: AttemptId | None = None,
    ) -> Landing:
        """Appends the landing; the caller has merged and written ``root``.

        ``seqs`` tells the operation behind each path; without an attempt the landing says that
        nothing tested it.
        """
        head, old_root = self.main()
        verified = attempt_id is not None
        touched = [
            (difference.path, seqs.get(difference.path, SEQ_ZERO))
            for difference in diff_trees(self.trees, old_root, root)
        ]
        # What was merged for it too: main never names a content that is not on disk.
        self.blobs.sync()
        with self.transaction():
            landing = self.log.append_landing(
                change_id=change.id,
                version=version,
                agent_id=agent,
                root=root,
                previous_seq=head,
                verified=verified,
                attempt_id=attempt_id,
                timestamp=self.now(),
                touched=touched,
            )
            self._move_status(change, ChangeStatus.LANDED, seq=landing.seq)
            self.publish(
                EventType.CHANGE_LANDED,
                change_id=change.id,
                version=version,
                seq=landing.seq,
                root=root,
                verified=verified,
                agent_id=agent,
            )
            workspaces = [w for w in self.log.workspaces() if w.change_id == change.id]
            if self.log.draft_ops(change.id, version):
                self.follow_up(self.change(change.id), version, workspaces)
            else:
                self._close(workspaces)
        return landing

    def _close(self, workspaces: Iterable[Workspace]) -> None:
        for workspace in workspaces:
            self.log.update_workspace(replace(workspace, read_only=True))
        self.views_moved()

    def follow_up(self, change: Change, version: int, workspaces: Sequence[Workspace]) -> Change:
        """Continues a final change in a new one, to which its workspaces move.

        Operations later than ``version`` are recorded again for the new change, each based on
        what landed of its file.
        """
        following = self.create_change(change.title, author=change.author)
        metadata = {**change.metadata, "follows": change.id}
        self.log.update_change(following.id, metadata=metadata, updated_at=self.now())
        self.changed(following.id)
        following = self.change(following.id)
        landed = self._landed_edits(change, version)
        frozen = change.version(version)
        before = self.log.ops_numbered(frozen.operations) if frozen else []
        own, seq = self.edits(following), self.main()[0]
        continuation = Continuation(before, landed, own, seq, self._merged)
        for op in self.log.draft_ops(change.id, version):
            self.append(following, op.agent_id, continuation.repeat(op))
        for workspace in workspaces:
            self._switch(workspace, following)
        return following

    def _landed_edits(self, change: Change, version: int) -> Mapping[RepoPath, FileEdit]:
        landed = version and self.is_landed(change.id)
        return self.edits(change, version).edits if landed else {}

    def base_after_landing(
        self, change: Change, path: RepoPath, base: FileEntry | None
    ) -> FileEntry | None:
        """What an edit begun on a change starts from, now that its last version is in main."""
        landed = self._landed_edits(change, change.current_version).get(path)
        return base_after_landing(landed, base, self._merged)

    def _merged(self, landed: FileEdit, base: FileEntry) -> FileEntry:
        assert landed.result is not None
        merge = Merge(
            type=ConflictType.CONTENT,
            base=landed.base,
            theirs=base,
            yours=landed.result,
            their_side=Side(None, 0, landed.base_seq),
            your_side=Side(None, 0, landed.seq),
        )
        return self.merger.settle(merge).entry

    def _switch(self, workspace: Workspace, change: Change) -> Workspace:
        assert workspace.view_id is not None
        view = self.view(workspace.view_id)
        others = tuple(o for o in view.overlays if o.change_id != workspace.change_id)
        own = tuple(replace(o, change_id=change.id, version=0) for o in view.overlays[-1:])
        self.log.update_view(replace(view, overlays=(*others, *own)))
        moved = replace(workspace, change_id=change.id, read_only=change.status.is_final)
        self.log.update_workspace(moved)
        self.views_moved()
        self.publish(EventType.WORKSPACE_SWITCHED, workspace_id=workspace.id, change_id=change.id)
        return moved

    def landings(self, since: Seq | None = None, limit: int | None = None) -> list[Landing]:
        """Main's history, oldest first."""
        return self.log.landings(since=since or Seq(0), limit=limit)

    def is_landed(self, change_id: ChangeId) -> bool:
        """Whether a change is part of main."""
        return self.log.landing_of(change_id) is not None
