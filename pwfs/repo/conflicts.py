"""Conflicts found while they arise: every open change against main and every other open change."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

import msgspec

from pwfs.model.changes import Change, ChangeStatus
from pwfs.model.events import EventType
from pwfs.model.ids import BlobHash, ChangeId
from pwfs.model.paths import RepoPath, parents
from pwfs.model.views import ConflictEvent, ConflictNote, ConflictType
from pwfs.repo.live import Conflict, LiveView
from pwfs.repo.workspaces import Workspaces
from pwfs.views.compose import Layer
from pwfs.views.overlay import Overlay
from pwfs.views.part import PartOfOverlay, paths_near

_Contents = tuple[ConflictType, BlobHash | None, BlobHash | None, BlobHash | None]
OPEN_STATUSES = (ChangeStatus.DRAFT, ChangeStatus.READY, ChangeStatus.TESTING)


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two sides that may conflict; the other one is None for main."""

    change: ChangeId
    other: ChangeId | None
    path: RepoPath


class Conflicts(Workspaces):
    """The part of a repository that compares changes with each other."""

    def conflicts(self, change_id: str) -> list[ConflictEvent]:
        """What a change conflicts in, with main, with what it depends on, and with open changes.

        Raises:
            NotFound: there is no such change.
        """
        change = self.change(change_id)
        if change.status.is_final:
            return []
        found = list(self.live_change(change).conflicts())
        for other in self._open_changes():
            if other.id != change.id:
                found += self._between(change, other)
        return [self.conflict_event(conflict) for conflict in found]

    def _open_changes(self) -> list[Change]:
        return self.log.changes(status=OPEN_STATUSES)

    def _between(
        self, change: Change, other: Change, only: frozenset[RepoPath] | None = None
    ) -> list[Conflict]:
        """Conflicts of a change with another that is not below it, in some paths or in all.

        Conflicts that either has with main by itself are not repeated.
        """
        if self._dependency_path(change.id, other.id) or self._dependency_path(other.id, change.id):
            return []
        mine, theirs = self.stack(change), self.stack(other)
        if only is not None:
            near = paths_near(only, [layer.edits for layer in (*theirs, *mine)])
            if not _meets(near, self.edits(other)):
                return []
            mine, theirs = _parts(mine, near), _parts(theirs, near)
        elif not self._may_meet(change, other):
            return []
        lower = {layer.change_id for layer in theirs}
        own = tuple(layer for layer in mine if layer.change_id not in lower)
        head, root = self.main()
        together = self.compose(head, root, (*theirs, *own))
        alone = {conflict.path for conflict in self.compose(head, root, own).conflicts()}
        return [
            conflict
            for conflict in _concerning(only, together)
            if conflict.your_side.change_id == change.id
            and conflict.their_side.change_id == other.id
            and conflict.path not in alone
        ]

    def _may_meet(self, change: Change, other: Change) -> bool:
        """Whether two changes touch a file in common, also in directories that were moved."""
        paths: Collection[RepoPath] = self.edits(change).edits
        overlays = [layer.edits for layer in (*self.stack(other), *self.stack(change))]
        if any(overlay.directory_moves for overlay in overlays):
            paths = paths_near(paths, overlays)
        return _meets(paths, self.edits(other))

    def detect_conflicts(self, change_id: str, paths: Collection[RepoPath] | None = None) -> None:
        """Compares a change with main and all open ones, and publishes what is new or gone.

        ``paths`` limits the comparison to what was just written.
        """
        change = self.change(change_id)
        only = frozenset(paths) if paths is not None else None
        found: dict[_Pair, Conflict] = {}
        if not change.status.is_final:
            layers = self.stack(change)
            if only is not None:
                layers = _parts(layers, paths_near(only, [layer.edits for layer in layers]))
            alone = self.compose(*self.main(), layers)
            for conflict in _concerning(only, alone):
                pair = _Pair(change.id, conflict.their_side.change_id, conflict.path)
                found[pair] = conflict
            for other in self._open_changes():
                if other.id == change.id:
                    continue
                for conflict in self._between(change, other, only):
                    found[_Pair(change.id, other.id, conflict.path)] = conflict
        self._publish_difference(change.id, found, only)

    def _publish_difference(
        self,
        change_id: ChangeId,
        found: dict[_Pair, Conflict],
        only: frozenset[RepoPath] | None,
    ) -> None:
        known = self._known_conflicts()
        with self.transaction():
            self.if_refused(self._forget_published)
            for pair, conflict in found.items():
                note = self.conflict_note(conflict)
                mark = _contents(note)
                mirrored = _Pair(pair.other, pair.change, pair.path) if pair.other else None
                if known.get(pair) == mark or (mirrored in known and pair not in known):
                    known.setdefault(pair, mark)
                    continue
                known[pair] = mark
                self.publish_conflict(note)
            for pair in [pair for pair in known if change_id in (pair.change, pair.other)]:
                if pair in found or (only is not None and pair.path not in only):
                    continue
                if pair.change != change_id:
                    assert pair.other is not None
                    if self._still(pair):
                        continue
                del known[pair]
                self.publish(
                    EventType.CONFLICT_RESOLVED,
                    path=pair.path,
                    your_change=pair.change,
                    their_change=pair.other,
                )

    def _still(self, pair: _Pair) -> bool:
        """Whether a conflict noted from the other side exists yet."""
        change = self.log.change(pair.change)
        other = self.log.change(pair.other) if pair.other else None
        if change is None or other is None or change.status.is_final or other.status.is_final:
            return False
        return any(c.path == pair.path for c in self._between(change, other))

    def _known_conflicts(self) -> dict[_Pair, _Contents | None]:
        """The conflicts published and not resolved yet, read back from the events once."""
        if self._published is None:
            self._published = {}
            types = (EventType.CONFLICT_DETECTED, EventType.CONFLICT_RESOLVED)
            since = 0
            while events := self.log.events(since=since, types=types):
                since = events[-1].id
                for event in events:
                    payload = event.payload
                    pair = _Pair(
                        ChangeId(str(payload["your_change"])),
                        ChangeId(str(payload["their_change"])) if payload["their_change"] else None,
                        RepoPath(str(payload["path"])),
                    )
                    if event.type is EventType.CONFLICT_RESOLVED:
                        self._published.pop(pair, None)
                    elif pair.change != pair.other:
                        self._published[pair] = _contents(_noted(payload))
        return self._published

    def _forget_published(self) -> None:
        self._published = None

    _published: dict[_Pair, _Contents | None] | None = None


def _parts(layers: Iterable[Layer], near: frozenset[RepoPath]) -> tuple[Layer, ...]:
    """Layers with only their edits near some paths: the rest costs nothing."""
    near = near.union(*(parents(path) for path in near))
    return tuple(replace(layer, edits=PartOfOverlay(layer.edits, near)) for layer in layers)


def _concerning(only: frozenset[RepoPath] | None, live: LiveView) -> Iterator[Conflict]:
    """The conflicts at some paths, or in the edits of some paths: a part is sure of no others."""
    for conflict in live.conflicts():
        if only is None or conflict.path in only or live.edited_path(conflict.path) in only:
            yield conflict


def _meets(paths: Iterable[RepoPath], others: Overlay) -> bool:
    """Whether a change touches one of some paths, or has a file and a directory meet there."""
    return any(
        others.knows(path)
        or others.has_edits_in(path)
        or any(others.knows(above) for above in parents(path))
        for path in paths
    )


def _contents(note: ConflictNote | None) -> _Contents | None:
    """What a conflict is about: as long as it is the same, it is told once."""
    if note is None:
        return None
    return note.type, note.base_hash, note.your_hash, note.their_hash


def _noted(payload: dict[str, object]) -> ConflictNote | None:
    """A conflict as it was stored; None if an earlier version did, which named no contents."""
    return msgspec.convert(payload, ConflictNote) if "your_hash" in payload else None
