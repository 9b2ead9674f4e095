"""What happened to names within the last moment, held until it is clear what it was.

Most programs do not save by writing into a file. They write a temporary one and rename it over
(sed, rsync, editors), remove the old file and make a new one (git checkout, tar, install), or
move the old one aside first (vim, patch -b). Each of these is one save of one file. So three things
are not logged at once, but held: a new file that was closed, a tracked file that was removed, and
a tracked file that was moved aside, to a name made from its own (`pwfs.fs.auxiliary`). What
comes of it in the end is what is logged: a modification, a creation, a deletion, a rename, or
nothing.

Nobody can tell the difference, because `settle` logs what is held before anybody looks: when a
door asks, when a view shows the change elsewhere too (then nothing is held in the first place), at
fsync of a directory, and after a moment at the latest. Also before anything else is logged, so that
the log keeps the order of the saves; only what is kept beside a file while that is saved stays held.
What is held is in the journal with its blob in the store, so a killed daemon loses none of it.

`settle` does not await: whoever calls it finds the log and the nodes agreed on what was held.
"""

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from pwfs.fs.auxiliary import is_made_from, stems
from pwfs.fs.held import Held
from pwfs.fs.journal import HeldName
from pwfs.fs.linking import Linking
from pwfs.fs.nodes import Kind, Node, NodeTable
from pwfs.model.entries import FileEntry
from pwfs.model.ops import Op, OpType, Provenance
from pwfs.model.paths import RepoPath, is_under, join, split
from pwfs.model.views import Workspace
from pwfs.repo import Repository
from pwfs.repo.edits import Edit
from pwfs.repo.live import Seen
from pwfs.views.editor import DIRECTORY, Found

HELD_MAX = 512
"""So many names are held at most; then half of them are logged, in one transaction."""


class Holding(Linking):
    """The part of a workspace that waits for the second half of a save."""

    on_held: Callable[["Holding"], None]

    def __init__(self, repo: Repository, workspace: Workspace, table: NodeTable) -> None:
        self.held: dict[RepoPath, Held] = {}
        super().__init__(repo, workspace, table)

    # What the view shows without it

    def view_get(self, path: RepoPath) -> Found | None:
        if self.held and path in self.held:
            return None
        return super().view_get(path)

    def view_list(self, path: RepoPath) -> Mapping[str, Found]:
        listed = super().view_list(path)
        if not self.held:
            return listed
        hidden = {name for above, name in map(split, self.held) if above == path}
        return {name: found for name, found in listed.items() if name not in hidden}

    def shown_file(self, path: RepoPath) -> FileEntry | None:
        held = self.held.get(path) if self.held else None
        return super().shown_file(path) if held is None else held.entry

    def is_departed(self, path: RepoPath) -> bool:
        """Whether the log has a file at a path that is gone already."""
        held = self.held.get(path)
        return held is not None and held.entry is None

    def start_seen(self, path: RepoPath) -> Seen:
        """What somebody who makes a file at a free path starts from."""
        held = self.held.get(path)
        return held.seen if held is not None else self.live.seen(path)

    # What may be held

    def may_hold(self, path: RepoPath) -> bool:
        """Whether what happens at a path may be logged a moment later.

        Not where another view shows the change, too, nor a file in conflict.
        """
        return not self.repo.is_shown_elsewhere(self.live) and self.live.conflict_at(path) is None

    def may_hold_new(self, node: Node) -> bool:
        """Whether a file that is not in the log is all that may be held of it."""
        return (
            node.fresh
            and not node.extra
            and not node.stale
            and node.is_attached
            and self.may_hold(node.path)
        )

    # Holding

    def hold_less(self) -> None:
        """Logs the older half of what is held if it is too much; called before more is looked up.

        Of the latest names the second half of a save may be about to come.
        """
        if len(self.held) >= HELD_MAX:
            self.settle(list(self.held)[: HELD_MAX // 2])

    def _hold(self, *came_about: Held) -> None:
        """Holds what became of names, in place of what is held of them so far, all or nothing.

        Raises:
            OSError, PatchworkError: the journal cannot take it; what was held is held still.
        """
        self._note_held(*came_about)
        for held in came_about:
            self._take_up(held)

    def _note_held(self, *came_about: Held) -> None:
        is_durable = any(held.is_durable for held in came_about)
        self.journal.holds(*map(self._noted, came_about), durable=is_durable)

    def _take_up(self, held: Held) -> None:
        before = self.held.pop(held.path, None)
        if before is not None:
            self.journal.ended(before.id)
        # Behind all others: what is held is logged in the order in which it came about.
        self.held[held.path] = held
        self.on_held(self)

    def _noted(self, held: Held, *, becomes: RepoPath | None = None) -> HeldName:
        return HeldName(
            id=held.id,
            path=held.path,
            entry=held.entry,
            seen=held.seen,
            process=held.process,
            is_tracked=held.is_tracked,
            other=held.other,
            noted_at=self.repo.log.head_seq(),
            becomes=becomes,
        )

    def held_changed(self, held: Held) -> None:
        """Tells the journal that something else is held of a name now."""
        self.journal.held_changed(self._noted(held))

    def note_synced(self, node: Node) -> bool:
        """Notes that what is held of a file must survive the machine; tells if anything is."""
        held = self.held.get(node.path) if node.fresh and node.is_attached else None
        if held is None:
            return False
        if not held.is_durable:
            self.journal.holds(self._noted(held), durable=True)
            held.is_durable = True
        return True

    def arrive(
        self,
        node: Node,
        entry: FileEntry,
        seen: Seen,
        process: Provenance | None,
        *,
        id_: str,
    ) -> None:
        """Holds a new file that was closed; ``id_`` is its working file's in the journal."""
        path = node.path
        before = self.held.get(path)
        if before is not None:
            seen = before.seen
        self._hold(
            Held(
                path,
                entry,
                seen,
                process,
                is_tracked=before is not None,
                node=node,
                id=id_,
            )
        )

    def depart(self, path: RepoPath, process: Provenance | None) -> None:
        """Holds that a tracked file was removed."""
        self._hold(Held(path, None, self.live.seen(path), process, is_tracked=True))

    def set_aside(
        self, node: Node, old: RepoPath, new: RepoPath, process: Provenance | None
    ) -> None:
        """Holds that a tracked file was moved aside, perhaps to make room for a new one."""
        assert node.entry is not None
        replaced = self.held.get(new)
        was_tracked = replaced is not None or self.view_get(new) is not None
        gone = Held(old, None, self.live.seen(old), process, is_tracked=True, other=new)
        came = Held(
            new,
            node.entry,
            self.start_seen(new),
            process,
            is_tracked=was_tracked,
            node=node,
            other=old,
        )
        self._hold(gone, came)

    def move_held(self, held: Held, new: RepoPath) -> None:
        """Holds that a file which is held already has another name now."""
        moved = Held(
            new,
            held.entry,
            self.start_seen(new),
            held.process,
            is_tracked=new in self.held,
            node=held.node,
            is_durable=held.is_durable,
            id=held.id,
        )
        gone = held.gone(secrets.token_hex(8)) if held.is_tracked else None
        self._note_held(*([moved] if gone is None else [gone, moved]))
        del self.held[held.path]
        if gone is not None:
            self._take_up(gone)
        self._take_up(moved)

    def log_held(self, held: Held, edit: Edit) -> None:
        """Logs that a file which is held was renamed over one that the log has.

        Raises:
            ChangeIsFinal, NoSpace, Corrupt: as `Repository.record`; it is held as before.
        """
        # First the journal, so that a daemon killed behind the commit leaves no second name of it.
        becoming = self._noted(held, becomes=edit.path)
        self.journal.holds(becoming, durable=held.is_durable)
        try:
            logged = self.record([edit], taking=held.path)
        except BaseException:
            self.held_changed(held)
            raise
        self.withdraw(held, logged)

    def withdraw(self, held: Held, logged: Sequence[Op] = ()) -> None:
        """Takes back that a file came to a name: it is gone again, or logged under another."""
        aside = self._aside(held)
        if held.is_tracked:
            gone = held.gone(held.id)
            if not logged:
                # Else the journal says already what is left once the log has these.
                self.held_changed(gone)
            del self.held[held.path]
            self._take_up(gone)
        else:
            self._release(held, logged)
        if aside is not None:
            # The file that it was is not here any more, nor where it came from.
            aside.other = None
            self.held_changed(aside)

    def _release(self, held: Held, logged: Sequence[Op] = ()) -> None:
        self.held.pop(held.path, None)
        self.journal.ended(held.id, logged[-1].id if logged else None)

    def _aside(self, held: Held) -> Held | None:
        """The name that a file was moved from, if nothing came there since."""
        if held.other is None or held.entry is None:
            return None
        source = self.held.get(held.other)
        if source is None or source.entry is not None or source.other != held.path:
            return None
        return source

    # Logging what is held

    def settle(
        self,
        paths: Iterable[RepoPath | None] | None = None,
        *,
        kept: Collection[RepoPath | None] = (),
    ) -> None:
        """Logs what is held, all of it or that of some paths, in one transaction.

        What came about before that is logged with it, but for ``kept``, which stays held.

        Raises:
            ChangeIsFinal, NoSpace, Corrupt: as `Repository.record`; it is held as before.
        """
        due = self._due(paths, kept)
        if not due:
            return
        edits = [edit for held in due if (edit := self._edit(held)) is not None]
        rows = self._record(edits)
        for held in due:
            self._release(held, rows)
        for held in due:
            self._now_in_log(held)
        # Of a name that is gone everybody was told when it went.
        self.settle_names(
            [
                held.path
                for held in due
                if held.entry is not None or self.view_get(held.path) is not None
            ]
        )
        for held in due:
            self.table.drop_unused(held.node)

    def settle_node(self, node: Node) -> None:
        """Logs that a node came to its names, if that is held."""
        if self.held and node.fresh:
            self.settle([path for path in node.targets() if not self.is_departed(path)])

    def settle_below(self, place: RepoPath) -> None:
        """Logs what is held of a name and of everything below it."""
        self.settle([path for path in self.held if path == place or is_under(path, place)])

    def settle_in(self, directory: RepoPath) -> None:
        """Logs what is held of the names in a directory."""
        self.settle([path for path in self.held if split(path)[0] == directory])

    def settle_since(self, moment: float | None) -> float | None:
        """Logs what is held since then or longer (None: everything).

        Returns since when the rest counts as held, None when nothing is left.
        """
        if moment is None:
            self.settle()
            return None
        due = [held for held in self.held.values() if held.since <= moment]
        # Who writes the new file may be slow; once it is closed, or quiet, it is clear what it was.
        waiting = [held for held in due if self._is_being_replaced(held)]
        self.settle([held.path for held in due if held not in waiting])
        return min((max(held.since, moment) for held in self.held.values()), default=None)

    def _is_being_replaced(self, held: Held) -> bool:
        """Whether somebody writes the file that comes in the place of one that is gone."""
        gone = self._aside(held) or held
        if gone.entry is not None:
            return False
        node = self.known(gone.path)
        return node is not None and node.fresh

    def _due(
        self, paths: Iterable[RepoPath | None] | None, kept: Collection[RepoPath | None]
    ) -> list[Held]:
        if paths is None:
            return list(self.held.values())
        wanted = {path for path in paths if path is not None and path in self.held}
        for path in list(wanted):
            # The two ends of a move are logged together.
            other = self.held[path].other
            if other in self.held and self.held[other].other == path:
                wanted.add(other)
        due: list[Held] = []
        before: list[Held] = []
        for path, held in self.held.items():
            if path in wanted:
                due += [*before, held]
                before = []
            elif path not in kept and not self._stays_held(held):
                # It came about before what is logged now.
                before.append(held)
        return due

    def _edit(self, held: Held) -> Edit | None:
        if held.entry is None:
            moved = self.held.get(held.other) if held.other is not None else None
            if moved is not None and self._aside(moved) is held:
                return None
            return Edit(OpType.DELETE, held.path, None, seen=held.seen, process=held.process)
        aside = self._aside(held)
        if aside is not None:
            return Edit(
                OpType.RENAME,
                held.path,
                held.entry,
                old_path=aside.path,
                seen=aside.seen,
                process=held.process,
            )
        return Edit(OpType.MODIFY, held.path, held.entry, seen=held.seen, process=held.process)

    def _now_in_log(self, held: Held) -> None:
        """Lets the nodes say what the log says now."""
        node = held.node or self.known(held.path)
        if held.entry is None or node is None:
            return
        self.now_logged(node)
        if node.content is not None and node.is_attached:
            node.content.seen = self.live.seen(node.path)

    def now_logged(self, node: Node) -> None:
        """Notes that the log knows a new file."""
        node.fresh = False
        for directory, name in node.names():
            if directory.fresh_names is not None:
                directory.fresh_names.discard(name)

    def record(
        self,
        edits: Sequence[Edit],
        *,
        moves_directories: bool = False,
        taking: RepoPath | None = None,
    ) -> list[Op]:
        """Logs edits, after what is held but for that which stays so, and for ``taking``.

        A file that comes in the place of one that is gone is a modification of that.
        """
        with self._in_turn(edits, taking):
            return self._record(edits, moves_directories=moves_directories)

    @contextmanager
    def recorded_with_rows(
        self, edits: Sequence[Edit], *, moves_directories: bool = False
    ) -> Iterator[None]:
        """Logs edits as `record` does, and commits with them the rows that are changed inside."""
        recorded = self.recorded(edits, moves_directories=moves_directories)
        with self._in_turn(edits), self.rows.saved_with(recorded):
            yield

    @contextmanager
    def _in_turn(self, edits: Sequence[Edit], taking: RepoPath | None = None) -> Iterator[None]:
        """Logs what came about before edits that are logged inside."""
        replaced = [held for held in self._touched(edits) if held.entry is None]
        if self.held:
            kept = {taking, *(held.path for held in replaced)}
            self.settle((self._disturbed(edits) | self._before(edits)) - kept, kept=kept)
        yield
        for held in replaced:
            if self.held.get(held.path) is held:
                self._release(held)

    def _record(self, edits: Sequence[Edit], *, moves_directories: bool = False) -> list[Op]:
        return super().record(edits, moves_directories=moves_directories)

    def _touched(self, edits: Sequence[Edit]) -> list[Held]:
        """What is held of the paths that edits give a file."""
        if not self.held:
            return []
        written = [edit.path for edit in edits if edit.entry is not None]
        return [self.held[path] for path in written if path in self.held]

    def _disturbed(self, edits: Sequence[Edit]) -> set[RepoPath | None]:
        """The paths of edits at which more is held than that a name is free again."""
        paths: set[RepoPath | None] = {edit.old_path for edit in edits}
        for edit in edits:
            if edit.entry is None or not self.is_departed(edit.path):
                paths.add(edit.path)
        return paths

    def _before(self, edits: Sequence[Edit]) -> set[RepoPath | None]:
        """The paths of which what is held comes before these edits."""
        if all(self._is_auxiliary(edit.path) for edit in edits):
            return set()
        return {path for path, held in self.held.items() if not self._stays_held(held)}

    def _stays_held(self, held: Held) -> bool:
        """Whether other operations may be logged before what is held of a name.

        Of what is kept beside a file while that is saved, and of a file that is being replaced.
        """
        if held.other is not None:
            return True
        if held.entry is None:
            return self._is_being_replaced(held)
        return self._is_auxiliary(held.path)

    def _is_auxiliary(self, path: RepoPath) -> bool:
        """Whether a name is made from that of a file beside it."""
        above, name = split(path)
        return any(self._has_file(join(above, stem)) for stem in stems(name))

    def _has_file(self, path: RepoPath) -> bool:
        return path in self.held or self.live.get(path) not in (None, DIRECTORY)

    def leaves_nothing(self, held: Held) -> bool:
        """Whether a new file that is removed again need not be in the log at all.

        One without a byte, one whose content the log has, and one kept beside another file.
        """
        assert held.entry is not None
        return not held.entry.size or held.other is not None or self._is_auxiliary(held.path)

    def can_set_aside(self, node: Node, old: RepoPath, new: RepoPath) -> bool:
        """Whether a move may be the first half of a save: to a name made from the file's own."""
        above, name = split(old)
        new_above, new_name = split(new)
        return (
            node.kind is Kind.FILE
            and above == new_above
            and is_made_from(new_name, name)
            and not node.extra
            and not node.fresh
            and self.view_get(old) == node.entry
            and self.may_hold(old)
            and self.may_hold(new)
        )
