# Plain strings and calls: a request is answered in less time than Path objects take.
# ruff: noqa: PTH101, PTH104
"""Writing in a workspace: working files, and when what is in them goes to the log.

A working file is private until it is captured: hashed, taken into the blob store and logged. From
then on it is a blob and never changes; the next write starts from a copy.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import trio
from pyfuse3 import RequestContext

from pwfs.fs.attributes import Attrs, versioned_mode
from pwfs.fs.content import Content, Handle
from pwfs.fs.disk import copy_file, is_read_write, without_atime
from pwfs.fs.growing import Growth
from pwfs.fs.holding import Holding
from pwfs.fs.journal import OpenFile
from pwfs.fs.native import Granted
from pwfs.fs.nodes import Kind, Node
from pwfs.fs.processes import caller, writes
from pwfs.fs.resolving import EMPTY_BLOB
from pwfs.model.entries import FileEntry
from pwfs.model.events import EventType
from pwfs.model.ids import BlobHash
from pwfs.model.ops import OpType, Provenance
from pwfs.model.paths import RepoPath
from pwfs.repo.edits import Edit
from pwfs.repo.live import Seen

INLINE_BYTES_MAX = 1 << 20
"""Up to here a copy or a hash is quicker than going to a thread and back."""


class Writing(Holding):
    """The part of a workspace that opens, reads, writes and captures."""

    on_dirty: Callable[[Node], None]

    async def open(self, node: Node, flags: int, ctx: RequestContext) -> None:
        may_write = flags & os.O_ACCMODE != os.O_RDONLY
        if node.kind is Kind.SCRATCH:
            self.open_scratch(node, flags)
            return
        if may_write:
            self.check_writable()
        if not flags & os.O_TRUNC:
            self.check_shown(node)
        if may_write and not flags & os.O_TRUNC:
            await self.verify_large(node)
            content = node.content or self.open_content(node)
            if content.seen is None:
                self.start_from_now(node, content)
        if flags & os.O_TRUNC:
            self.check_writable()
            await self.truncate(node, 0, caller(ctx))

    def open_scratch(self, node: Node, flags: int) -> None:
        """Opens the real file, for writing as far as its permissions let the daemon."""
        may_write = flags & os.O_ACCMODE != os.O_RDONLY
        if node.content is None:
            place = self.scratch_place(node)
            common = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
            if node.is_attached:
                common |= os.O_NOFOLLOW
            try:
                fd = os.open(place, os.O_RDWR | common)
            except PermissionError:
                if may_write:
                    raise
                fd = os.open(place, os.O_RDONLY | common)
            without_atime(fd)
            node.content = Content(fd, is_scratch=True)
        elif may_write and not is_read_write(node.content.fd):
            fd = os.open(f"/proc/self/fd/{node.content.fd}", os.O_RDWR | os.O_CLOEXEC)
            without_atime(fd)
            os.dup2(fd, node.content.fd, inheritable=False)
            os.close(fd)
        if flags & os.O_TRUNC:
            os.ftruncate(node.content.fd, 0)

    def is_at_rest(self, node: Node) -> bool:
        if node.kind is Kind.SCRATCH:
            return node.content is not None
        return not node.fresh and super().is_at_rest(node)

    def let_go(self, node: Node) -> None:
        self.discard_idle(node)

    def open_content(self, node: Node) -> Content:
        if node.kind is not Kind.SCRATCH:
            return super().open_content(node)
        self.open_scratch(node, os.O_RDONLY)
        assert node.content is not None
        return node.content

    def start_from_now(self, node: Node, content: Content) -> None:
        """Takes note of what somebody who starts to write this node starts from."""
        if node.is_attached:
            content.seen = self.start_seen(node.path)
        else:
            content.seen = Seen(node.entry, self.live.base_seq, node.entry)
        if node.extra:
            content.seen_at = {path: self.live.seen(path) for path in node.targets()[1:]}

    async def write(self, handle: Handle, offset: int, data: bytes) -> int:
        node = handle.node
        writer = handle.process if handle.has_written else writes(handle)
        content = node.content
        if content is None or not content.is_writable or content.busy is not None:
            content = await self.make_private(node, writer)
        written = content.write(data, offset)
        if not content.is_scratch:
            self._wrote(node, content, writer)
        return written

    def _wrote(self, node: Node, content: Content, writer: Provenance | None) -> None:
        content.writer = writer
        content.written_at = time.monotonic()
        attrs = node.attrs
        assert attrs is not None
        attrs.mtime_ns = attrs.ctime_ns = time.time_ns()
        if not content.is_dirty:
            content.is_dirty = True
            self.on_dirty(node)

    async def truncate(self, node: Node, size: int, writer: Provenance | None) -> None:
        """Sets a file's length; what is cut off need not be copied first."""
        content = await self.make_private(node, writer, keep_bytes=size)
        try:
            os.ftruncate(content.fd, size)
        except OSError:
            if not (content.is_dirty or content.is_scratch):
                # Only what is kept was copied.
                self.discard_content(node)
            raise
        if not content.is_scratch:
            content.growth = Growth() if size == 0 else None
            self._wrote(node, content, writer)

    async def make_private(
        self, node: Node, writer: Provenance | None, *, keep_bytes: int | None = None
    ) -> Content:
        """Gives a node content that may be written, copying the blob if need be.

        If that fails, the node's content is what it was.
        """
        while True:
            if node.granted is not Granted.PLAIN:
                node.revoke()
            if node.content is None or not node.content.is_writable:
                # A file that was closed and is written again was saved twice.
                self.settle_node(node)
            if node.content is None and keep_bytes == 0:
                # Nothing of the blob is needed, so that a damaged file can be saved anew.
                return self._start_private(node, Content(-1), writer, *self._new_working_file())
            await self.verify_large(node)
            content = node.content or self.open_content(node)
            if content.busy is not None:
                await content.busy.wait()
                continue
            if content.is_writable:
                return content
            size = content.size if keep_bytes is None else min(content.size, keep_bytes)
            working, fd = self._new_working_file()
            try:
                if size <= INLINE_BYTES_MAX:
                    copy_file(content.fd, fd, size)
                else:
                    content.busy = trio.Event()
                    try:
                        await trio.to_thread.run_sync(copy_file, content.fd, fd, size)
                    finally:
                        content.busy.set()
                        content.busy = None
            except BaseException:
                os.close(fd)
                working.unlink()
                raise
            return self._start_private(node, content, writer, working, fd)

    def _start_private(
        self, node: Node, content: Content, writer: Provenance | None, working: Path, fd: int
    ) -> Content:
        """Puts a working file in the place of what a node's content was so far."""
        try:
            if content.seen is None:
                self.start_from_now(node, content)
            assert content.seen is not None
            # The journal first: of what is written a killed daemon must leave the path.
            self.journal.began(self._open_file(node, working, content.seen, writer))
        except BaseException:
            os.close(fd)
            working.unlink()
            raise
        if content.fd >= 0:
            content.close()
        self._drop_working(content)
        content.fd, content.working, content.is_sealed, content.growth = fd, working, False, None
        content.writer = writer
        node.content = content
        # From now on its number and times are its own, not derived from the log.
        self.freeze_times(node)
        return content

    def _new_working_file(self) -> tuple[Path, int]:
        working = self.files_directory / secrets.token_hex(8)
        return working, os.open(working, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def start_fresh(self, node: Node, seen: Seen, writer: Provenance | None) -> None:
        """Gives a file that is new its working file."""
        assert node.attrs is not None
        node.fresh = True
        node.entry = FileEntry(EMPTY_BLOB, versioned_mode(node.attrs.mode or 0), 0)
        working, fd = self._new_working_file()
        try:
            self.journal.began(self._open_file(node, working, seen, writer))
        except BaseException:
            os.close(fd)
            working.unlink()
            node.fresh = False
            raise
        node.content = Content(fd, working, seen=seen, writer=writer, growth=Growth())
        self._wrote(node, node.content, writer)

    def note_open(self, node: Node) -> None:
        """Tells the journal that the paths or the mode of a working file are others now."""
        content = node.content
        if content is None or content.working is None:
            return
        if not node.targets():
            self.journal.ended(content.working.name)
            return
        assert content.seen is not None
        self.journal.changed(self._open_file(node, content.working, content.seen, content.writer))

    def _open_file(
        self, node: Node, working: Path, seen: Seen, writer: Provenance | None
    ) -> OpenFile:
        return OpenFile(
            id=working.name,
            paths=tuple(node.targets()),
            seen=seen,
            process=writer,
            mode=self.wanted_mode(node),
        )

    # Capturing

    async def flush(self, handle: Handle) -> None:
        """Logs what was written through a handle that is being closed.

        One that only created or cut its file may be closed as a duplicate, before the writing
        begins (every shell does so for ``> file``): then `release` logs it, which the kernel
        sends before the last close returns. Where another view shows the change, too, that would
        be too late for what the kernel remembers of that view.
        """
        content = handle.node.content
        if content is None or not content.is_dirty:
            return
        if handle.has_written or self.repo.is_shown_elsewhere(self.live):
            await self.capture(handle.node, hold=True)

    async def fsync(self, handle: Handle) -> None:
        """Puts a file's content, name and attributes on disk."""
        node = handle.node
        if node.content is not None and node.content.is_dirty:
            # What takes the place of a tracked file is logged now, what is new may wait.
            is_new = node.fresh and node.is_attached and node.path not in self.held
            await self.capture(node, hold=is_new)
        if node.kind is Kind.SCRATCH:
            # Whoever has it open by the library may be the only one.
            content = node.content or self.open_content(node)
            await trio.to_thread.run_sync(os.fsync, content.fd)
            self.discard_idle(node)
            return
        is_held = self.note_synced(node)
        await self._sync_log()
        # Also if it was logged meanwhile: the journal knows as what.
        await self._sync_journal(is_due=is_held)

    async def sync(self, directory: Node) -> None:
        """Puts on disk which names there are in a directory, and its attributes."""
        if directory.is_attached:
            self.settle_in(directory.path)
            await trio.to_thread.run_sync(self.scratch.sync_directory, directory.path)
        await self._sync_log()
        await self._sync_journal()

    async def _sync_log(self) -> None:
        self.rows.save()
        # Contents first, then what names them: see `pwfs.store.blobs`.
        await trio.to_thread.run_sync(self.repo.log.sync)

    async def _sync_journal(self, *, is_due: bool = False) -> None:
        # Else a name that was synced, and then moved or removed, would come back.
        if is_due or self.journal.is_behind:
            self.journal.mend()
            await trio.to_thread.run_sync(self.journal.sync)

    async def release(self, handle: Handle) -> None:
        node = handle.node
        content = node.content
        if content is None:
            return
        if node.handles:
            if content.is_dirty and handle.may_write and not handle.has_written:
                await self.capture(node, hold=True)
            return
        if content.is_dirty and node.targets():
            # Written through a shared mapping after the last close.
            await self.capture(node, hold=True)
        self.discard_idle(node)

    def discard_idle(self, node: Node) -> None:
        """Lets go of a node's content if nobody has it open and nothing is to be logged."""
        content = node.content
        if content is None or node.handles or content.busy is not None:
            return
        if not content.is_dirty or not node.targets():
            self.discard_content(node)

    def discard_content(self, node: Node) -> None:
        """Lets go of a node's content, logged or meant to be lost."""
        content = node.content
        if content is None:
            return
        node.content = None
        content.close()
        self._drop_working(content)
        if node.fresh and not node.link_count:
            node.fresh = False

    def _drop_working(self, content: Content) -> None:
        working = content.working
        if working is not None:
            content.working = None
            content.is_sealed = False
            _remove_working(working)
            self.journal.ended(working.name)

    async def capture(self, node: Node, *, hold: bool = False) -> None:
        """Logs a file's content as it is now, if it differs from what the log has.

        With ``hold``, a new file may be held instead (`pwfs.fs.holding`).

        Raises:
            ChangeIsFinal, NoSpace, StoreBusy, BlobDamaged: as `Repository.record`; the content
                stays dirty.
        """
        while True:
            content = node.content
            if content is None or not content.is_dirty or not node.targets():
                return
            if content.busy is None:
                break
            await content.busy.wait()
        assert content.working is not None
        size = content.size
        if size > self.repo.config.max_blob_bytes:
            self.move_to_scratch(node, content)
            return
        content.is_sealed = True
        if size <= INLINE_BYTES_MAX:
            digest = self._store(content, size)
        else:
            # A write that comes while the thread looks waits for `busy`, then makes a copy.
            content.busy = trio.Event()
            try:
                digest = await trio.to_thread.run_sync(self._store, content, size)
            finally:
                content.busy.set()
                content.busy = None
            if node.content is not content or not node.targets():
                return
        # Critical section: no await until the node says what the log says.
        entry = FileEntry(digest, self.wanted_mode(node), size)
        paths = node.targets()
        process = content.writer
        if hold and self.may_hold_new(node):
            self._hold_new(node, content, entry, process)
            return
        edits = [
            Edit(
                OpType.MODIFY,
                path,
                entry,
                seen=content.seen_at.get(path, content.seen),
                process=process,
            )
            for path in paths
        ]
        self._seal(node, content, entry, edits)
        # End of the critical section.

    def _hold_new(
        self, node: Node, content: Content, entry: FileEntry, process: Provenance | None
    ) -> None:
        assert content.working is not None
        assert content.seen is not None
        working = content.working
        self.arrive(node, entry, content.seen, process, id_=working.name)
        content.seen = Seen(content.seen.base, content.seen.base_seq, entry)
        self._captured(node, content, entry)
        content.working, content.is_sealed = None, False
        _remove_working(working)

    def _captured(self, node: Node, content: Content, entry: FileEntry) -> None:
        node.entry = entry
        content.is_dirty = False
        attrs = self.ensure_attrs(node)
        attrs.content = entry.content_hash
        attrs.ino = node.ino

    def _seal(self, node: Node, content: Content, entry: FileEntry, edits: list[Edit]) -> None:
        unchanged = entry == node.entry and not node.fresh and not self._in_conflict(node)
        if not unchanged:
            before_seen = content.seen
            self.record(edits)
            base = before_seen.base if before_seen else None
            base_seq = before_seen.base_seq if before_seen else self.live.base_seq
            content.seen = Seen(base, base_seq, entry)
        self._captured(node, content, entry)
        self._drop_working(content)
        if node.fresh:
            self.now_logged(node)
        if not unchanged:
            if node.is_attached and self.live.get(node.path) == entry:
                self.start_from_now(node, content)
            self.settle_names([edit.path for edit in edits])

    def _in_conflict(self, node: Node) -> bool:
        """Whether saving a file as it is shown may decide a conflict."""
        return node.is_attached and self.live.conflict_at(node.path) is not None

    def _store(self, content: Content, size: int) -> BlobHash:
        assert content.working is not None
        digest = content.hash(size)
        self.blobs.adopt(content.working, digest)
        return digest

    def move_to_scratch(self, node: Node, content: Content) -> None:
        """Keeps a file that is too large for the log with the workspace, and says so."""
        assert content.working is not None
        paths = node.targets()
        attrs = self.ensure_attrs(node)
        self.keep_beside_log(content.working, paths, attrs)
        self.journal.ended(content.working.name)
        content.working = content.growth = None
        content.is_dirty = False
        content.is_scratch = True
        status = os.fstat(content.fd)
        node.kind = Kind.SCRATCH
        node.identity = (status.st_dev, status.st_ino)
        self.rows.try_to_save()
        if node.fresh:
            self.now_logged(node)
        with self.repo.transaction():
            self.repo.publish(
                EventType.FILE_SKIPPED,
                workspace_id=self.id,
                change_id=self.workspace.change_id,
                path=paths[0],
                size=status.st_size,
                size_max=self.repo.config.max_blob_bytes,
            )

    def keep_beside_log(self, working: Path, paths: Sequence[RepoPath], attrs: Attrs) -> None:
        """Makes a working file the file at its paths, standing before what the log has there."""
        os.chmod(working, attrs.mode if attrs.mode is not None else 0o644)
        _keep_owner(working, attrs.uid, attrs.gid)
        place = self.scratch.make_room(paths[0])
        os.rename(working, place)
        for other in paths[1:]:
            self.scratch.remove_file(other)
            os.link(place, self.scratch.make_room(other))
        attrs.shadowed = True
        attrs.group = None
        for path in paths:
            self.rows.put(path, attrs)


def _remove_working(working: Path) -> None:
    """Removes a working file that is logged, held, or meant to be lost.

    Nothing may fail because of it: if it stays, the next start removes it.
    """
    with contextlib.suppress(OSError):
        working.unlink(missing_ok=True)


def _keep_owner(path: Path, uid: int | None, gid: int | None) -> None:
    if os.geteuid() == 0:
        os.chown(path, -1 if uid is None else uid, -1 if gid is None else gid)
