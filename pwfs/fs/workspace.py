# Plain strings and calls: a request is answered in less time than Path objects take.
# ruff: noqa: PTH101
"""A workspace: a writable view, and the throw-away kind in which nothing is logged."""

import errno
import os
import stat
from collections.abc import Iterable

from pyfuse3 import EntryAttributes, RequestContext, SetattrFields

from pwfs.fs.attributes import PERMISSIONS, XATTR_NAMESPACES, kept_time_ns
from pwfs.fs.content import Handle
from pwfs.fs.errors import refusal
from pwfs.fs.exchanging import Exchanging
from pwfs.fs.nodes import Kind, Node
from pwfs.fs.noting import Noting
from pwfs.fs.processes import caller
from pwfs.model.entries import FileEntry
from pwfs.model.ops import OpType
from pwfs.repo.edits import Edit

_VALUE_BYTES_MAX = 64 * 1024
_XATTRS_BYTES_MAX = 2 * _VALUE_BYTES_MAX
"""All of a file together; every change writes the whole row."""


class Attributing(Exchanging):
    """The part of a workspace that changes attributes."""

    async def setattr(
        self,
        node: Node,
        wanted: EntryAttributes,
        fields: SetattrFields,
        handle: Handle | None,
        ctx: RequestContext,
    ) -> None:
        if node.kind is Kind.SCRATCH:
            self._set_scratch(node, wanted, fields)
            return
        self.check_writable()
        if fields.update_size:
            if node.kind is not Kind.FILE:
                raise refusal(errno.EISDIR if node.kind is Kind.DIRECTORY else errno.EINVAL)
            await self.truncate(node, wanted.st_size, caller(ctx))
        self._set_kept(node, wanted, fields, ctx)
        if fields.update_size and handle is None:
            await self._log_truncation(node)

    async def _log_truncation(self, node: Node) -> None:
        try:
            await self.capture(node)
        finally:
            # Nobody holds it open: if it is not logged it was not cut.
            if node.handles == 0:
                self.discard_content(node)

    def _set_kept(
        self, node: Node, wanted: EntryAttributes, fields: SetattrFields, ctx: RequestContext
    ) -> None:
        """Sets what the workspace keeps beside the log, and logs what belongs there."""
        permissions_change = fields.update_mode or fields.update_uid or fields.update_gid
        if not (permissions_change or fields.update_atime or fields.update_mtime):
            return
        is_open = node.content is not None and node.content.working is not None
        with self.changing_attrs(node, save=permissions_change and not is_open) as attrs:
            if fields.update_mode:
                attrs.mode = wanted.st_mode & PERMISSIONS
            if fields.update_uid:
                attrs.uid = wanted.st_uid
            if fields.update_gid:
                attrs.gid = wanted.st_gid
            if fields.update_atime:
                attrs.atime_ns = kept_time_ns(wanted.st_atime_ns)
            if fields.update_mtime:
                attrs.mtime_ns = kept_time_ns(wanted.st_mtime_ns)
            if fields.update_mode and node.kind is Kind.FILE:
                self._log_mode(node, ctx)

    def _log_mode(self, node: Node, ctx: RequestContext) -> None:
        """Logs a changed executable bit, unless the content is about to be logged anyway."""
        entry, mode = node.entry, self.wanted_mode(node)
        assert entry is not None
        if node.content is not None and node.content.working is not None:
            self.note_open(node)
            if not node.content.is_dirty:
                node.content.is_dirty = True
                self.on_dirty(node)
            return
        paths = node.targets()
        if entry.mode is mode or not paths:
            return
        changed = FileEntry(entry.content_hash, mode, entry.size)
        held = self.held.get(paths[0]) if node.fresh else None
        if held is not None:
            held.entry = node.entry = changed
            self.held_changed(held)
            return
        process = caller(ctx)
        self.record([Edit(OpType.MODIFY, path, changed, process=process) for path in paths])
        node.entry = changed
        self.settle_names(paths)

    def _set_scratch(self, node: Node, wanted: EntryAttributes, fields: SetattrFields) -> None:
        target, follow = self.scratch_target(node), not node.is_attached
        status = self.scratch_status(node)
        if fields.update_size:
            os.truncate(target, wanted.st_size)
        if fields.update_uid or fields.update_gid:
            owner = wanted.st_uid if fields.update_uid else -1
            group = wanted.st_gid if fields.update_gid else -1
            os.chown(target, owner, group, follow_symlinks=follow)
        if fields.update_mode and not stat.S_ISLNK(status.st_mode):
            os.chmod(target, wanted.st_mode & PERMISSIONS)
        if fields.update_atime or fields.update_mtime:
            times = (
                wanted.st_atime_ns if fields.update_atime else status.st_atime_ns,
                wanted.st_mtime_ns if fields.update_mtime else status.st_mtime_ns,
            )
            os.utime(target, ns=times, follow_symlinks=follow)

    # Extended attributes

    def getxattr(self, node: Node, name: bytes) -> bytes:
        if node.kind is Kind.SCRATCH:
            return os.getxattr(
                self.scratch_target(node), name, follow_symlinks=not node.is_attached
            )
        kept = node.attrs.xattrs if node.attrs is not None else None
        if kept is None or name not in kept:
            raise refusal(errno.ENODATA)
        return kept[name]

    def listxattr(self, node: Node) -> Iterable[bytes]:
        if node.kind is Kind.SCRATCH:
            target, follow = self.scratch_target(node), not node.is_attached
            return [os.fsencode(name) for name in os.listxattr(target, follow_symlinks=follow)]
        kept = node.attrs.xattrs if node.attrs is not None else None
        return list(kept or ())

    def setxattr(self, node: Node, name: bytes, value: bytes) -> None:
        if node.kind is Kind.SCRATCH:
            os.setxattr(
                self.scratch_target(node), name, value, follow_symlinks=not node.is_attached
            )
            return
        self.check_writable()
        if not name.startswith(XATTR_NAMESPACES):
            raise refusal(errno.EOPNOTSUPP)
        if len(value) > _VALUE_BYTES_MAX:
            raise refusal(errno.E2BIG)
        kept = node.attrs.xattrs if node.attrs is not None else None
        wanted = {**(kept or {}), name: value}
        if sum(len(key) + len(each) for key, each in wanted.items()) > _XATTRS_BYTES_MAX:
            raise refusal(errno.ENOSPC)
        with self.changing_attrs(node) as attrs:
            attrs.xattrs = wanted

    def removexattr(self, node: Node, name: bytes) -> None:
        if node.kind is Kind.SCRATCH:
            os.removexattr(self.scratch_target(node), name, follow_symlinks=not node.is_attached)
            return
        self.check_writable()
        kept = node.attrs.xattrs if node.attrs is not None else None
        if kept is None or name not in kept:
            raise refusal(errno.ENODATA)
        with self.changing_attrs(node) as attrs:
            attrs.xattrs = {key: value for key, value in kept.items() if key != name} or None


class WorkspaceSpace(Noting, Attributing):
    """All of a workspace."""

    def grant_names(self, directory: Node) -> None:
        # What is new and not in the log is not on disk.
        if directory.fresh_names or not directory.is_attached:
            return
        path = directory.path
        fd = self.scratch.open_directory(path) if self.live.get(path) is None else None
        if fd is not None:
            shown = self.directory_attributes(directory)
            follows = directory.attrs is None or directory.attrs.atime_ns is None
            self.table.grants.grant_names(directory, fd, shown, atime_follows=follows)
            os.close(fd)
