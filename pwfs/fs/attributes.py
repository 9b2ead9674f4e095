"""Attributes: what ``stat`` shows, and what a workspace keeps of it beside the log.

Mode bits other than the executable one, owners, times and extended attributes are the
workspace's; they are stored as one row per path that has any. Rows are written at once where
losing them would matter (permissions, extended attributes), else within about a second.
"""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import msgspec
from pyfuse3 import EntryAttributes

from pwfs.model.entries import Mode
from pwfs.model.errors import PatchworkError
from pwfs.model.ids import WorkspaceId
from pwfs.model.paths import RepoPath, is_under
from pwfs.store.protocols import LogStore

CACHE_S = 86_400
"""How long the kernel keeps names and attributes; exact invalidation ends it earlier."""

BLOCK_BYTES = 512
TIME_MIN_NS, TIME_MAX_NS = -(2**31) * 10**9, 15_032_385_535 * 10**9
PERMISSIONS = 0o7777
XATTR_NAMESPACES = (b"user.", b"trusted.", b"security.")
"""Those that a workspace keeps of what is in the log."""


class Attrs(msgspec.Struct, array_like=True):
    """One path's row. Times and the inode number hold for ``content`` only."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    content: str | None = None
    ino: int | None = None
    mtime_ns: int | None = None
    ctime_ns: int | None = None
    atime_ns: int | None = None
    xattrs: dict[bytes, bytes] | None = None
    shadowed: bool = False
    """Whether the file in scratch stands before the one in the log (it is above max-blob-mb)."""
    group: int | None = None
    """Names with the same number are hard links of one file, see `pwfs.fs.linking`."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Attrs).decode


class AttrTable:
    """A workspace's rows, all in memory, written behind."""

    def __init__(self, log: LogStore, workspace_id: WorkspaceId) -> None:
        self._log = log
        self._workspace_id = workspace_id
        self._rows = {path: _decode(row) for path, row in log.attr_rows(workspace_id).items()}
        self._unsaved: set[RepoPath] = set()
        self._saved_last: set[RepoPath] = set()
        self._group_of: dict[RepoPath, int] = {}
        self._groups: dict[int, set[RepoPath]] = {}
        for path, row in self._rows.items():
            self._regroup(path, row.group)

    def get(self, path: RepoPath) -> Attrs | None:
        """Finds a path's row."""
        return self._rows.get(path)

    def put(self, path: RepoPath, attrs: Attrs) -> None:
        """Sets a path's row, to be saved soon; also after changing it in place."""
        self._rows[path] = attrs
        self._unsaved.add(path)
        self._regroup(path, attrs.group)

    def share(self, path: RepoPath, attrs: Attrs) -> None:
        """Makes a path's row the same object as another's, with which it agrees already."""
        self._rows[path] = attrs

    def linked(self, path: RepoPath) -> list[RepoPath]:
        """The paths of a path's group, itself among them, in order; none if it is in none."""
        group = self._group_of.get(path)
        return [] if group is None else sorted(self._groups[group])

    def _regroup(self, path: RepoPath, group: int | None) -> None:
        before = self._group_of.get(path)
        if before == group:
            return
        if before is not None:
            del self._group_of[path]
            self._groups[before].discard(path)
            if not self._groups[before]:
                del self._groups[before]
        if group is not None:
            self._group_of[path] = group
            self._groups.setdefault(group, set()).add(path)

    def remove(self, path: RepoPath) -> None:
        """Removes a path's row, if there is one."""
        if self._rows.pop(path, None) is not None:
            self._unsaved.add(path)
            self._regroup(path, None)

    def move_below(self, old: RepoPath, new: RepoPath) -> None:
        """Moves the rows of a directory and all below it."""
        for path in [p for p in self._rows if p == new or is_under(p, new)]:
            self.remove(path)
        for path in [p for p in self._rows if p == old or is_under(p, old)]:
            row = self._rows[path]
            self.remove(path)
            self.put(RepoPath(new + path[len(old) :]), row)

    def exchange_below(self, one: RepoPath, other: RepoPath) -> None:
        """Exchanges the rows of two places and all below them."""
        moved: dict[RepoPath, Attrs] = {}
        for path in list(self._rows):
            for old, new in ((one, other), (other, one)):
                if path == old or is_under(path, old):
                    moved[RepoPath(new + path[len(old) :])] = self._rows[path]
                    self.remove(path)
        for path, row in moved.items():
            self.put(path, row)

    def save(self) -> None:
        """Writes what is not written yet, in one transaction."""
        if not self._unsaved:
            return
        with self._log.transaction():
            self._log.put_attrs(
                self._workspace_id,
                {path: _encode(self._rows[path]) for path in self._unsaved if path in self._rows},
            )
            for path in self._unsaved:
                if path not in self._rows:
                    self._log.delete_attr(self._workspace_id, path)
        self._saved_last, self._unsaved = self._unsaved, set()

    @contextmanager
    def saved_with(self, transaction: AbstractContextManager[object]) -> Iterator[None]:
        """Commits the rows that are changed inside together with a transaction, or not at all.

        What was changed is to be changed back by whoever did it if that is refused.
        """
        self._saved_last = set()
        try:
            with transaction:
                yield
                self.save()
        except BaseException:
            self._unsaved |= self._saved_last
            raise

    def try_to_save(self) -> None:
        """Does what `save` does, after something that cannot be taken back.

        What could not be written is in a moment, like other rows.
        """
        with contextlib.suppress(PatchworkError):
            self.save()

    def __iter__(self) -> Iterator[RepoPath]:
        return iter(self._rows)


def kept_time_ns(wanted_ns: int) -> int:
    """A time that a program sets as it is kept: beyond what ext4 holds, the last that it does.

    The kernel passes any number of seconds on, also such as no row and no ``stat`` could hold.
    """
    return min(max(wanted_ns, TIME_MIN_NS), TIME_MAX_NS)


def permissions(mode: Mode, kept: int | None) -> int:
    """The permission bits of a file: the kept ones, as far as the versioned bit allows."""
    is_executable = mode is Mode.EXECUTABLE
    if kept is None:
        return 0o755 if is_executable else 0o644
    if bool(kept & 0o100) == is_executable:
        return kept
    return kept | (kept & 0o444) >> 2 | 0o100 if is_executable else kept & ~0o111


def versioned_mode(bits: int) -> Mode:
    """What of permission bits the log keeps."""
    return Mode.EXECUTABLE if bits & 0o100 else Mode.FILE


def negative() -> EntryAttributes:
    """The answer that lets the kernel remember that a name does not exist."""
    attributes = EntryAttributes()
    attributes.st_ino = 0
    attributes.entry_timeout = CACHE_S
    return attributes


def entry_attributes(
    ino: int,
    mode: int,
    *,
    links: int,
    uid: int,
    gid: int,
    size: int,
    atime_ns: int,
    mtime_ns: int,
    ctime_ns: int,
    blocks: int | None = None,
) -> EntryAttributes:
    """Fills pyfuse3's structure; ``blocks`` (of 512 bytes) are as many as hold the size."""
    attributes = EntryAttributes()
    attributes.st_ino = ino
    attributes.entry_timeout = CACHE_S
    attributes.attr_timeout = CACHE_S
    attributes.st_mode = mode
    attributes.st_nlink = links
    attributes.st_uid = uid
    attributes.st_gid = gid
    attributes.st_size = size
    attributes.st_blocks = -(-size // BLOCK_BYTES) if blocks is None else blocks
    attributes.st_atime_ns = atime_ns
    attributes.st_mtime_ns = mtime_ns
    attributes.st_ctime_ns = ctime_ns
    return attributes
