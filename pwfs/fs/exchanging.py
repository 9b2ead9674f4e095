"""Two names of a workspace that swap what they lead to (RENAME_EXCHANGE): files, directories, mixed.

What is versioned stays versioned, under whichever name, and what is in scratch stays there unless
its new name is not ignored. To the log an exchange is renames, and modifications where both sides
have a file of one name.
"""

import errno
from contextlib import nullcontext

from pyfuse3 import RENAME_EXCHANGE, RequestContext

from pwfs.fs.disk import exchange_names
from pwfs.fs.errors import refusal
from pwfs.fs.nodes import Kind, Node
from pwfs.fs.processes import caller
from pwfs.fs.renaming import Place, Renaming
from pwfs.model.entries import FileEntry
from pwfs.model.ops import OpType, Provenance
from pwfs.model.paths import RepoPath, is_under
from pwfs.repo.edits import Edit
from pwfs.views.editor import DIRECTORY


class Exchanging(Renaming):
    """The part of a workspace that exchanges names."""

    async def rename(
        self,
        old_directory: Node,
        old_name: str,
        new_directory: Node,
        new_name: str,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        if not flags & RENAME_EXCHANGE:
            await super().rename(old_directory, old_name, new_directory, new_name, flags, ctx)
            return
        self.check_exists(old_directory)
        self.new_path(new_directory, new_name)
        old, new = Place(old_directory, old_name), Place(new_directory, new_name)
        if is_under(new.path, old.path) or is_under(old.path, new.path):
            raise refusal(errno.EINVAL)
        for node in self._both(old, new):
            for below in [node, *node.known_below()]:
                if below.kind is Kind.FILE:
                    await self.capture(below)
        self._exchange(old, new, caller(ctx), ctx)

    def _both(self, old: Place, new: Place) -> tuple[Node, Node]:
        first = self.child(old.directory, old.name)
        second = self.child(new.directory, new.name)
        if first is None or second is None:
            raise refusal(errno.ENOENT)
        return first, second

    def _exchange(
        self, old: Place, new: Place, process: Provenance | None, ctx: RequestContext
    ) -> None:
        # Critical section: no await here.
        self.settle()
        first, second = self._both(old, new)
        if first is second:
            return
        self.prepare_exchange(old, new, ctx)
        self.settle_below(old.path)
        self.settle_below(new.path)
        paths = self._exchange_below(old.path, new.path, process)
        for one, other in ((old.path, new.path), (new.path, old.path)):
            if self.scratch.is_directory(other):
                self._note_moved_scratch(one, other)
        self._exchange_fresh(old, new)
        first.detach(old.directory, old.name)
        second.detach(new.directory, new.name)
        first.attach(new.directory, new.name)
        second.attach(old.directory, old.name)
        self._exchange_times(old.path, new.path)
        self.rows.try_to_save()
        for node in (first, second):
            self._keep_node(node)
            for below in [node, *node.known_below()]:
                if below.content is not None and below.kind is Kind.FILE:
                    self.start_from_now(below, below.content)
                    self.note_open(below)
        # Names that nobody knows went along with their directory, which did not change.
        self.settle_names([path for path in paths if self.known(path) is not None])
        for place in (old, new):
            place.directory.recount()
            self.adopt_unignored(place.path, process)
            self.touch(place.directory)

    def prepare_exchange(self, old: Place, new: Place, ctx: RequestContext) -> None:
        """Before anything moves: takes from the log what files in scratch stand before."""
        for place in (old, new):
            node = self.child(place.directory, place.name)
            assert node is not None
            if node.attrs is not None and node.attrs.shadowed:
                self.remove_from_log(node, place.path, ctx)
                node.attrs.shadowed = False
                self.keep_attrs(node)

    def _exchange_below(
        self, old: RepoPath, new: RepoPath, process: Provenance | None
    ) -> list[RepoPath]:
        """Exchanges what is on disk, in the log, and the rows; the paths of versioned files now."""
        self._exchange_scratch(old, new)
        are_exchanged = False
        try:
            edits, paths = self.exchange_edits(old, new, process)
            # Without edits nothing needs room in the log: the rows are saved as soon as they can be.
            with_rows = self.recorded_with_rows(edits, moves_directories=True)
            with with_rows if edits else nullcontext():
                self.rows.exchange_below(old, new)
                are_exchanged = True
        except BaseException:
            if are_exchanged:
                self.rows.exchange_below(old, new)
            self._exchange_scratch(old, new)
            raise
        return paths

    def exchange_edits(
        self, old: RepoPath, new: RepoPath, process: Provenance | None
    ) -> tuple[list[Edit], list[RepoPath]]:
        """What makes the versioned files of two places change places, and the paths of those then.

        Where a file goes to where a directory is, it is deleted first and created last.
        """
        self.keep_numbers(old)
        self.keep_numbers(new)
        files = {**self._versioned(old), **self._versioned(new)}
        moved = {
            path: RepoPath(
                (new + path[len(old) :]) if _is_at(path, old) else (old + path[len(new) :])
            )
            for path in files
        }
        directories = {
            RepoPath(path[:end]) for path in files for end in range(len(path)) if path[end] == "/"
        }
        deleted, renamed, written = [], [], []
        for path, entry in files.items():
            target = moved[path]
            if target in files:
                written.append(Edit(OpType.MODIFY, target, entry, process=process))
            elif target in directories:
                deleted.append(Edit(OpType.DELETE, path, None, process=process))
                written.append(Edit(OpType.MODIFY, target, entry, process=process))
            else:
                renamed.append(Edit(OpType.RENAME, target, entry, old_path=path, process=process))
        return [*deleted, *renamed, *written], list(moved.values())

    def _versioned(self, path: RepoPath) -> dict[RepoPath, FileEntry]:
        """The versioned files at a path and below it."""
        if self.view_get(path) is DIRECTORY:
            return dict(self.live.files(path))
        entry = self.live.file(path)
        return {} if entry is None else {path: entry}

    def _exchange_scratch(self, old: RepoPath, new: RepoPath) -> None:
        """Exchanges what is on disk; done twice it is undone."""
        at_old, at_new = self.scratch.stat(old), self.scratch.stat(new)
        if at_old is None and at_new is None:
            return
        exchange_names(
            self.scratch.make_room(old),
            self.scratch.make_room(new),
            are_both=at_old is not None and at_new is not None,
            is_first=at_old is not None,
        )

    def _exchange_fresh(self, old: Place, new: Place) -> None:
        at_old, at_new = (
            place.directory.fresh_names is not None and place.name in place.directory.fresh_names
            for place in (old, new)
        )
        for place, is_fresh in ((old, at_new), (new, at_old)):
            names = place.directory.fresh_names or set()
            names.discard(place.name)
            if is_fresh:
                names.add(place.name)
            place.directory.fresh_names = names

    def _exchange_times(self, old: RepoPath, new: RepoPath) -> None:
        at_old = self.times_below(old)
        at_new = self.times_below(new)
        self.changed_ns.update({RepoPath(new + rest): time for rest, time in at_old.items()})
        self.changed_ns.update({RepoPath(old + rest): time for rest, time in at_new.items()})

    def _keep_node(self, node: Node) -> None:
        if node.kind is Kind.DIRECTORY:
            self.ensure_attrs(node).ino = node.ino
        elif node.kind is not Kind.SCRATCH:
            self.freeze_times(node)


def _is_at(path: RepoPath, place: RepoPath) -> bool:
    return path == place or is_under(path, place)
