"""A live view as a read-only directory: main, a moment of main, a stored view."""

import errno
import os
import stat
import time
from collections.abc import Iterable, Mapping

import trio
from pyfuse3 import EntryAttributes, RequestContext

from pwfs.fs.attributes import entry_attributes, permissions
from pwfs.fs.content import Content, Handle
from pwfs.fs.errors import refusal
from pwfs.fs.nodes import Kind, Node, NodeTable, inode_number
from pwfs.fs.spaces import Space
from pwfs.model.entries import FileEntry, Mode
from pwfs.model.errors import BlobDamaged, BlobMissing
from pwfs.model.ids import BlobHash
from pwfs.model.paths import RepoPath, split
from pwfs.model.views import ConflictPolicy
from pwfs.repo.core import Movement
from pwfs.repo.live import LiveView
from pwfs.store.protocols import BlobStore
from pwfs.store.verifying import GoodFile
from pwfs.views.editor import DIRECTORY, Directory, Found, Pending

DIRECTORY_MODE = 0o755
SPARSE_BYTES_MIN = 1 << 20
"""A shorter file is shown as if it had no holes, which saves a look at its content."""
VERIFIED_INLINE_BYTES_MAX = 1 << 20
"""Up to here reading a content to verify it is quicker than going to a thread and back."""
_UNREADABLE_BYTES = 1
"""More than nothing, so that the kernel asks for the content; and no blob is damaged and so long."""


class LiveSpace(Space):
    """What a `LiveView` shows, with nodes that follow it."""

    def __init__(self, id_: str, table: NodeTable, live: LiveView, blobs: BlobStore) -> None:
        super().__init__(id_, table)
        self.live = live
        self.blobs = blobs
        self.uid = os.getuid()
        self.gid = os.getgid()
        self.changed_ns: dict[RepoPath, int] = {}
        """When a name in a directory last changed, for those where that was since ``started_ns``."""
        self._verifying: dict[BlobHash, trio.Event] = {}

    # What the view has; a throw-away workspace hides some of it

    def view_get(self, path: RepoPath) -> Found | None:
        """What the view has at a path."""
        return self.live.get(path)

    def view_list(self, path: RepoPath) -> Mapping[str, Found]:
        """What the view has in a directory."""
        return self.live.list(path) or {}

    # Looking

    def child(self, directory: Node, name: str) -> Node | None:
        assert directory.children is not None
        node = directory.children.get(name)
        if node is not None or not directory.is_attached:
            return node
        path = directory.path_of(name)
        return self.adopt(directory, name, path, self.view_get(path))

    def child_hinted(self, directory: Node, name: str, hint: object) -> Node | None:
        assert directory.children is not None
        node = directory.children.get(name)
        if node is not None:
            return node
        found = hint if isinstance(hint, FileEntry | Pending | Directory) else None
        return self.adopt(directory, name, directory.path_of(name), found)

    def scan(self, directory: Node) -> Mapping[str, object]:
        return dict(self.view_list(directory.path)) if directory.is_attached else {}

    def adopt(self, directory: Node, name: str, path: RepoPath, found: Found | None) -> Node | None:
        """Makes the node of what the view has at a path."""
        if found is None:
            return None
        if found is DIRECTORY:
            return self.enter(directory, name, Kind.DIRECTORY, self.directory_number(path))
        entry = found if isinstance(found, FileEntry) else self._settled(path)
        ino = self.inode_of(path, entry)
        known = self.table.peek(ino)
        if known is not None and self._may_return(known, path, entry):
            known.stale = None
            known.attach(directory, name)
            return known
        kind = Kind.LINK if entry.mode is Mode.SYMLINK else Kind.FILE
        node = self.enter(directory, name, kind, ino)
        node.entry = entry
        return node

    def _settled(self, path: RepoPath) -> FileEntry:
        """What a merge gives; where its inputs are damaged, a file that cannot be read.

        Its directory can be listed all the same.
        """
        try:
            return self.live.settle(path).entry
        except (BlobMissing, BlobDamaged) as error:
            self.tell_damage(error, path)
            return FileEntry(BlobHash(error.blob_hash), Mode.FILE, _UNREADABLE_BYTES)

    def _may_return(self, node: Node, path: RepoPath, entry: FileEntry) -> bool:
        """Whether a file that was replaced is what the view shows again."""
        return (
            node.space is self
            and node.entry == entry
            and not node.link_count
            and (node.content is None or not node.content.is_dirty)
            and path in (node.stale or ())
        )

    def inode_of(self, path: RepoPath, entry: FileEntry) -> int:
        """A file's number: another one for other content, so that no cache mixes the two."""
        return inode_number(self.id, path, entry.content_hash, entry.mode.text)

    def directory_number(self, path: RepoPath) -> int:
        """A directory's number, by its path."""
        return inode_number(self.id, path, "/")

    def enter(self, directory: Node, name: str, kind: Kind, ino: int) -> Node:
        """Puts a new node into the table and the tree."""
        node = Node(self, kind, None, name)
        self.table.add(node, ino)
        node.attach(directory, name)
        return node

    def exists(self, directory: Node) -> bool:
        """Whether a known directory is still there."""
        return self.view_get(directory.path) is DIRECTORY

    def stamp(self) -> object:
        return self.live.position

    # Attributes

    def times(self, directory: Node) -> Mapping[str, int] | None:
        return self.live.mtimes_ns(directory.path) if directory.is_attached else None

    def attributes(self, node: Node, times: Mapping[str, int] | None = None) -> EntryAttributes:
        if node.kind is Kind.DIRECTORY:
            return self.directory_attributes(node)
        entry = node.entry
        assert entry is not None
        mtime_ns = self.mtime_of(node, times)
        link = node.kind is Kind.LINK
        return entry_attributes(
            node.ino,
            stat.S_IFLNK | 0o777 if link else stat.S_IFREG | permissions(entry.mode, None),
            links=node.link_count,
            uid=self.uid,
            gid=self.gid,
            size=entry.size,
            blocks=self.blocks_of(entry),
            atime_ns=mtime_ns,
            mtime_ns=mtime_ns,
            ctime_ns=mtime_ns,
        )

    def blocks_of(self, entry: FileEntry) -> int | None:
        """How many blocks a file's content takes on disk, None for as many as its length says."""
        if entry.size < SPARSE_BYTES_MIN:
            return None
        try:
            return self.blobs.path(entry.content_hash).stat().st_blocks
        except FileNotFoundError:
            return None

    def directory_attributes(self, node: Node) -> EntryAttributes:
        """What ``stat`` shows of a directory."""
        mtime_ns = self.directory_mtime(node)
        return entry_attributes(
            node.ino,
            stat.S_IFDIR | DIRECTORY_MODE,
            links=self.directory_links(node),
            uid=self.uid,
            gid=self.gid,
            size=0,
            atime_ns=mtime_ns,
            mtime_ns=mtime_ns,
            ctime_ns=mtime_ns,
        )

    def mtime_of(self, node: Node, times: Mapping[str, int] | None) -> int:
        """When the log last changed a file."""
        if times is not None:
            known = times.get(node.name)
            return self.live.begun_ns if known is None else known
        if not node.is_attached:
            return self.live.begun_ns
        return self.live.mtime_ns(node.path)

    def directory_mtime(self, node: Node) -> int:
        """When a name in a directory last changed, at the earliest when this mount began.

        It is another one after each change, also of a directory that is gone.
        """
        if not node.is_attached:
            return self.started_ns + node.version
        return self.changed_ns.get(node.path, self.started_ns)

    def directory_links(self, node: Node) -> int:
        """Two, and one for each directory inside."""
        if not node.is_attached:
            return 0
        if node.subdirectories is None:
            node.subdirectories = self.count_subdirectories(node)
        return 2 + node.subdirectories

    def count_subdirectories(self, node: Node) -> int:
        """How many directories are in one."""
        return sum(1 for found in self.view_list(node.path).values() if found is DIRECTORY)

    def grant_shown(self, directory: Node) -> None:
        if directory.granted is None and self.table.grants.are_given:
            shown = self.directory_attributes(directory)
            follows = directory.attrs is None or directory.attrs.atime_ns is None
            self.table.grants.grant_shown(directory, shown, atime_follows=follows)

    # Reading

    async def readlink(self, node: Node) -> bytes:
        if node.kind is not Kind.LINK or node.entry is None:
            raise refusal(errno.EINVAL)
        try:
            return self.blobs.get(node.entry.content_hash)
        except (BlobMissing, BlobDamaged) as error:
            self.tell_damage(error, _name_of(node))
            raise

    async def open(self, node: Node, flags: int, ctx: RequestContext) -> None:
        if flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC:
            raise refusal(errno.EROFS)
        self.check_shown(node)

    def check_shown(self, node: Node) -> None:
        """Refuses to open what the view's policy forbids to show."""
        if node.is_attached and self.live.is_manual_conflict(node.path):
            raise refusal(errno.EIO)

    async def read(self, node: Node, offset: int, size: int) -> bytes:
        if node.content is None:
            await self.verify_large(node)
        content = node.content or self.open_content(node)
        return os.pread(content.fd, size, offset)

    def is_at_rest(self, node: Node) -> bool:
        if node.kind is not Kind.FILE or self.live.policy is ConflictPolicy.MANUAL:
            return False
        return node.content is None or not node.content.is_writable

    def good_file(self, node: Node) -> GoodFile | None:
        entry, content = node.entry, node.content
        # What became too large for the log is a real file, whatever the log has of it.
        is_real = node.kind is not Kind.FILE or (
            content is not None and content.working is not None
        )
        if entry is None or is_real:
            return None
        good = self.blobs.good_file(entry.content_hash)
        return good if good is not None and good.size_bytes == entry.size else None

    def let_go(self, node: Node) -> None:
        if node.handles == 0 and node.content is not None:
            node.content.close()
            node.content = None

    async def descriptor(self, node: Node) -> int:
        if node.content is None:
            await self.verify_large(node)
        return (node.content or self.open_content(node)).fd

    async def verify_large(self, node: Node) -> None:
        """Before a large blob is opened: reads it in a thread, if nobody has yet.

        Any await may follow; whoever opens the blob then does so without reading it.
        """
        entry = node.entry
        if node.content is not None or entry is None or entry.size <= VERIFIED_INLINE_BYTES_MAX:
            return
        blob = entry.content_hash
        while not self.blobs.is_verified(blob):
            # The kernel reads ahead, by many requests at once.
            reading = self._verifying.get(blob)
            if reading is not None:
                await reading.wait()
                continue
            reading = self._verifying[blob] = trio.Event()
            try:
                await trio.to_thread.run_sync(self.blobs.verify, blob)
            except (BlobMissing, BlobDamaged) as error:
                self.tell_damage(error, _name_of(node))
                raise
            finally:
                del self._verifying[blob]
                reading.set()

    def open_content(self, node: Node) -> Content:
        """Opens the blob behind a file.

        Raises:
            BlobMissing, BlobDamaged: it cannot be read as what it must be (EIO).
        """
        assert node.entry is not None
        blob = node.entry.content_hash
        try:
            content = Content(self.blobs.open(blob))
            if content.size != node.entry.size:
                content.close()
                raise BlobDamaged(blob_hash=blob, reason=f"is not of {node.entry.size} bytes")
        except (BlobMissing, BlobDamaged) as error:
            self.tell_damage(error, _name_of(node))
            raise
        node.content = content
        return content

    def tell_damage(self, error: BlobMissing | BlobDamaged, path: RepoPath) -> None:
        """Tells of a content that a program cannot read."""
        if self.damages is not None:
            self.damages.tell(error, self.id, path)

    async def release(self, handle: Handle) -> None:
        self.let_go(handle.node)

    def getxattr(self, node: Node, name: bytes) -> bytes:
        raise refusal(errno.ENODATA)

    def listxattr(self, node: Node) -> Iterable[bytes]:
        return ()

    # Following the view

    def moved(self, movement: Movement) -> None:
        """Follows the view where it shows something else now. The state is new already."""
        self.follow(movement, movement.paths)
        self.announce(movement, frozenset())

    def follow(self, movement: Movement, paths: Iterable[RepoPath]) -> None:
        """Brings the known nodes in line with the view at some of the paths of a movement."""
        before = movement.before
        for path in paths:
            # A path that nobody knows and that shows what it did may only have been composed anew:
            # its directory has not changed.
            is_same = path in before and before[path] == self.view_get(path)
            if not is_same or self.known(path) is not None:
                self.reconcile(path)

    def announce(self, movement: Movement, own: frozenset[RepoPath]) -> None:
        """Has watchers told of the names that changed, but for those that programs changed here."""
        if self.announcer is None:
            return
        for path, before in movement.before.items():
            now = self.view_get(path)
            is_directory = before is DIRECTORY and now is DIRECTORY
            if is_directory or path in own or (before is None and now is None):
                continue
            if path not in movement.paths and DIRECTORY not in (before, now):
                # Only merged meanwhile: it shows what it did.
                continue
            above, name = split(path)
            directory = self.known_directory(above)
            if directory is not None and (directory.lookups or directory is self.root):
                self.announcer.changed(directory, name, self.kind_before(path, before))

    def kind_before(self, path: RepoPath, found: Found | None) -> Kind | None:
        """What stood at a path where the view had ``found``."""
        if found is None:
            return None
        if found is DIRECTORY:
            return Kind.DIRECTORY
        is_link = isinstance(found, FileEntry) and found.mode is Mode.SYMLINK
        return Kind.LINK if is_link else Kind.FILE

    def known(self, path: RepoPath) -> Node | None:
        """The node at a path, if it is known."""
        node: Node | None = self.root
        for name in path.split("/") if path else ():
            if node is None or node.children is None:
                return None
            node = node.children.get(name)
        return node

    def known_directory(self, path: RepoPath) -> Node | None:
        """The node of a directory at a path, if it is known; None where a file is by now."""
        node = self.known(path)
        return node if node is not None and node.is_directory else None

    def reconcile(self, path: RepoPath) -> None:
        """Brings the known nodes along a path in line with the view."""
        node = self.root
        *above, last = path.split("/")
        for name in above:
            assert node.children is not None
            child = node.children.get(name)
            if child is None or child.kind is not Kind.DIRECTORY:
                node.recount()
                self._name_moved(node, name)
                return
            node = child
        self._name_moved(node, last)
        while node is not self.root and not self.exists(node) and not _holds_unlogged(node):
            parent, name = node.parent, node.name
            if parent is None:
                return
            self._name_moved(parent, name)
            node = parent

    def _name_moved(self, directory: Node, name: str) -> None:
        assert directory.children is not None
        known = directory.children.get(name)
        deleted_ino = 0
        if known is not None:
            if self.is_current(known, directory, name):
                if self.invalidator is not None and known.lookups:
                    self.invalidator.attributes(known.ino)
                return
            if _is_unlogged(known) or (known.is_directory and _holds_unlogged(known)):
                return
            self.supersede(known, directory, name)
            if self.announcer is not None and not known.is_directory:
                self.announcer.lost(known)
            deleted_ino = 0 if known.link_count else known.ino
        found = self.view_get(directory.path_of(name))
        if found is DIRECTORY or (known is not None and known.is_directory):
            directory.recount()
        self.names_moved(directory)
        if self.invalidator is not None and (directory.lookups or directory is self.root):
            if known is not None or found is not None:
                self.invalidator.entry(directory.ino, name, deleted_ino=deleted_ino)
            # Else the kernel knows of no file there either: whoever took the name away told it.

    def is_current(self, node: Node, directory: Node, name: str) -> bool:
        """Whether a known node is what the view shows under its name."""
        found = self.view_get(directory.path_of(name))
        if node.kind is Kind.DIRECTORY:
            return found is DIRECTORY
        return found == node.entry

    def supersede(self, node: Node, directory: Node, name: str) -> None:
        """Takes a name from a node for what the view shows there now; handles keep the old."""
        path = directory.path_of(name)
        for each in (node, *node.known_below()):
            each.revoke()
        node.detach(directory, name)
        if node.kind is Kind.DIRECTORY:
            self._lists_nothing(node)
        else:
            node.stale = [*(node.stale or ()), path]
        self.table.drop_unused(node)

    def _lists_nothing(self, directory: Node) -> None:
        """Notes that a directory is gone, and with it those below."""
        for node in (directory, *directory.known_below()):
            if node.is_directory:
                self.names_moved(node)

    def names_moved(self, directory: Node) -> None:
        """Notes that a directory's names changed by what no program does here."""
        self.touch(directory)
        if self.invalidator is not None and (directory.lookups or directory is self.root):
            self.invalidator.names(directory)

    def touch(self, directory: Node) -> None:
        """Notes that a directory's names changed."""
        directory.revoke()
        self.note_change(directory)

    def note_change(self, directory: Node) -> None:
        """Gives a directory another version and, where it has a name, a later time."""
        directory.version += 1
        if directory.is_attached:
            before_ns = self.changed_ns.get(directory.path, 0)
            self.changed_ns[directory.path] = max(time.time_ns(), before_ns + 1)


def _name_of(node: Node) -> RepoPath:
    return node.path if node.is_attached else RepoPath(node.name)


def _is_unlogged(node: Node) -> bool:
    return node.fresh or (node.content is not None and node.content.is_dirty)


def _holds_unlogged(directory: Node) -> bool:
    """Whether something that was written below is not in the log yet."""
    return any(_is_unlogged(node) for node in directory.known_below())
