# Plain strings and calls: a request is answered in less time than Path objects take.
# ruff: noqa: PTH101, PTH108, PTH115, PTH211
"""Making and removing names in a workspace."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterable

from pyfuse3 import RequestContext

from pwfs.fs.allocating import Allocating
from pwfs.fs.attributes import PERMISSIONS, Attrs
from pwfs.fs.content import Content
from pwfs.fs.errors import refusal
from pwfs.fs.nodes import Kind, Node, inode_number
from pwfs.fs.processes import caller
from pwfs.model.entries import FileEntry, Mode
from pwfs.model.errors import NoSpace
from pwfs.model.ops import OpType
from pwfs.model.paths import RepoPath
from pwfs.repo.edits import Edit
from pwfs.views.editor import DIRECTORY

TARGET_BYTES_MAX = 4095
# What is made here is the daemon's own, so it may say that reading leaves the time of access alone.
_CREATING = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOATIME


class Naming(Allocating):
    """The part of a workspace that makes and removes names."""

    async def create(
        self, directory: Node, name: str, mode: int, flags: int, ctx: RequestContext
    ) -> Node:
        path = self.new_path(directory, name)
        if self.is_scratch_name(path) and not self.is_departed(path):
            node = self._create_in_scratch(directory, name, path, mode, ctx)
        else:
            node = self._create_fresh(directory, name, path, mode, ctx)
        self.touch(directory)
        return node

    def _create_in_scratch(
        self, directory: Node, name: str, path: RepoPath, mode: int, ctx: RequestContext
    ) -> Node:
        place = self._room(directory, path)
        fd = os.open(place, _CREATING, mode & PERMISSIONS)
        try:
            status = os.fstat(fd)
            attrs = self.new_attrs(directory, mode, ctx)
            if (attrs.mode, attrs.uid, attrs.gid) != _who_may(status):
                self._make_owner(fd, attrs)
                status = os.fstat(fd)
        except BaseException:
            os.close(fd)
            _unmake(place)
            raise
        node = self.enter_scratch(directory, name, status)
        node.content = Content(fd, is_scratch=True)
        return node

    def _create_fresh(
        self, directory: Node, name: str, path: RepoPath, mode: int, ctx: RequestContext
    ) -> Node:
        self.hold_less()
        seen = self.start_seen(path)
        attrs = self.new_attrs(directory, mode, ctx)
        ino = inode_number(self.id, path, str(attrs.mtime_ns))
        node = self.enter(directory, name, Kind.FILE, ino)
        try:
            node.attrs = attrs
            attrs.ino = node.ino
            self.keep_attrs(node)
            self.save_what_guards(attrs)
            self.start_fresh(node, seen, caller(ctx))
        except BaseException:
            self.rows.remove(path)
            node.detach(directory, name)
            self.table.drop_unused(node)
            raise
        if directory.fresh_names is None:
            directory.fresh_names = set()
        directory.fresh_names.add(name)
        return node

    def _room(self, directory: Node, path: RepoPath) -> str:
        """Where a file of a directory is to be in scratch; the directory is made if it is not there.

        One that the view does not have is in scratch already, or nobody could name it.
        """
        if self.live.get(directory.path) is None:
            return self.scratch.place(path)
        return self.scratch.make_room(path)

    def _free_path(self, directory: Node, name: str) -> RepoPath:
        path = self.new_path(directory, name)
        if self.child(directory, name) is not None:
            raise refusal(errno.EEXIST)
        return path

    async def mknod(
        self, directory: Node, name: str, mode: int, rdev: int, ctx: RequestContext
    ) -> Node:
        if stat.S_ISREG(mode):
            self._free_path(directory, name)
            node = await self.create(directory, name, mode, os.O_RDWR, ctx)
            if node.kind is Kind.FILE:
                try:
                    await self.capture(node, hold=True)
                except BaseException:
                    self.remove_name(node, directory, name)
                    raise
            self.discard_content(node)
            return node
        path = self._free_path(directory, name)
        self.settle([path])
        place = self.scratch.make_room(path)
        os.mknod(place, mode, rdev)
        try:
            self._make_owner(place, self.new_attrs(directory, mode, ctx))
        except BaseException:
            _unmake(place)
            raise
        node = self.enter_scratch(directory, name, os.lstat(place))
        self.touch(directory)
        return node

    def _make_owner(self, target: int | str, attrs: Attrs) -> None:
        """Gives a new file in scratch its owner and exact mode, as far as the daemon may."""
        if os.geteuid() == 0:
            os.chown(target, attrs.uid or 0, attrs.gid or 0)
        assert attrs.mode is not None
        os.chmod(target, attrs.mode)

    async def mkdir(self, directory: Node, name: str, mode: int, ctx: RequestContext) -> Node:
        path = self._free_path(directory, name)
        self.settle([path])
        attrs = self.new_attrs(directory, mode, ctx)
        parent = directory.attrs
        if parent is not None and parent.mode is not None and parent.mode & stat.S_ISGID:
            attrs.mode = (attrs.mode or 0) | stat.S_ISGID
        # With the time in it the number is no other's, also when this one moves on with its number.
        ino = inode_number(self.id, path, "/", str(attrs.mtime_ns))
        attrs.mtime_ns = attrs.ctime_ns = attrs.atime_ns = None
        is_default = (attrs.mode, attrs.uid, attrs.gid) == (0o755, self.uid, self.gid)
        self.rows.put(path, attrs)
        try:
            if not is_default:
                # First: a killed daemon must not leave it open to more people.
                self.rows.save()
            self.scratch.make_directory(path)
        except BaseException:
            self.rows.remove(path)
            raise
        node = self.enter(directory, name, Kind.DIRECTORY, ino)
        attrs.ino = node.ino
        node.attrs = attrs
        self.keep_attrs(node)
        if directory.subdirectories is not None:
            directory.subdirectories += 1
        self.touch(directory)
        self.touch(node)
        return node

    async def symlink(self, directory: Node, name: str, target: bytes, ctx: RequestContext) -> Node:
        path = self._free_path(directory, name)
        if len(target) > TARGET_BYTES_MAX:
            raise refusal(errno.ENAMETOOLONG)
        if self.is_scratch_name(path) and not self.is_departed(path):
            place = self.scratch.make_room(path)
            os.symlink(target, place)
            try:
                if os.geteuid() == 0:
                    attrs = self.new_attrs(directory, 0o777, ctx)
                    os.chown(place, attrs.uid or 0, attrs.gid or 0, follow_symlinks=False)
            except BaseException:
                _unmake(place)
                raise
            node = self.enter_scratch(directory, name, os.lstat(place))
        else:
            entry = FileEntry(self.blobs.put(target), Mode.SYMLINK, len(target))
            process = caller(ctx)
            self.record([Edit(OpType.MODIFY, path, entry, process=process)])
            node = self.enter(directory, name, Kind.LINK, self.inode_of(path, entry))
            node.entry = entry
            attrs = self.new_attrs(directory, 0o777, ctx)
            attrs.mode = None
            attrs.ino, attrs.content = node.ino, entry.content_hash
            node.attrs = attrs
            self.keep_attrs(node)
        self.touch(directory)
        return node

    async def readlink(self, node: Node) -> bytes:
        if node.kind is Kind.SCRATCH:
            if node.remains is not None:
                return os.readlink(b"", dir_fd=node.remains)
            return os.fsencode(os.readlink(self.scratch.place(node.path)))
        return await super().readlink(node)

    async def link(self, node: Node, directory: Node, name: str, ctx: RequestContext) -> None:
        path = self._free_path(directory, name)
        if node.kind is Kind.DIRECTORY:
            raise refusal(errno.EPERM)
        if not node.is_attached:
            raise refusal(errno.ENOENT)
        if node.kind is Kind.SCRATCH:
            status = self.scratch_status(node)
            is_special = not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode))
            if not is_special and not self.is_scratch_name(path):
                raise refusal(errno.EXDEV)
            self.settle([path])
            place = self.scratch.make_room(path)
            os.link(self.scratch.place(node.path), place, follow_symlinks=False)
            node.attach(directory, name)
        else:
            if self.is_scratch_name(path):
                raise refusal(errno.EXDEV)
            await self.capture(node)
            self.settle_node(node)
            assert node.entry is not None
            if not node.is_attached:
                raise refusal(errno.ENOENT)
            process = caller(ctx)
            edit = Edit(OpType.COPY, path, node.entry, old_path=node.path, process=process)
            try:
                with self.recorded_with_rows([edit]):
                    self.rows.put(path, self.grouped(node))
            except BaseException:
                self.rows.remove(path)
                raise
            node.attach(directory, name)
            self.note_open(node)
        self.touch(directory)

    async def unlink(self, directory: Node, name: str, ctx: RequestContext) -> None:
        self.check_exists(directory)
        node = self.child(directory, name)
        if node is None:
            raise refusal(errno.ENOENT)
        if node.kind is Kind.DIRECTORY:
            raise refusal(errno.EISDIR)
        self.check_writable()
        self.hold_less()
        path = directory.path_of(name)
        if node.kind is not Kind.SCRATCH:
            # What the view hides goes first: after the log has spoken nothing may fail.
            self.scratch.remove_file(path)
        self.remove_from_log(node, path, ctx)
        if node.kind is Kind.SCRATCH:
            self.keep_open(node)
            os.unlink(self.scratch.place(path))
        is_in_scratch = node.kind is Kind.SCRATCH
        self.remove_name(node, directory, name)
        if not is_in_scratch:
            self.keep_directory(directory)
        self.touch(directory)

    def remove_from_log(self, node: Node, path: RepoPath, ctx: RequestContext) -> None:
        """Logs, or holds, that a versioned file is gone from a path, if there is one."""
        held = self.held.get(path)
        if held is not None and held.entry is not None:
            if self.leaves_nothing(held):
                self.withdraw(held)
                return
            try:
                self.settle([path])
            except NoSpace:
                # Removing files is how room is made; nobody has seen this one in the log.
                self.withdraw(held)
                return
        if self.view_get(path) not in (None, DIRECTORY):
            process = caller(ctx)
            if self.may_hold(path):
                self.depart(path, process)
            else:
                self.record([Edit(OpType.DELETE, path, None, process=process)])

    def keep_open(self, node: Node) -> None:
        """Before a file in scratch loses its name: lets who holds it go on with it."""
        node.revoke()
        if node.kind is not Kind.SCRATCH or node.content is not None:
            return
        if node.handles:
            self.open_scratch(node, os.O_RDONLY)
        elif node.lookups and node.remains is None:
            place = self.scratch.place(node.path)
            node.remains = os.open(place, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)

    def remove_name(self, node: Node, directory: Node, name: str) -> None:
        """Takes a name from a node whose file is gone already; open handles keep it."""
        node.revoke()
        if directory.fresh_names is not None:
            directory.fresh_names.discard(name)
        self.rows.remove(directory.path_of(name))
        if node.kind is not Kind.SCRATCH and node.lookups and node.is_attached:
            kept = self.freeze_times(node)
            self.rows.remove(directory.path_of(name))
            if node.link_count == 1:
                node.attrs = Attrs(
                    **{field: getattr(kept, field) for field in kept.__struct_fields__}
                )
        node.detach(directory, name)
        if node.kind is not Kind.SCRATCH and not node.link_count:
            node.stale = None
            if node.handles == 0:
                self.discard_content(node)
            node.fresh = False
        if node.content is not None:
            self.note_open(node)
        self.table.drop_unused(node)

    async def rmdir(self, directory: Node, name: str, ctx: RequestContext) -> None:
        self.check_exists(directory)
        node = self.child(directory, name)
        if node is None:
            raise refusal(errno.ENOENT)
        if node.kind is not Kind.DIRECTORY:
            raise refusal(errno.ENOTDIR)
        self.check_writable()
        self.remove_directory(node, directory, name)

    def remove_directory(self, node: Node, directory: Node, name: str) -> None:
        """Removes an empty directory."""
        path = directory.path_of(name)
        self.settle_below(path)
        if self.view_list(path) or node.fresh_names or not self.scratch.is_empty(path):
            raise refusal(errno.ENOTEMPTY)
        self.drop_directory(node, directory, name)
        self.keep_directory(directory)
        self.touch(directory)

    def drop_directory(self, node: Node, directory: Node, name: str) -> None:
        """Takes an empty directory's name away, and what is kept of it."""
        path = directory.path_of(name)
        node.revoke()
        directory.revoke()
        self.scratch.remove_directory(path)
        node.detach(directory, name)
        self.rows.remove(path)
        self.changed_ns.pop(path, None)
        if directory.subdirectories is not None and self.live.get(path) is None:
            directory.subdirectories -= 1
        else:
            directory.recount()
        self.table.drop_unused(node)

    def names_below(self, directory: Node) -> Iterable[str]:
        """What is in a directory."""
        return self.scan(directory)


def _who_may(status: os.stat_result) -> tuple[int, int, int]:
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


def _unmake(place: str) -> None:
    """Takes back what was just made in scratch and cannot be finished."""
    with contextlib.suppress(OSError):
        os.unlink(place)
