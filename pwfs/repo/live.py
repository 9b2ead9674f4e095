"""A view followed as it moves: main, a moment of main, a stored view, a workspace.

The mount keeps one of these per mounted directory. All methods belong to the daemon's one trio
thread and none of them awaits, so what one call returns is a consistent state.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Protocol

from pwfs.model.entries import FileEntry
from pwfs.model.ids import SEQ_ZERO, Seq, TreeHash
from pwfs.model.paths import ROOT, RepoPath, split
from pwfs.model.views import ConflictPolicy, ConflictType
from pwfs.views.compose import Composition, Layer
from pwfs.views.editor import DIRECTORY, PENDING, Found, TreeEditor
from pwfs.views.overlay import FileEdit
from pwfs.views.reach import interacts
from pwfs.views.resolution import Clash, Merge, Merger, Renames, Settled, Side
from pwfs.views.trees import TreeSource, diff_trees

REBUILD_EDITS_MAX = 2_000
RENAMES_KEPT_MAX = 64


@dataclass(frozen=True, slots=True)
class Seen:
    """What a writer starts from.

    ``base`` is the file below the change's own edits and ``base_seq`` main's position;
    ``current`` is what the view shows, ``own_seq`` the change's last operation in it (0: none).
    """

    base: FileEntry | None
    base_seq: Seq
    current: FileEntry | None
    own_seq: Seq = SEQ_ZERO


@dataclass(frozen=True, slots=True)
class Position:
    """What a view stands on now: main's position and tree, and the layers above it."""

    base_seq: Seq
    root: TreeHash
    layers: tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class NetEdit:
    """What a layer makes of one path: ``before`` stood below at ``old_path or path``.

    ``replaced`` stood below at a renamed file's target.
    """

    path: RepoPath
    old_path: RepoPath | None
    before: FileEntry | None
    after: FileEntry | None
    replaced: FileEntry | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """A conflict that a view shows; the contents are looked up when somebody asks."""

    type: ConflictType
    path: RepoPath
    base: FileEntry | None
    theirs: FileEntry | None
    yours: FileEntry | None
    shown: FileEntry | None
    their_side: Side
    your_side: Side


class Surroundings(Protocol):
    """What a live view asks of the repository."""

    @property
    def trees(self) -> TreeSource:
        """Directory listings."""

    @property
    def merger(self) -> Merger:
        """Merged contents."""

    def renames_between(self, since: Seq, until: Seq) -> Renames:
        """Main's renames in ``(since, until]``."""

    def touched_at(self, path: RepoPath, until: Seq) -> datetime | None:
        """When a landing up to ``until`` last touched a path; None: the first one, or never."""

    def touched_in(self, directory: RepoPath, until: Seq) -> Mapping[str, datetime]:
        """The same for the files of a directory, those touched after the first landing."""

    def begun_at(self) -> datetime:
        """When main's first landing was made (the repository, if there is none)."""


class LiveView:
    """What a view shows now; see the module for threads.

    ``position`` is computed by ``locate``, called again whenever the repository says that
    something moved.
    """

    def __init__(
        self,
        id_: str,
        around: Surroundings,
        locate: Callable[[], Position],
        policy: ConflictPolicy,
        *,
        read_only: bool = True,
    ) -> None:
        self.id = id_
        self.policy = policy
        self.read_only = read_only
        self._around = around
        self._locate = locate
        self._build(locate())

    @property
    def position(self) -> Position:
        """What is shown now; another object once any of it moved."""
        return self._position

    @property
    def base_seq(self) -> Seq:
        """Main's position below the view."""
        return self._position.base_seq

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The changes laid over main, the view's own last."""
        return self._position.layers

    def _build(self, position: Position) -> None:
        self._position = position
        self._below = self._composition(position)
        for layer in position.layers[:-1]:
            self._below.add(layer)
        self._shown = self._below
        if position.layers:
            self._shown = self._composition(position)
            for layer in position.layers[:-1]:
                self._shown.add(layer)
            self._shown.add(position.layers[-1], below=self._below)
        self._shown.tree.before = {}

    def _composition(self, position: Position) -> Composition:
        return Composition(
            TreeEditor(self._around.trees, position.root),
            base_seq=position.base_seq,
            renames_since=self._renames_since(position.base_seq),
            merger=self._around.merger,
            takes_yours=self.policy is ConflictPolicy.LAST_WRITE,
        )

    def _renames_since(self, until: Seq) -> Callable[[Seq], Renames]:
        """Main's renames up to a moment: they stay what they are, and each edit asks for them."""
        around = self._around
        return lru_cache(RENAMES_KEPT_MAX)(lambda since: around.renames_between(since, until))

    # Reading

    def get(self, path: RepoPath) -> Found | None:
        """Tells what a path names: a file, one to be merged first, a directory, or None."""
        return self._shown.tree.get(path)

    def list(self, directory: RepoPath) -> Mapping[str, Found] | None:
        """Lists a directory, None when there is none."""
        return self._shown.tree.list(directory)

    def files(self, directory: RepoPath = ROOT) -> Iterator[tuple[RepoPath, FileEntry]]:
        """Yields every file below a directory, merged where needed."""
        for path, leaf in list(self._shown.tree.files(directory)):
            yield path, leaf if isinstance(leaf, FileEntry) else self.settle(path).entry

    def file(self, path: RepoPath) -> FileEntry | None:
        """The file at a path, merged if need be; None for nothing or a directory."""
        found = self._shown.tree.get(path)
        if found is PENDING:
            return self.settle(path).entry
        return found if isinstance(found, FileEntry) else None

    def settle(self, path: RepoPath) -> Settled:
        """Merges the file at a path, if that is still to do; may take milliseconds.

        Raises:
            KeyError: no file is there.
        """
        resolution = self._shown.resolutions.get(path)
        if isinstance(resolution, Merge):
            settled = self._around.merger.settle(resolution)
            if settled.conflict is not None and self.policy is ConflictPolicy.LAST_WRITE:
                settled = Settled(resolution.yours, settled.conflict)
            if self._shown.tree.get(path) != settled.entry:
                self._shown.tree.set(path, settled.entry)
            return settled
        found = self._shown.tree.get(path)
        if not isinstance(found, FileEntry):
            raise KeyError(path)
        return Settled(found, resolution.type if isinstance(resolution, Clash) else None)

    def conflict_at(self, path: RepoPath) -> Conflict | None:
        """The conflict that a path is in, None if there is none."""
        resolution = self._shown.resolutions.get(path)
        if isinstance(resolution, Clash):
            return Conflict(
                resolution.type,
                path,
                resolution.base,
                resolution.theirs,
                resolution.yours,
                resolution.shown,
                resolution.their_side,
                resolution.your_side,
            )
        if isinstance(resolution, Merge):
            settled = self._around.merger.settle(resolution)
            if settled.conflict is not None:
                return Conflict(
                    settled.conflict,
                    path,
                    resolution.base,
                    resolution.theirs,
                    resolution.yours,
                    settled.entry,
                    resolution.their_side,
                    resolution.your_side,
                )
        return None

    def conflicts(self) -> tuple[Conflict, ...]:
        """All conflicts of the view, by path; settles every merge."""
        found = (self.conflict_at(path) for path in sorted(self._shown.resolutions))
        return tuple(conflict for conflict in found if conflict is not None)

    def is_manual_conflict(self, path: RepoPath) -> bool:
        """Whether the policy forbids to show this file (opening it is EIO)."""
        return self.policy is ConflictPolicy.MANUAL and self.conflict_at(path) is not None

    def write(self) -> tuple[TreeHash, dict[TreeHash, bytes]]:
        """Names what is shown as a tree, settling every merge; returns the new listings."""
        for path, resolution in self._shown.resolutions.items():
            if isinstance(resolution, Merge):
                self.settle(path)
        return self._shown.tree.write()

    def time_of(self, path: RepoPath) -> datetime:
        """When a path last changed here: by its last operation in a layer, or its landing."""
        times = [self._shown.times.get(path), self._around.touched_at(path, self.base_seq)]
        return max((time for time in times if time), default=self._around.begun_at())

    def mtime_ns(self, path: RepoPath) -> int:
        """`time_of` in nanoseconds since the epoch."""
        return _nanoseconds(self.time_of(path))

    def mtimes_ns(self, directory: RepoPath) -> Mapping[str, int]:
        """Modification times of a directory's entries; absent ones have ``begun_ns``."""
        times = dict(self._around.touched_in(directory, self.base_seq))
        for path, time in self._shown.times.items():
            above, name = split(path)
            if above == directory and (name not in times or times[name] < time):
                times[name] = time
        return {name: _nanoseconds(time) for name, time in times.items()}

    @property
    def begun_ns(self) -> int:
        """The modification time of everything that nothing touched since the first landing."""
        return _nanoseconds(self._around.begun_at())

    # Writing

    def seen(self, path: RepoPath) -> Seen:
        """What somebody who starts to write a path now starts from."""
        current = self.file(path)
        own = self.own_edit(path)
        own_seq = own.seq if own is not None else SEQ_ZERO
        return Seen(self.base_of(path), self.base_seq, current, own_seq)

    def base_of(self, path: RepoPath) -> FileEntry | None:
        """The file below the topmost layer that an edit of this path starts from."""
        source = path
        edit = self.own_edit(path)
        if edit is not None and edit.result is not None and edit.path == path:
            source = edit.source
        base = self.below(source)
        return self.below(path) if base is None and source != path else base

    def own_edit(self, path: RepoPath) -> FileEdit | None:
        """The own layer's edit of the file shown at a path; where none is shown, of that name."""
        layers = self._position.layers
        return layers[-1].edits.edits.get(self.edited_path(path)) if layers else None

    def below(self, path: RepoPath) -> FileEntry | None:
        """The file below the topmost layer at a path, merged if need be."""
        found = self._below.tree.get(path)
        if found is PENDING:
            resolution = self._below.resolutions[path]
            assert isinstance(resolution, Merge)
            return self._around.merger.settle(resolution).entry
        return found if isinstance(found, FileEntry) else None

    def edited_path(self, path: RepoPath) -> RepoPath:
        """The path under which the own layer knows the file shown at ``path``."""
        if self._shown.tree.get(path) is None:
            return path
        return self._shown.edit_at.get(path, path)

    def shown_elsewhere(self, path: RepoPath) -> RepoPath | None:
        """Where the own layer's edit of a path is shown, if that is not there."""
        return self._shown.shown_elsewhere(path)

    def net_edits(self) -> Iterator[NetEdit]:
        """Yields what the topmost layer makes of what is below it, merged, by path."""
        own = self.layers[-1].change_id
        moved_from = self._shown.moved_from
        sources = set(moved_from.values())
        for path in sorted(self._shown.resolutions):
            if self._shown.sides[path].change_id != own:
                continue
            source = moved_from.get(path, path)
            before, after = self.below(source), self.file(path)
            if after is None:
                if before is not None and path not in sources:
                    yield NetEdit(path, None, before, None)
            elif source != path:
                yield NetEdit(path, source, before, after, self.below(path))
            elif before != after or path in sources:
                yield NetEdit(path, None, before, after)

    # Moving

    def moved(self) -> frozenset[RepoPath]:
        """Goes where the repository stands now and returns the paths that show something else."""
        old, before = self._position, self._shown
        new = self._locate()
        if new == old:
            return frozenset()
        moved = frozenset(d.path for d in diff_trees(self._around.trees, old.root, new.root))
        if self._can_slide(old, new, moved):
            return self._slide(new, moved)
        self._build(new)
        return self._differing(before, moved)

    def _differing(self, before: Composition, moved: frozenset[RepoPath]) -> frozenset[RepoPath]:
        """Where another composition showed something else; ``moved`` is where main differs."""
        candidates = moved | before.resolutions.keys() | self._shown.resolutions.keys()
        differing = frozenset(
            path
            for path in candidates
            if before.tree.get(path) != self._shown.tree.get(path)
            or before.resolutions.get(path) != self._shown.resolutions.get(path)
        )
        self._keep_notes(before, differing)
        return differing

    def rebuild(self) -> frozenset[RepoPath]:
        """Composes everything anew; returns the paths that may show something else."""
        before = self._shown
        self._build(self._locate())
        candidates = frozenset(before.resolutions.keys() | self._shown.resolutions.keys())
        self._keep_notes(before, candidates)
        return candidates

    def _keep_notes(self, before: Composition, paths: frozenset[RepoPath]) -> None:
        for path in paths:
            before.tree.note(path)
        self._shown.tree.before = before.tree.before

    def take_before(self) -> Mapping[RepoPath, Found | None]:
        """What stood, when this was last called, at each name that was touched since then.

        The names are those of files and of the directories above them; None stands for nothing.
        """
        before = self._shown.tree.before
        assert before is not None
        self._shown.tree.before = {}
        return before

    def own_edits_changed(self, paths: frozenset[RepoPath]) -> frozenset[RepoPath]:
        """Follows new operations of the topmost layer; returns the paths that may differ.

        ``paths`` are those whose edits are others now.
        """
        return self.follow_step(paths) | self._noted()

    def follow_step(self, paths: frozenset[RepoPath]) -> frozenset[RepoPath]:
        """Follows a step of the transaction under way; returns the paths that it may have moved.

        Nobody is told of them: `own_edits_changed` returns them again after the commit.
        """
        *lower, own = self.layers
        own = replace(own, revision=own.edits.revision)
        self._position = replace(self._position, layers=(*lower, own))
        replaced = self._shown.replace(own, paths, below=self._below)
        if replaced is not None:
            return replaced
        before = self._shown
        self._build(self._locate())
        return self._differing(before, frozenset())

    def _noted(self) -> frozenset[RepoPath]:
        """The files touched since `take_before`, also by the steps of a transaction."""
        tree = self._shown.tree
        assert tree.before is not None
        return frozenset(
            path
            for path, before in tree.before.items()
            if not {before, tree.get(path)} <= {None, DIRECTORY}
        )

    def _can_slide(self, old: Position, new: Position, moved: frozenset[RepoPath]) -> bool:
        if len(old.layers) != 1 or old.layers != new.layers:
            return False
        edits = old.layers[0].edits
        return len(edits.edits) > REBUILD_EDITS_MAX and not interacts(edits, moved)

    def _slide(self, new: Position, moved: frozenset[RepoPath]) -> frozenset[RepoPath]:
        """Moves a large draft to another base that does not concern it."""
        shown = self._shown
        self._position = new
        self._below = self._composition(new)
        shown.move_base(new.base_seq, self._renames_since(new.base_seq))
        for path in moved:
            shown.tree.remove(path)
        for path in moved:
            found = self._below.tree.get(path)
            if isinstance(found, FileEntry):
                shown.tree.set(path, found)
        return moved


def _nanoseconds(time: datetime) -> int:
    seconds = int(time.timestamp())
    return seconds * 1_000_000_000 + time.microsecond * 1_000
