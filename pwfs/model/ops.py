"""Operations, the rows of the log."""

import enum
from dataclasses import dataclass, field
from datetime import datetime

from pwfs.model.entries import FileEntry, Mode
from pwfs.model.ids import SEQ_ZERO, AgentId, BlobHash, ChangeId, Seq
from pwfs.model.paths import RepoPath


class OpType(enum.StrEnum):
    """The five file-level actions."""

    CREATE = "create"
    MODIFY = "modify"
    DELETE = "delete"
    RENAME = "rename"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Provenance:
    """The process that wrote."""

    pid: int
    command: str
    uid: int


@dataclass(frozen=True, slots=True)
class NewOp:
    """An operation before the log gave it a number.

    ``entry`` is the file after the operation (None for delete). ``base`` is what the view below
    this change's own edits held at ``old_path or path``'s origin when the writer read it, and
    ``base_seq`` main's position then: a later merge starts from them. ``replaced`` is what stood
    at a rename's target below the change. ``directory_rename`` names the directory move that a
    rename was part of. ``recovered`` marks bytes found after a crash, ``moved_from`` an operation
    re-recorded for a follow-up change or by a rebase.
    """

    op_type: OpType
    path: RepoPath
    entry: FileEntry | None
    old_path: RepoPath | None = None
    base: FileEntry | None = None
    base_seq: Seq = SEQ_ZERO
    replaced: FileEntry | None = None
    directory_rename: tuple[RepoPath, RepoPath] | None = None
    process: Provenance | None = None
    recovered: bool = False
    moved_from: Seq | None = None
    diff_hash: BlobHash | None = None


@dataclass(frozen=True, slots=True)
class Op:
    """One row of the log. ``version`` is the version the operation is collected for."""

    id: Seq
    timestamp: datetime
    agent_id: AgentId
    change_id: ChangeId
    version: int
    parent_seq: Seq
    new: NewOp = field(repr=False)

    @property
    def op_type(self) -> OpType:
        """What was done."""
        return self.new.op_type

    @property
    def path(self) -> RepoPath:
        """The path acted on; a rename's or copy's target."""
        return self.new.path

    @property
    def content_hash(self) -> BlobHash | None:
        """The content after the operation, None for a deletion."""
        return self.new.entry.content_hash if self.new.entry else None

    @property
    def mode(self) -> Mode | None:
        """The mode after the operation, None for a deletion."""
        return self.new.entry.mode if self.new.entry else None
