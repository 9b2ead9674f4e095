"""Every expected failure, each with a stable code, typed fields and what to do next.

The doors (errno, problem documents, exit codes) map the ``category``, once each; a class's
``code`` is part of the interface and never changes.
"""

import errno as errno_module
from dataclasses import dataclass

from pwfs.model.failure import Category as Category
from pwfs.model.failure import PatchworkError as PatchworkError
from pwfs.model.queue_errors import AlreadyQueued as AlreadyQueued
from pwfs.model.queue_errors import NotIndependent as NotIndependent
from pwfs.model.queue_errors import StaleBase as StaleBase
from pwfs.model.queue_errors import TestCommandMissing as TestCommandMissing
from pwfs.model.queue_errors import TooManyQueued as TooManyQueued
from pwfs.model.queue_errors import TreeClosed as TreeClosed


@dataclass
class InvalidPath(PatchworkError):
    """A path that the code base cannot have."""

    path: str
    reason: str
    errno: int = errno_module.EINVAL
    code = "invalid_path"
    hint = "Give a path like 'src/app.py', relative to the top of the code base."

    @property
    def message(self) -> str:
        return f"The path {self.path!r} is not valid: {self.reason}"


@dataclass
class InvalidArgument(PatchworkError):
    """A value that the named parameter does not take."""

    name: str
    reason: str
    code = "invalid_argument"

    @property
    def message(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass
class EmptySlug(PatchworkError):
    """A title from which no id can be made."""

    title: str
    code = "empty_slug"
    hint = "Use a title with at least one ASCII letter or digit."

    @property
    def message(self) -> str:
        return f"The title {self.title!r} has no letter or digit to make an id of"


@dataclass
class NotFound(PatchworkError):
    """Something named does not exist."""

    kind: str
    id: str
    code = "not_found"
    category = Category.NOT_FOUND
    hint = "List what there is (for example `patchwork change list`) and check the spelling."

    @property
    def message(self) -> str:
        return f"There is no {self.kind} {self.id!r}"


@dataclass
class AlreadyExists(PatchworkError):
    """Something of that name is there already."""

    kind: str
    id: str
    code = "already_exists"
    category = Category.CONFLICT
    hint = "Choose another name."

    @property
    def message(self) -> str:
        return f"The {self.kind} {self.id!r} exists already"


@dataclass
class DirectoryNotEmpty(PatchworkError):
    """A workspace is to be put over files that would be hidden."""

    directory: str
    code = "directory_not_empty"
    category = Category.CONFLICT
    hint = "Name a directory that is empty or does not exist yet."

    @property
    def message(self) -> str:
        return f"The directory {self.directory} is not empty"


@dataclass
class IllegalTransition(PatchworkError):
    """A step that a change's life cycle does not have."""

    change_id: str
    before: str
    after: str
    code = "illegal_transition"
    category = Category.CONFLICT
    hint = "Look at `patchwork change show` for where it stands."

    @property
    def message(self) -> str:
        return f"Change {self.change_id} is {self.before}; it cannot become {self.after}"


@dataclass
class ChangeIsFinal(PatchworkError):
    """An edit of a change that landed or was abandoned."""

    change_id: str
    status: str
    code = "change_is_final"
    category = Category.CONFLICT
    hint = "Create a new change, or `patchwork workspace switch` to one that is open."

    @property
    def message(self) -> str:
        return f"Change {self.change_id} is {self.status} and takes no more edits"


@dataclass
class DependencyCycle(PatchworkError):
    """Dependencies that would have to land before themselves."""

    changes: tuple[str, ...]
    code = "dependency_cycle"
    category = Category.CONFLICT
    hint = "Drop one of these dependencies."

    @property
    def message(self) -> str:
        return "These changes would depend on each other: " + " -> ".join(self.changes)


@dataclass
class DependencyNotLanded(PatchworkError):
    """A change is submitted or landed before what it depends on."""

    change_id: str
    dependencies: tuple[str, ...]
    code = "dependency_not_landed"
    category = Category.CONFLICT
    hint = "Submit or land the dependencies first."

    @property
    def message(self) -> str:
        return f"Change {self.change_id} depends on {', '.join(self.dependencies)}, not landed yet"


@dataclass
class NothingToFreeze(PatchworkError):
    """A version is asked for and there is no edit it could hold."""

    change_id: str
    code = "nothing_to_freeze"
    category = Category.CONFLICT
    hint = "Edit a file in a workspace of the change first."

    @property
    def message(self) -> str:
        return f"Change {self.change_id} has no edits that a version could hold"


@dataclass
class Conflicted(PatchworkError):
    """A view, rebase or landing stops at conflicts; nothing was changed.

    ``conflicts`` holds one `pwfs.model.views.ConflictEvent` per path.
    """

    subject: str
    paths: tuple[str, ...]
    conflicts: tuple[object, ...] = ()
    code = "conflict"
    category = Category.CONFLICT
    hint = "Write the resolved files in a workspace of the change, then try again."

    @property
    def message(self) -> str:
        return f"{self.subject} conflicts in {', '.join(self.paths)}"


@dataclass
class Forbidden(PatchworkError):
    """The caller is known and may not do this."""

    action: str
    code = "forbidden"
    category = Category.FORBIDDEN
    hint = "Use an admin token."

    @property
    def message(self) -> str:
        return f"This token may not {self.action}"


@dataclass
class Unauthenticated(PatchworkError):
    """The caller did not say who it is."""

    code = "unauthenticated"
    category = Category.UNAUTHENTICATED
    hint = "Send 'Authorization: Bearer TOKEN'; the local one is in .patchwork/token."

    @property
    def message(self) -> str:
        return "A valid token is needed over TCP"


@dataclass
class TooLarge(PatchworkError):
    """A body or file above the configured size."""

    size_bytes: int
    size_bytes_max: int
    code = "too_large"
    category = Category.TOO_LARGE

    @property
    def message(self) -> str:
        return f"{self.size_bytes} bytes are more than the {self.size_bytes_max} allowed"


@dataclass
class NoSpace(PatchworkError):
    """The disk below the store is full; the write did not happen."""

    what: str
    code = "no_space"
    category = Category.NO_SPACE
    hint = "Free some room on the disk that holds .patchwork, then try again."

    @property
    def message(self) -> str:
        return f"The disk is full: {self.what}"


@dataclass
class NotARepository(PatchworkError):
    """No ``.patchwork`` directory is here or above."""

    directory: str
    code = "not_a_repository"
    category = Category.NOT_FOUND
    hint = "Run `patchwork init` there, or name a repository with -C DIR."

    @property
    def message(self) -> str:
        return f"{self.directory} is not inside a Patchwork repository"


@dataclass
class RepositoryExists(PatchworkError):
    """``init`` where a repository is already."""

    directory: str
    code = "repository_exists"
    category = Category.CONFLICT
    hint = "It is ready to use; `patchwork status` shows it."

    @property
    def message(self) -> str:
        return f"{self.directory} is a Patchwork repository already"


@dataclass
class NewerSchema(PatchworkError):
    """A database written by a newer Patchwork."""

    found: int
    supported: int
    code = "newer_schema"
    category = Category.UNAVAILABLE
    hint = "Install the newer Patchwork that wrote it; nothing was changed."

    @property
    def message(self) -> str:
        return f"The database has schema {self.found}; this Patchwork knows up to {self.supported}"


@dataclass
class RepositoryLocked(PatchworkError):
    """Another process holds the repository."""

    pid: int | None
    code = "repository_locked"
    category = Category.UNAVAILABLE
    hint = "Use that daemon, or stop it with `patchwork serve --stop` first."

    @property
    def message(self) -> str:
        holder = f" (pid {self.pid})" if self.pid else ""
        return f"Another daemon serves this repository{holder}"


@dataclass
class StoreBusy(PatchworkError):
    """The database stayed locked by another process."""

    code = "store_busy"
    category = Category.UNAVAILABLE
    hint = "Something else holds .patchwork/oplog.db open for writing; end it and try again."

    @property
    def message(self) -> str:
        return "The database is locked"


@dataclass
class StoreFailed(PatchworkError):
    """The disk refused to read or write what is stored."""

    what: str
    reason: str
    code = "store_failed"
    category = Category.UNAVAILABLE
    hint = (
        "Look at the disk below .patchwork (dmesg, smartctl). What was acknowledged is still there; "
        "open files are tried again."
    )

    @property
    def message(self) -> str:
        return f"{self.what} could not be read or written: {self.reason}"


@dataclass
class StoreReadOnly(PatchworkError):
    """The repository's disk, or its database, may only be read."""

    what: str
    code = "store_read_only"
    category = Category.UNAVAILABLE
    hint = "Mount the disk for writing, or give .patchwork back its permissions."

    @property
    def message(self) -> str:
        return f"{self.what} may only be read"


@dataclass
class BlobMissing(PatchworkError):
    """A content that the log names is not in the store."""

    blob_hash: str
    code = "blob_missing"
    category = Category.CORRUPT
    hint = "Run `patchwork fsck`, it tells what names this blob; restore it from a backup."

    @property
    def message(self) -> str:
        return f"Blob {self.blob_hash} is missing"


@dataclass
class BlobDamaged(PatchworkError):
    """A content that the log names cannot be read, or is not what its name says."""

    blob_hash: str
    reason: str
    code = "blob_damaged"
    category = Category.CORRUPT
    hint = "Run `patchwork fsck`, it tells what names this blob; restore it, or save it again."

    @property
    def message(self) -> str:
        return f"Blob {self.blob_hash} is damaged: it {self.reason}"


@dataclass
class Corrupt(PatchworkError):
    """Something stored is not what its name or the log says."""

    what: str
    code = "corrupt"
    category = Category.CORRUPT
    hint = "Run `patchwork fsck`."

    @property
    def message(self) -> str:
        return self.what


@dataclass
class MountUnavailable(PatchworkError):
    """The directory tree cannot be mounted."""

    reason: str
    advice: str
    code = "mount_unavailable"
    category = Category.UNAVAILABLE

    @property
    def message(self) -> str:
        return f"Cannot mount: {self.reason}. {self.advice}"


@dataclass
class HandoverRefused(PatchworkError):
    """What an earlier daemon handed over cannot be gone on with."""

    reason: str
    code = "handover_refused"
    category = Category.UNAVAILABLE

    @property
    def message(self) -> str:
        return f"The mount cannot be taken over: {self.reason}. It is made anew."


@dataclass
class AddressInUse(PatchworkError):
    """The address to serve on belongs to somebody else."""

    address: str
    code = "address_in_use"
    category = Category.UNAVAILABLE
    hint = "Choose another with --addr HOST:PORT (port 0 takes any free one)."

    @property
    def message(self) -> str:
        return f"The address {self.address} is in use"


@dataclass
class DaemonUnreachable(PatchworkError):
    """The daemon does not answer and could not be started."""

    reason: str
    code = "daemon_unreachable"
    category = Category.UNAVAILABLE
    hint = "See .patchwork/daemon.log, or run `patchwork serve` to watch it start."

    @property
    def message(self) -> str:
        return f"The daemon is not reachable: {self.reason}"
