"""Views: a base, an ordered list of overlays, and what to do when they conflict."""

import enum
from dataclasses import dataclass
from datetime import datetime

from pwfs.model.entries import FileEntry, parse_mode
from pwfs.model.ids import SEQ_ZERO, AgentId, BlobHash, ChangeId, Seq, TreeHash, ViewId, WorkspaceId
from pwfs.model.paths import RepoPath


class ConflictPolicy(enum.StrEnum):
    """What a view does where its overlays cannot be merged."""

    WARN = "warn"
    LAST_WRITE = "last_write"
    MANUAL = "manual"


class BaseType(enum.StrEnum):
    """Whether a view's base stands still."""

    MAIN_AT_SEQ = "main_at_seq"
    MAIN_AT_LATEST = "main_at_latest"


@dataclass(frozen=True, slots=True)
class ViewBase:
    """Main, at its head or at ``seq`` (0 unless the type is ``main_at_seq``)."""

    type: BaseType
    seq: Seq = SEQ_ZERO


@dataclass(frozen=True, slots=True)
class Overlay:
    """A change laid over the base.

    ``version`` 0 means the newest version (the draft, where the change has none or the overlay is
    a workspace's own); with ``pin`` it stays at ``version``.
    """

    change_id: ChangeId
    version: int = 0
    pin: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """A composable projection of the code base."""

    id: ViewId
    owner: AgentId
    base: ViewBase
    overlays: tuple[Overlay, ...]
    conflict_policy: ConflictPolicy
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Workspace:
    """A writable, mounted view on one change, owned by one agent.

    ``directory`` is where the user asked for it (a bind mount or symbolic link to the place in
    the repository's mount), ``read_only`` is True once its change is final. A throw-away
    workspace of the submit queue has no view and no change: it shows the tree ``test_root``, and
    what is written in it is never logged.
    """

    id: WorkspaceId
    view_id: ViewId | None
    change_id: ChangeId | None
    agent_id: AgentId
    directory: str | None
    created_at: datetime
    last_scan_seq: Seq
    read_only: bool
    test_root: TreeHash | None = None


class ConflictType(enum.StrEnum):
    """The named kinds of conflict."""

    CONTENT = "content"
    ADD_ADD = "add_add"
    BINARY = "binary"
    SYMLINK = "symlink"
    MODE = "mode"
    DELETE_MODIFY = "delete_modify"
    MODIFY_DELETE = "modify_delete"
    RENAME_RENAME = "rename_rename"
    RENAME_DELETE = "rename_delete"
    RENAME_ADD = "rename_add"
    FILE_DIRECTORY = "file_directory"


@dataclass(frozen=True, slots=True)
class _ConflictSides:
    """Who meets whom on a path.

    ``conflicting_op`` is the last operation that made "theirs" (0 when none is known).
    """

    type: ConflictType
    path: RepoPath
    your_change: ChangeId
    your_version: int
    their_change: ChangeId | None
    conflicting_op: Seq


@dataclass(frozen=True, slots=True)
class ConflictEvent(_ConflictSides):
    """A conflict with its three contents, as a program receives it.

    Contents are text; bytes that are not UTF-8 appear as U+FFFD, an absent side as "".
    """

    base_content: str
    your_content: str
    their_content: str
    conflict_markers: str


@dataclass(frozen=True, slots=True)
class ConflictNote(_ConflictSides):
    """A conflict as it is stored: its contents by their names, None for an absent side.

    ``marked_hash`` is the text with conflict markers, None where the view shows a whole side.
    """

    base_hash: BlobHash | None
    your_hash: BlobHash | None
    their_hash: BlobHash | None
    marked_hash: BlobHash | None


@dataclass(frozen=True, slots=True)
class MaterializedFile:
    """One file of a materialized view."""

    path: RepoPath
    content_hash: BlobHash
    mode: str
    size: int
    is_conflict: bool = False
    conflict_info: ConflictEvent | None = None

    @property
    def entry(self) -> FileEntry:
        """The file as a tree lists it."""
        return FileEntry(self.content_hash, parse_mode(self.mode), self.size)


@dataclass(frozen=True, slots=True)
class FileTree:
    """A view's files at one moment; conflicted files appear in ``root`` as they are shown."""

    view_id: ViewId
    seq: Seq
    root: TreeHash
    entries: tuple[MaterializedFile, ...]
