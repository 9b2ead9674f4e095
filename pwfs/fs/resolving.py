# Plain strings and calls: a request is answered in less time than Path objects take.
# ruff: noqa: PTH116
"""A workspace's names: the union of its view, its scratch and what is being written."""

import errno
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import structlog
from pyfuse3 import EntryAttributes, RequestContext

from pwfs.fs.attributes import (
    PERMISSIONS,
    Attrs,
    AttrTable,
    entry_attributes,
    permissions,
    versioned_mode,
)
from pwfs.fs.errors import refusal
from pwfs.fs.journal import Journal
from pwfs.fs.live import DIRECTORY_MODE, LiveSpace
from pwfs.fs.native import Granted
from pwfs.fs.nodes import Kind, Node, NodeTable, inode_number
from pwfs.fs.scratch import Scratch
from pwfs.fs.touched import Touched
from pwfs.model.entries import FileEntry, Mode
from pwfs.model.ids import hash_blob
from pwfs.model.ignoring import IgnoreRules
from pwfs.model.ops import Op, OpType
from pwfs.model.paths import PATH_LENGTH_MAX_BYTES, RepoPath, check_name, parents, split
from pwfs.model.standing import LargeFile
from pwfs.model.views import Workspace
from pwfs.repo import Repository
from pwfs.repo.core import Movement
from pwfs.repo.edits import Edit
from pwfs.views.editor import DIRECTORY, Directory, Found, Pending

_log = structlog.get_logger(__name__)
EMPTY_BLOB = hash_blob(b"")


class Resolving(LiveSpace):
    """The part of a workspace that finds things and says what they are."""

    def __init__(self, repo: Repository, workspace: Workspace, table: NodeTable) -> None:
        super().__init__(workspace.id, table, repo.live(workspace.id), repo.blobs)
        self.repo = repo
        self.workspace = workspace
        # What nothing touched since is as old as the workspace, however often the daemon starts.
        self.started_ns = int(workspace.created_at.timestamp()) * 1_000_000_000
        work = repo.state_dir / "work" / workspace.id
        self.touched = Touched()
        self.scratch = Scratch(work / "tree", self._moved_aside)
        self.files_directory: Path = work / "files"
        self.files_directory.mkdir(parents=True, exist_ok=True)
        self.journal = Journal(work / "journal", repo.log.sync)
        self.rows = AttrTable(repo.log, workspace.id)
        self.ignore = IgnoreRules(self.shown_file, lambda entry: repo.blobs.get(entry.content_hash))
        self.recording: frozenset[RepoPath] = frozenset()
        self._left: Sequence[RepoPath] = ()
        self.root.attrs = self.rows.get(RepoPath(""))

    # Finding

    def shown_file(self, path: RepoPath) -> FileEntry | None:
        """The versioned file at a path, as far as it was closed."""
        return self.live.file(path)

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
        path = directory.path_of(name)
        if isinstance(hint, os.stat_result):
            return self._adopt_scratch(directory, name, path, hint)
        if isinstance(hint, FileEntry | Pending | Directory):
            return self.adopt(directory, name, path, hint)
        return self.child(directory, name)

    def adopt(self, directory: Node, name: str, path: RepoPath, found: Found | None) -> Node | None:
        row = self.rows.get(path)
        if found is None or (row is not None and row.shadowed):
            status = self.scratch.stat(path)
            if status is not None:
                return self._adopt_scratch(directory, name, path, status)
        node = super().adopt(directory, name, path, found)
        if node is None:
            return None
        if node.kind is Kind.DIRECTORY:
            self.scratch.check_directory(path)
        node.attrs = row
        if row is not None and row.mode is not None and node.kind is Kind.FILE:
            assert node.entry is not None
            row.mode = permissions(node.entry.mode, row.mode)
        return node

    def _adopt_scratch(
        self, directory: Node, name: str, path: RepoPath, status: os.stat_result
    ) -> Node:
        if stat.S_ISDIR(status.st_mode):
            node = self.enter(directory, name, Kind.DIRECTORY, self.directory_number(path))
            node.attrs = self.rows.get(path)
            return node
        return self.enter_scratch(directory, name, status)

    def enter_scratch(self, directory: Node, name: str, status: os.stat_result) -> Node:
        """Makes the node of a file in scratch, or gives one that is known another name."""
        identity = (status.st_dev, status.st_ino)
        ino = inode_number(self.id, "scratch", str(identity))
        known = self.table.peek(ino)
        if known is not None and known.identity == identity and known.space is self:
            known.attach(directory, name)
            return known
        node = self.enter(directory, name, Kind.SCRATCH, ino)
        node.identity = identity
        return node

    def inode_of(self, path: RepoPath, entry: FileEntry) -> int:
        row = self.rows.get(path)
        if row is not None and row.ino is not None and row.content == entry.content_hash:
            return row.ino
        return super().inode_of(path, entry)

    def directory_number(self, path: RepoPath) -> int:
        row = self.rows.get(path)
        return (
            row.ino if row is not None and row.ino is not None else super().directory_number(path)
        )

    def scan(self, directory: Node) -> Mapping[str, object]:
        if not directory.is_attached:
            return {}
        path = directory.path
        hints: dict[str, object] = dict(self.view_list(path))
        for name, status in self.scratch.names(path).items():
            row = self.rows.get(directory.path_of(name))
            if name not in hints or (row is not None and row.shadowed):
                hints[name] = status
        assert directory.children is not None
        for name in directory.children:
            # New, or written while somebody elsewhere took it away: it is found, so it is listed.
            hints.setdefault(name, None)
        return hints

    def close(self) -> None:
        self.journal.abandon()

    def exists(self, directory: Node) -> bool:
        path = directory.path
        return self.view_get(path) is DIRECTORY or self.scratch.is_directory(path)

    def is_current(self, node: Node, directory: Node, name: str) -> bool:
        path = directory.path_of(name)
        found = self.view_get(path)
        if node.kind is Kind.DIRECTORY:
            return found is DIRECTORY or (found is None and self.scratch.is_directory(path))
        if node.kind is Kind.SCRATCH:
            return found is None or (node.attrs is not None and node.attrs.shadowed)
        return found == node.entry

    def count_subdirectories(self, node: Node) -> int:
        path = node.path
        names = {name for name, found in self.view_list(path).items() if found is DIRECTORY}
        names.update(self.scratch.directories(path))
        return len(names)

    def is_scratch_name(self, path: RepoPath) -> bool:
        """Whether a new file of this name is kept in scratch."""
        return self.ignore.is_ignored(path)

    def new_path(self, directory: Node, name: str) -> RepoPath:
        """Checks that something may be made under a name; gives its path."""
        check_name(name)
        self.check_exists(directory)
        self.check_writable()
        path = directory.path_of(name)
        if len(path.encode()) > PATH_LENGTH_MAX_BYTES:
            raise refusal(errno.ENAMETOOLONG)
        return path

    def check_writable(self) -> None:
        """Refuses to write once the change is final."""
        if self.workspace.read_only:
            raise refusal(errno.EROFS)

    def _revoke_names(self, path: RepoPath) -> None:
        """Has names on the way to a path be looked up here: there may be more than is on disk."""
        node = self.root
        for name in path.split("/"):
            node.revoke()
            below = (node.children or {}).get(name)
            if below is None:
                return
            node = below

    # Attributes

    def attributes(self, node: Node, times: Mapping[str, int] | None = None) -> EntryAttributes:
        if node.kind is Kind.SCRATCH:
            return self._scratch_attributes(node)
        if node.kind is Kind.DIRECTORY:
            return self.directory_attributes(node)
        attrs, entry, content = node.attrs, node.entry, node.content
        assert entry is not None
        is_private = content is not None and content.working is not None
        size, blocks = entry.size, None
        if content is not None and is_private:
            status = os.fstat(content.fd)
            size, blocks = status.st_size, status.st_blocks
        else:
            blocks = self.blocks_of(entry)
        mtime_ns = atime_ns = ctime_ns = None
        if attrs is not None and (attrs.content == entry.content_hash or is_private or node.fresh):
            mtime_ns, atime_ns, ctime_ns = attrs.mtime_ns, attrs.atime_ns, attrs.ctime_ns
        if mtime_ns is None:
            mtime_ns = self.mtime_of(node, times)
        if node.kind is Kind.LINK:
            mode = stat.S_IFLNK | 0o777
        else:
            # The kept bits may be ahead of the log while the file is being written.
            kept = attrs.mode if attrs is not None else None
            mode = stat.S_IFREG | (permissions(entry.mode, None) if kept is None else kept)
        return entry_attributes(
            node.ino,
            mode,
            links=node.link_count,
            uid=self.uid if attrs is None or attrs.uid is None else attrs.uid,
            gid=self.gid if attrs is None or attrs.gid is None else attrs.gid,
            size=size,
            blocks=blocks,
            mtime_ns=mtime_ns,
            atime_ns=mtime_ns if atime_ns is None else atime_ns,
            ctime_ns=mtime_ns if ctime_ns is None else ctime_ns,
        )

    def mtime_of(self, node: Node, times: Mapping[str, int] | None) -> int:
        if node.fresh:
            return self.started_ns
        return super().mtime_of(node, times)

    def directory_attributes(self, node: Node) -> EntryAttributes:
        attrs = node.attrs or Attrs()
        changed_ns = self.directory_mtime(node)
        mtime_ns = changed_ns
        if attrs.mtime_ns is not None and node.is_attached:
            mtime_ns = attrs.mtime_ns
        return entry_attributes(
            node.ino,
            stat.S_IFDIR | (DIRECTORY_MODE if attrs.mode is None else attrs.mode),
            links=self.directory_links(node),
            uid=self.uid if attrs.uid is None else attrs.uid,
            gid=self.gid if attrs.gid is None else attrs.gid,
            size=4096,
            mtime_ns=mtime_ns,
            atime_ns=mtime_ns if attrs.atime_ns is None else attrs.atime_ns,
            ctime_ns=max(changed_ns, attrs.ctime_ns or 0),
        )

    def scratch_status(self, node: Node) -> os.stat_result:
        """The real ``stat`` of a file in scratch."""
        if node.content is not None:
            return os.fstat(node.content.fd)
        return os.stat(self.scratch_target(node), follow_symlinks=not node.is_attached)

    def scratch_target(self, node: Node) -> int | str:
        """What names a file in scratch to a system call: its place, or the open descriptor.

        A place is not to be followed if it is a symbolic link; without a name it must be.
        """
        if node.content is not None and not node.is_attached:
            return node.content.fd
        return self.scratch_place(node)

    def scratch_place(self, node: Node) -> str:
        """Where a file in scratch is, also when it has no name any more; ESTALE if nowhere."""
        if node.remains is not None and not node.is_attached:
            return f"/proc/self/fd/{node.remains}"
        return self.scratch.place(node.path)

    def _scratch_attributes(self, node: Node) -> EntryAttributes:
        status = self.scratch_status(node)
        attributes = entry_attributes(
            node.ino,
            status.st_mode,
            links=status.st_nlink,
            uid=status.st_uid,
            gid=status.st_gid,
            size=status.st_size,
            blocks=status.st_blocks,
            atime_ns=status.st_atime_ns,
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
        )
        attributes.st_rdev = status.st_rdev
        return attributes

    def touch(self, directory: Node) -> None:
        self.note_change(directory)
        if not directory.is_attached:
            directory.revoke()
            return
        attrs = self.ensure_attrs(directory)
        attrs.mtime_ns = attrs.ctime_ns = changed_ns = self.changed_ns[directory.path]
        self.table.grants.touched(directory, changed_ns)

    def ensure_attrs(self, node: Node) -> Attrs:
        """The row of a node, made if there is none, and marked to be saved."""
        if node.attrs is None:
            node.attrs = Attrs()
        self.keep_attrs(node)
        return node.attrs

    @contextmanager
    def changing_attrs(self, node: Node, *, save: bool = True) -> Iterator[Attrs]:
        """Gives a node's row to be changed, and saves it; if that fails nothing has changed."""
        if node.is_directory or node.granted is Granted.PLAIN:
            node.revoke()
        before = msgspec.structs.replace(node.attrs) if node.attrs is not None else Attrs()
        attrs = self.ensure_attrs(node) if node.is_directory else self.freeze_times(node)
        attrs.ctime_ns = time.time_ns()
        try:
            yield attrs
            if save:
                self.rows.save()
        except BaseException:
            for field in Attrs.__struct_fields__:
                setattr(attrs, field, getattr(before, field))
            raise

    def keep_attrs(self, node: Node) -> None:
        """Marks a node's row to be saved under each of its names."""
        if node.attrs is None:
            return
        if node.cached_path is not None:
            self.rows.put(node.cached_path, node.attrs)
        for directory, name in node.names():
            if directory.is_attached:
                self.rows.put(directory.path_of(name), node.attrs)

    def save_what_guards(self, attrs: Attrs | None, *, is_done: bool = False) -> None:
        """Writes the rows at once if one of them says who may do what, or has attributes.

        Called where a name comes or moves: what a program kept from others must not be open to
        all after a crash. With ``is_done`` that cannot be refused any more.
        """
        if attrs is None:
            return
        is_plain = attrs.mode in (None, 0o644, 0o755)
        is_own = attrs.uid in (None, self.uid) and attrs.gid in (None, self.gid)
        if not (is_plain and is_own) or attrs.xattrs:
            if is_done:
                self.rows.try_to_save()
            else:
                self.rows.save()

    def freeze_times(self, node: Node) -> Attrs:
        """Keeps a file's present inode number and times, whatever the log will say of it."""
        shown = self.attributes(node)
        attrs = self.ensure_attrs(node)
        attrs.ino = node.ino
        attrs.mtime_ns = shown.st_mtime_ns
        attrs.atime_ns = shown.st_atime_ns
        attrs.ctime_ns = time.time_ns()
        if node.entry is not None:
            attrs.content = node.entry.content_hash
        return attrs

    def new_attrs(self, directory: Node, mode: int, ctx: RequestContext) -> Attrs:
        """The attributes of something a program makes: its own, the group perhaps the parent's."""
        parent = directory.attrs
        gid = ctx.gid
        mode &= PERMISSIONS
        if parent is not None and parent.mode is not None and parent.mode & stat.S_ISGID:
            gid = self.gid if parent.gid is None else parent.gid
        now_ns = time.time_ns()
        return Attrs(
            mode=mode, uid=ctx.uid, gid=gid, mtime_ns=now_ns, ctime_ns=now_ns, atime_ns=now_ns
        )

    def wanted_mode(self, node: Node) -> Mode:
        """The versioned mode that a file should have by its permissions."""
        assert node.entry is not None
        if node.kind is Kind.LINK:
            return Mode.SYMLINK
        if node.attrs is None or node.attrs.mode is None:
            return node.entry.mode
        return versioned_mode(node.attrs.mode)

    def large_files(self) -> list[LargeFile]:
        """The files that are too large for the log, by path."""
        found = []
        for path in sorted(self.rows):
            row = self.rows.get(path)
            status = self.scratch.stat(path) if row is not None and row.shadowed else None
            if status is not None:
                found.append(LargeFile(path, status.st_size))
        return found

    def _moved_aside(self, path: RepoPath) -> None:
        """Takes note of a name that scratch gave to what stood in a directory's place."""
        self.touched.note(path)
        directory = self.known_directory(split(path)[0])
        if directory is not None:
            self.names_moved(directory)

    # Logging

    def record(self, edits: Sequence[Edit], *, moves_directories: bool = False) -> list[Op]:
        """Logs edits whose effect on the known nodes is the caller's to carry out.

        A directory that they empty stays, unless ``moves_directories``: then the caller sees to it.
        """
        with self.recorded(edits, moves_directories=moves_directories) as ops:
            return ops

    @contextmanager
    def recorded(
        self, edits: Sequence[Edit], *, moves_directories: bool = False
    ) -> Iterator[list[Op]]:
        """Logs edits if what is done inside succeeds; else nothing is logged.

        The log may still refuse in the end: then what was done inside is undone by who did it.
        """
        if not edits:
            yield []
            return
        paths = {edit.path for edit in edits}
        paths.update(edit.old_path for edit in edits if edit.old_path is not None)
        self.recording = frozenset(paths)
        self._left = () if moves_directories else _left_by(edits)
        try:
            with self.repo.transaction():
                yield self.repo.record(self.id, edits)
        finally:
            self.recording = frozenset()
            self._left = ()

    def moved(self, movement: Movement) -> None:
        self.touched.note_all(movement.paths)
        for path in movement.paths:
            self._revoke_names(path)
        for path in self._left:
            # Before anything is reconciled: a directory that a program empties stays.
            self._keep(split(path)[0])
        self.follow(movement, movement.paths - self.recording)
        own = self.recording
        self.announce(movement, own.union(*(parents(path) for path in own)))

    def kind_before(self, path: RepoPath, found: Found | None) -> Kind | None:
        kind = super().kind_before(path, found)
        return Kind.DIRECTORY if kind is None and self.scratch.is_directory(path) else kind

    def settle_names(self, paths: Sequence[RepoPath]) -> None:
        """After `record`: where the view shows something else than was written, follows it."""
        for path in paths:
            shown = self.known(path)
            self.reconcile(path)
            above, name = split(path)
            directory = self.known_directory(above)
            if self.announcer is None or shown is None or directory is None:
                continue
            if shown.parent is None and self.view_get(path) is not None:
                # What was written was merged with what others wrote.
                self.announcer.changed(directory, name, shown.kind)

    def keep_directory(self, directory: Node) -> None:
        """Keeps a directory from which the last versioned file went away."""
        if directory.is_attached:
            self._keep(directory.path)

    def _keep(self, path: RepoPath) -> None:
        if path and self.view_get(path) is not DIRECTORY:
            try:
                self.scratch.make_directory(path)
            except OSError as error:
                # What emptied it is logged: that it goes, too, must not fail it now.
                _log.warning("an emptied directory is not kept", path=path, error=str(error))


def _left_by(edits: Sequence[Edit]) -> Sequence[RepoPath]:
    """The names that edits take out of their directories."""
    if edits and edits[-1].directory_rename is not None:
        return (edits[-1].directory_rename[0],)
    leaving = (OpType.DELETE, OpType.RENAME)
    return [edit.old_path or edit.path for edit in edits if edit.op_type in leaving]
