# Plain strings and calls: a request is answered in less time than Path objects take.
# ruff: noqa: PTH104, PTH108, PTH211
"""Renaming in a workspace: within the log, within scratch, and from one to the other."""

import errno
import os
import secrets
import stat
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import structlog
from pyfuse3 import RENAME_NOREPLACE, RequestContext

from pwfs.fs.adopting import Adopting
from pwfs.fs.auxiliary import is_made_from
from pwfs.fs.disk import copy_file
from pwfs.fs.errors import refusal
from pwfs.fs.nodes import Kind, Node
from pwfs.fs.processes import caller
from pwfs.model.ops import OpType, Provenance
from pwfs.model.paths import RepoPath, is_under
from pwfs.repo.edits import Edit
from pwfs.views.editor import DIRECTORY

_CHUNK_BYTES = 1 << 20
_log = structlog.get_logger(__name__)
NOTED_BELOW_MAX = 2_000
"""A directory with more in scratch moves as quickly; whoever asks is told to look everywhere."""


class Place:
    """A name in a directory."""

    __slots__ = ("directory", "name")

    def __init__(self, directory: Node, name: str) -> None:
        self.directory = directory
        self.name = name

    @property
    def path(self) -> RepoPath:
        """The path the two make now: a directory above may move during an await."""
        return self.directory.path_of(self.name)


class Renaming(Adopting):
    """The part of a workspace that renames."""

    async def rename(
        self,
        old_directory: Node,
        old_name: str,
        new_directory: Node,
        new_name: str,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        self.check_exists(old_directory)
        self.new_path(new_directory, new_name)
        self.hold_less()
        old, new = Place(old_directory, old_name), Place(new_directory, new_name)
        node = self.child(old.directory, old.name)
        target = self.child(new.directory, new.name)
        if node is None:
            raise refusal(errno.ENOENT)
        if target is not None and flags & RENAME_NOREPLACE:
            raise refusal(errno.EEXIST)
        if target is node:
            return
        was_in_scratch = node.kind is Kind.SCRATCH
        if node.kind is Kind.DIRECTORY:
            await self._rename_directory(node, old, new, target, ctx)
        else:
            if target is not None and target.kind is Kind.DIRECTORY:
                raise refusal(errno.EISDIR)
            await self._rename_file(old, new, ctx)
            self.save_what_guards(node.attrs, is_done=True)
        if not was_in_scratch:
            self.keep_directory(old.directory)
        self.touch(old.directory)
        if new.directory is not old.directory:
            self.touch(new.directory)

    # Files

    async def _rename_file(self, old: Place, new: Place, ctx: RequestContext) -> None:
        node = self.child(old.directory, old.name)
        if node is not None and node.content is not None and node.content.is_dirty:
            if node.kind is not Kind.SCRATCH:
                await self.capture(node, hold=True)
        # Critical section: the nodes looked up here are those that the log is told of.
        node = self.child(old.directory, old.name)
        target = self.child(new.directory, new.name)
        if node is None:
            raise refusal(errno.ENOENT)
        process = caller(ctx)
        to_log = self._goes_to_log(node, new.path, target)
        if node.kind is Kind.SCRATCH:
            if to_log:
                self._promote(node, old, new, target, process)
            else:
                self._rename_in_scratch(node, old, new, target, ctx)
        elif to_log:
            self._rename_in_log(node, old, new, target, process)
        else:
            self._demote(node, old, new, target, ctx)

    def _goes_to_log(self, node: Node, path: RepoPath, target: Node | None) -> bool:
        """Whether a file belongs to the log under a name; a tracked one stays tracked."""
        if node.kind is Kind.SCRATCH:
            status = self.scratch_status(node)
            is_loggable = stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)
            if not is_loggable or status.st_size > self.repo.config.max_blob_bytes:
                return False
        if target is not None and target.kind in (Kind.FILE, Kind.LINK) and not target.fresh:
            return True
        if self.is_departed(path):
            return True
        return not self.is_scratch_name(path)

    def _replace(self, target: Node | None, new: Place) -> None:
        """Takes the name from what a rename replaces; `keep_open` came before anything moved."""
        if target is not None:
            self.remove_name(target, new.directory, new.name)

    def _move_name(self, node: Node, old: Place, new: Place) -> None:
        row = node.attrs
        self.rows.remove(old.path)
        if old.directory.fresh_names is not None:
            old.directory.fresh_names.discard(old.name)
        if node.fresh:
            new.directory.fresh_names = {new.name, *(new.directory.fresh_names or ())}
        node.detach(old.directory, old.name)
        node.attach(new.directory, new.name)
        if row is not None:
            self.rows.put(new.path, row)
        self.note_open(node)

    def _rename_in_log(
        self,
        node: Node,
        old: Place,
        new: Place,
        target: Node | None,
        process: Provenance | None,
    ) -> None:
        assert node.entry is not None
        if target is not None:
            self.keep_open(target)
        self.freeze_times(node)
        if not self._hold_rename(node, old, new, target, process):
            edit = Edit(OpType.RENAME, new.path, node.entry, old_path=old.path, process=process)
            if node.extra:
                self._record_with_row(edit, node, old, new)
            else:
                self.record([edit])
        if target is not None and target.kind is Kind.SCRATCH:
            self.scratch.remove_file(new.path)
        self._replace(target, new)
        self._move_name(node, old, new)
        if node.content is not None:
            self.start_from_now(node, node.content)
        self.settle_names([old.path, new.path])

    def _record_with_row(self, edit: Edit, node: Node, old: Place, new: Place) -> None:
        """Logs that one of several names is another now, which stays a name of the same file."""
        assert node.attrs is not None
        replaced = self.rows.get(new.path)
        try:
            with self.recorded_with_rows([edit]):
                self.rows.remove(old.path)
                self.rows.put(new.path, node.attrs)
        except BaseException:
            self.rows.put(old.path, node.attrs)
            self.rows.remove(new.path)
            if replaced is not None:
                self.rows.put(new.path, replaced)
            raise

    def _hold_rename(
        self,
        node: Node,
        old: Place,
        new: Place,
        target: Node | None,
        process: Provenance | None,
    ) -> bool:
        """Holds a rename that is, or may be, a part of a save; False: it is to be logged."""
        held = self.held.get(old.path)
        if held is None and not self.can_set_aside(node, old.path, new.path):
            return False
        if not self.is_departed(new.path):
            self.settle([new.path], kept=[old.path])
        is_over = self.view_get(new.path) is not None
        if held is None:
            if target is not None and not (is_over and target.kind is Kind.FILE):
                return False
            self.set_aside(node, old.path, new.path, process)
            node.fresh = True
            return True
        if held.other is not None and (is_over or held.other != new.path):
            # It was moved aside a moment ago, and now it goes on.
            self.settle([old.path])
            return False
        is_save = is_over or self.is_departed(new.path) or held.other is not None
        if not is_save and not _is_temporary(old, new):
            # A new file that was given another name.
            self.settle([old.path])
            return False
        if is_over or not self.may_hold(new.path):
            assert node.entry is not None
            edit = Edit(OpType.MODIFY, new.path, node.entry, process=held.process or process)
            self.log_held(held, edit)
            self.now_logged(node)
        else:
            self.move_held(held, new.path)
        return True

    def _rename_in_scratch(
        self, node: Node, old: Place, new: Place, target: Node | None, ctx: RequestContext
    ) -> None:
        if target is not None:
            self.keep_open(target)
        place = self.scratch.make_room(new.path)
        self.remove_from_log(node, new.path, ctx)
        os.rename(self.scratch.place(old.path), place)
        self._replace(target, new)
        shadowed = node.attrs is not None and node.attrs.shadowed
        self._move_name(node, old, new)
        if shadowed and self.view_get(old.path) not in (None, DIRECTORY):
            self.remove_from_log(node, old.path, ctx)

    def _move_below(self, old: RepoPath, new: RepoPath, edits: Sequence[Edit]) -> None:
        """Moves a directory: its edits go to the log, and its rows and what is in scratch with them."""
        is_in_scratch, is_moved = self.scratch.is_directory(old), False
        # Without edits nothing needs room in the log: the rows are saved as soon as they can be.
        with_rows = self.recorded_with_rows(edits) if edits else nullcontext()
        try:
            with with_rows:
                self.rows.move_below(old, new)
                if is_in_scratch:
                    os.rename(self.scratch.place(old), self.scratch.make_room(new))
                    is_moved = True
        except BaseException:
            self.rows.move_below(new, old)
            if is_moved:
                os.rename(self.scratch.place(new), self.scratch.place(old))
            raise
        if is_in_scratch:
            self._note_moved_scratch(old, new)

    def _promote(
        self,
        node: Node,
        old: Place,
        new: Place,
        target: Node | None,
        process: Provenance | None,
    ) -> None:
        """Takes a file from scratch into the log."""
        self._check_one_name(node)
        if target is not None:
            self.keep_open(target)
        node.revoke()
        entry, attrs = self.store_scratch(old.path, node.ino)
        self.record([Edit(OpType.MODIFY, new.path, entry, process=process)])
        if target is not None and target.kind is Kind.SCRATCH:
            self.scratch.remove_file(new.path)
        self._replace(target, new)
        try:
            os.unlink(self.scratch.place(old.path))
        except OSError as error:
            # It is logged under its new name already: that cannot be taken back.
            _log.error("a file is left under its old name", path=old.path, error=str(error))
        self._move_name(node, old, new)
        self.now_versioned(node, entry, attrs)
        self.rows.put(new.path, attrs)
        self.settle_names([new.path])

    def _check_one_name(self, node: Node) -> None:
        """Refuses to part hard links, half in the log and half beside it; `mv` copies then."""
        names = node.link_count
        if node.kind is Kind.SCRATCH:
            names = self.scratch_status(node).st_nlink
        if names > 1:
            raise refusal(errno.EXDEV)

    def _demote(
        self, node: Node, old: Place, new: Place, target: Node | None, ctx: RequestContext
    ) -> None:
        """Takes a file from the log into scratch, where its new name says it belongs."""
        self._check_one_name(node)
        self.keep_open(node)
        if target is not None:
            self.keep_open(target)
        self._copy_to_scratch(node, new.path)
        try:
            self.remove_from_log(node, new.path, ctx)
            self.remove_from_log(node, old.path, ctx)
        except BaseException:
            if target is None or target.kind is not Kind.SCRATCH:
                self.scratch.remove_file(new.path)
            raise
        self._replace(target, new)
        self._move_name(node, old, new)
        self._now_scratch(node, new.path)

    def _copy_to_scratch(self, node: Node, path: RepoPath) -> None:
        """Writes a versioned file's bytes and attributes into scratch."""
        assert node.entry is not None
        place = self.scratch.make_room(path)
        temporary = os.fspath(self.files_directory / secrets.token_hex(8))
        shown = self.attributes(node)
        if node.kind is Kind.LINK:
            os.symlink(self.blobs.get(node.entry.content_hash), temporary)
        else:
            source = (node.content or self.open_content(node)).fd
            fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                copy_file(source, fd, os.fstat(source).st_size)
                os.fchmod(fd, stat.S_IMODE(shown.st_mode))
            finally:
                os.close(fd)
        if os.geteuid() == 0:
            os.chown(temporary, shown.st_uid, shown.st_gid, follow_symlinks=False)
        kept = node.attrs.xattrs if node.attrs is not None else None
        for name, value in (kept or {}).items():
            os.setxattr(temporary, name, value, follow_symlinks=False)
        os.utime(temporary, ns=(shown.st_atime_ns, shown.st_mtime_ns), follow_symlinks=False)
        os.rename(temporary, place)

    def _now_scratch(self, node: Node, path: RepoPath) -> None:
        node.revoke()
        status = os.lstat(self.scratch.place(path))
        if node.content is not None:
            self.discard_content(node)
        if node.attrs is not None:
            self.rows.remove(path)
        node.kind, node.entry, node.attrs, node.fresh = Kind.SCRATCH, None, None, False
        node.identity = (status.st_dev, status.st_ino)
        if node.handles and stat.S_ISREG(status.st_mode):
            self.open_scratch(node, os.O_RDWR)

    # Directories

    async def _rename_directory(
        self, node: Node, old: Place, new: Place, target: Node | None, ctx: RequestContext
    ) -> None:
        if target is not None:
            if target.kind is not Kind.DIRECTORY:
                raise refusal(errno.ENOTDIR)
            if next(iter(self.names_below(target)), None) is not None:
                raise refusal(errno.ENOTEMPTY)
        if is_under(new.path, old.path):
            raise refusal(errno.EINVAL)
        for below in list(node.known_below()):
            if below.kind is Kind.FILE and below.content is not None and below.content.is_dirty:
                await self.capture(below)
        # Critical section, to the end.
        process = caller(ctx)
        self.settle_below(old.path)
        self.settle_below(new.path)
        self.keep_numbers(old.path)
        edits = self.move_versioned(old.path, new.path, process)
        if target is not None:
            self.drop_directory(target, new.directory, new.name)
        self._move_below(old.path, new.path, edits)
        node.detach(old.directory, old.name)
        node.attach(new.directory, new.name)
        old.directory.recount()
        new.directory.recount()
        self.move_times(old.path, new.path)
        attrs = self.ensure_attrs(node)
        attrs.ino = node.ino
        self.rows.try_to_save()
        for below in node.known_below():
            if below.content is not None:
                self.note_open(below)
        self.adopt_unignored(new.path, process)

    def _note_moved_scratch(self, old: RepoPath, new: RepoPath) -> None:
        """Notes what of a moved directory the view does not know, under both its names."""
        below = self.scratch.below(new, NOTED_BELOW_MAX)
        if below is None:
            self.touched.note_everything()
            return
        for path in below:
            self.touched.note(path)
            self.touched.note(RepoPath(old + path[len(new) :]))

    def move_versioned(
        self, old: RepoPath, new: RepoPath, process: Provenance | None
    ) -> list[Edit]:
        """The renames of all versioned files of a directory."""
        edits = [
            Edit(
                OpType.RENAME,
                RepoPath(new + path[len(old) :]),
                entry,
                old_path=path,
                process=process,
            )
            for path, entry in self.live.files(old)
        ]
        if edits:
            # On the last one only: as soon as the view knows of the directory's move, it takes
            # the files along that are still to be renamed.
            edits[-1] = replace(edits[-1], directory_rename=(old, new))
        return edits


def _is_temporary(old: Place, new: Place) -> bool:
    """Whether a name was a file's until it was whole."""
    return new.directory is old.directory and is_made_from(old.name, new.name)
