"""What all parts of a repository share: the store, the caches, and how movement is told.

Everything here runs on one thread and nothing awaits, so each method of the repository is atomic
for the daemon's tasks. A transaction's effects on live views and subscribers happen after it is
committed, the views first: whoever is told of an event finds every view moved already.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pwfs.model.changes import Change, Landing
from pwfs.model.errors import ChangeIsFinal, NotFound
from pwfs.model.events import EventType
from pwfs.model.ids import SEQ_ZERO, AgentId, ChangeId, Seq, TreeHash
from pwfs.model.ops import NewOp, Op, OpType
from pwfs.model.paths import RepoPath
from pwfs.repo.config import load_config
from pwfs.repo.health import Health
from pwfs.repo.layout import Layout
from pwfs.repo.live import LiveView
from pwfs.repo.sources import Merging, TreeCache
from pwfs.store.protocols import BlobStore, LogStore
from pwfs.views.compose import Layer
from pwfs.views.editor import Found
from pwfs.views.overlay import OverlayEdits
from pwfs.views.resolution import Renames
from pwfs.views.trees import EMPTY_TREE

CHANGES_KEPT_MAX = 4_096
VERSIONS_KEPT_MAX = 256
DRAFT_VIEWS_KEPT_MAX = 16


@dataclass(frozen=True, slots=True)
class Movement:
    """Some paths of a live view show something else than before.

    ``before`` tells what stood at these names and at those of the directories above them.
    """

    live: LiveView
    paths: frozenset[RepoPath]
    before: Mapping[RepoPath, Found | None]


@dataclass
class _Touched:
    """What a transaction changed that live views depend on.

    ``unfollowed`` are those of ``own_edits`` that no view was shown inside the transaction.
    """

    own_edits: dict[ChangeId, set[RepoPath]]
    unfollowed: dict[ChangeId, set[RepoPath]]
    everything: bool = False


class Core:
    """The shared state; see the module."""

    def __init__(self, layout: Layout, log: LogStore, blobs: BlobStore) -> None:
        self.layout = layout
        self.log = log
        self.blobs = blobs
        self.config = load_config(layout.config)
        self.health = Health()
        self.trees = TreeCache(log)
        self.merger = Merging(log, blobs)
        self._changes: dict[ChangeId, Change] = {}
        self._drafts: dict[ChangeId, OverlayEdits] = {}
        self._versions: dict[tuple[ChangeId, int], OverlayEdits] = {}
        self._lives: dict[str, LiveView] = {}
        self._draft_views: dict[ChangeId, LiveView] = {}
        self._touched = _Touched({}, {})
        self._depth = 0
        self._undo: list[Callable[[], None]] = []
        self._subscribers: list[Callable[[], None]] = []
        self._movers: list[Callable[[Movement], None]] = []
        self._begun: datetime | None = None

    @property
    def root(self) -> Path:
        """The directory that was initialised."""
        return self.layout.root

    @property
    def state_dir(self) -> Path:
        """Its ``.patchwork``."""
        return self.layout.state

    @property
    def name(self) -> str:
        """A readable name unique on this machine."""
        return self.layout.name

    def now(self) -> datetime:
        """The time to record, UTC."""
        return datetime.now(UTC)

    # Transactions and who is told

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits everything inside at once, or nothing; nests by joining the outer one."""
        if self._depth:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
            return
        before = self.log.last_event_id()
        self._depth = 1
        try:
            with self.log.transaction():
                yield
        except BaseException:
            self._forget_uncommitted()
            raise
        finally:
            self._depth = 0
            self._undo.clear()
        self._tell(before)

    def _forget_uncommitted(self) -> None:
        touched, self._touched = self._touched, _Touched({}, {})
        self._changes.clear()
        for undo in self._undo:
            undo()
        if touched.own_edits or touched.everything:
            self._drafts.clear()
            self._versions.clear()
            self._draft_views.clear()
            for live in self._lives.values():
                live.rebuild()

    def if_refused(self, undo: Callable[[], None]) -> None:
        """Has something in memory put right if the transaction under way comes to nothing."""
        assert self._depth, "there is a transaction to wait for"
        self._undo.append(undo)

    def _tell(self, before: int) -> None:
        touched, self._touched = self._touched, _Touched({}, {})
        self._follow_drafts(touched)
        followed = [(live, self._follow(live, touched)) for live in list(self._lives.values())]
        for live, paths in followed:
            if paths:
                movement = Movement(live, paths, live.take_before())
                for mover in self._movers:
                    mover(movement)
        if self.log.last_event_id() != before:
            for subscriber in list(self._subscribers):
                subscriber()

    def _follow(self, live: LiveView, touched: _Touched) -> frozenset[RepoPath]:
        if touched.everything:
            moved = live.moved()
            own = touched.own_edits.get(live.layers[-1].change_id) if live.layers else None
            return moved | live.own_edits_changed(frozenset(own)) if own else moved
        if not live.layers:
            return frozenset()
        own = touched.own_edits.get(live.layers[-1].change_id)
        if own is not None and live.layers[-1].version == 0:
            return live.own_edits_changed(frozenset(own))
        if any(layer.change_id in touched.own_edits for layer in live.layers):
            return live.moved()
        return frozenset()

    def _follow_drafts(self, touched: _Touched) -> None:
        """Has the kept views of drafts show what was committed; nobody is told of them."""
        if touched.everything:
            self._draft_views.clear()
        for change_id, own in touched.own_edits.items():
            for shown, live in list(self._draft_views.items()):
                if shown == change_id:
                    live.own_edits_changed(frozenset(own))
                    live.take_before()
                elif any(layer.change_id == change_id for layer in live.layers):
                    del self._draft_views[shown]

    def views_moved(self) -> None:
        """Notes that main, a change's versions or a view's definition is another now."""
        self._touched.everything = True

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls back right after each commit that stored events; returns how to stop that."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def on_moved(self, callback: Callable[[Movement], None]) -> Callable[[], None]:
        """Calls back when a live view shows something else; returns how to stop that."""
        self._movers.append(callback)
        return lambda: self._movers.remove(callback)

    def publish(self, type_: EventType, **payload: object) -> None:
        """Stores an event in the current transaction."""
        self.log.append_event(type_, payload, self.now())

    # Main

    def head_landing(self) -> Landing | None:
        """The newest landing, None before the first."""
        return self.log.head_landing()

    def main_at(self, seq: Seq) -> tuple[Seq, TreeHash]:
        """Main's landing at or before ``seq``: its number and root; (0, empty) before all."""
        landing = self.log.landing_at(seq)
        return (landing.seq, landing.root) if landing else (SEQ_ZERO, EMPTY_TREE)

    def main(self) -> tuple[Seq, TreeHash]:
        """Main at its head."""
        landing = self.log.head_landing()
        return (landing.seq, landing.root) if landing else (SEQ_ZERO, EMPTY_TREE)

    # What live views ask for (pwfs.repo.live.Surroundings)

    def renames_between(self, since: Seq, until: Seq) -> Renames:
        """Main's renames in ``(since, until]``."""
        renames = Renames({}, {})
        for op in self.log.renames_landed(since, until):
            if op.op_type is OpType.RENAME and op.new.old_path is not None:
                renames.files[op.new.old_path] = op.path
                if op.new.directory_rename is not None:
                    source, target = op.new.directory_rename
                    renames.directories[source] = target
        return renames

    def touched_at(self, path: RepoPath, until: Seq) -> datetime | None:
        """When a landing after the first last touched a path."""
        touched = self.log.touched(path, until)
        return touched[0] if touched else None

    def touched_in(self, directory: RepoPath, until: Seq) -> Mapping[str, datetime]:
        """The same for a directory's files."""
        rows = self.log.touched_in(directory, until)
        return {name: time for name, (time, _) in rows.items()}

    def begun_at(self) -> datetime:
        """When main's first landing was made."""
        if self._begun is None:
            first = self.log.landings(limit=1)
            if not first:
                return datetime.fromtimestamp(0, UTC)
            self._begun = first[0].timestamp
        return self._begun

    # Changes and their edits

    def change(self, change_id: str) -> Change:
        """Finds a change.

        Raises:
            NotFound: there is none of that id.
        """
        known = self._changes.get(ChangeId(change_id))
        if known is not None:
            return known
        change = self.log.change(ChangeId(change_id))
        if change is None:
            raise NotFound(kind="change", id=change_id)
        if len(self._changes) >= CHANGES_KEPT_MAX:
            self._changes.clear()
        self._changes[change.id] = change
        return change

    def changed(self, change_id: ChangeId) -> None:
        """Reads a change anew when it is asked for next; called by whoever wrote its record."""
        self._changes.pop(change_id, None)

    def open_change(self, change_id: str) -> Change:
        """Finds a change that takes edits.

        Raises:
            NotFound: there is none of that id.
            ChangeIsFinal: it has landed or was abandoned.
        """
        change = self.change(change_id)
        if change.status.is_final:
            raise ChangeIsFinal(change_id=change.id, status=change.status)
        return change

    def edits(self, change: Change, version: int = 0) -> OverlayEdits:
        """A change's edits at a version, or (0) with everything not frozen yet."""
        if version:
            key = (change.id, version)
            cached = self._versions.get(key)
            if cached is None:
                frozen = change.version(version)
                if frozen is None:
                    raise NotFound(kind="version", id=f"{change.id}@{version}")
                cached = OverlayEdits(self.log.ops_numbered(frozen.operations))
                self._versions[key] = cached
                if len(self._versions) > VERSIONS_KEPT_MAX:
                    del self._versions[next(iter(self._versions))]
            return cached
        draft = self._drafts.get(change.id)
        if draft is None:
            current = change.version(change.current_version)
            ops = self.log.ops_numbered(current.operations) if current else []
            draft = OverlayEdits([*ops, *self.log.draft_ops(change.id, change.current_version)])
            self._drafts[change.id] = draft
        return draft

    def layer(self, change: Change, version: int = 0) -> Layer:
        """A change as a view lays it over main."""
        edits = self.edits(change, version)
        return Layer(change.id, version, edits, edits.revision)

    def append(self, change: Change, agent: AgentId, ops: Sequence[NewOp]) -> list[Op]:
        """Appends operations to an open change's draft."""
        with self.transaction():
            draft = self.edits(change)
            rows = self.log.append_ops(
                change.id, change.current_version + 1, agent, ops, self.now()
            )
            paths = frozenset[RepoPath]().union(*(draft.apply(op) for op in rows))
            for known in (self._touched.own_edits, self._touched.unfollowed):
                known.setdefault(change.id, set()).update(paths)
        return rows

    def let_go(self, change_id: ChangeId) -> None:
        """Forgets a draft's folded edits, because its change takes no more."""
        self._drafts.pop(change_id, None)

    def replaced_draft(self, change_id: ChangeId) -> None:
        """Forgets a draft's folded edits, because a rebase replaced them."""
        self._drafts.pop(change_id, None)
        self.views_moved()
