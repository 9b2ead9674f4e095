"""Where a repository keeps what, and the lock that makes its daemon the only one."""

import fcntl
import hashlib
import os
import re
import secrets
from pathlib import Path

from pwfs.model.errors import NotARepository, RepositoryLocked
from pwfs.model.paths import RESERVED_NAME

NAME_LENGTH_MAX = 40
"""A Unix socket's path has room for 107 bytes."""
_UNREADABLE = re.compile(r"[^A-Za-z0-9._-]+")


class Layout:
    """The places below ``.patchwork``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / RESERVED_NAME

    @property
    def database(self) -> Path:
        """The log."""
        return self.state / "oplog.db"

    @property
    def blobs(self) -> Path:
        """The contents."""
        return self.state / "blobs"

    @property
    def durable(self) -> Path:
        """How far everything is known to be on disk."""
        return self.state / "durable"

    @property
    def config(self) -> Path:
        """The settings."""
        return self.state / "config.toml"

    @property
    def token(self) -> Path:
        """The local administrator's bearer token, mode 0600."""
        return self.state / "token"

    @property
    def work(self) -> Path:
        """What workspaces keep outside the log: open files, scratch, test output."""
        return self.state / "work"

    @property
    def name(self) -> str:
        """A readable name that no other directory of this machine has: ``NAME-HASH``."""
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:8]
        readable = _UNREADABLE.sub("-", self.root.name)[:NAME_LENGTH_MAX] or "root"
        return f"{readable}-{digest}"


def find_repository(start: Path) -> Path:
    """Finds the repository that a directory lies in, going upwards.

    Raises:
        NotARepository: none is there.
    """
    here = start.resolve()
    for directory in (here, *here.parents):
        if (directory / RESERVED_NAME / "oplog.db").is_file():
            return directory
    raise NotARepository(directory=str(start))


def write_token(path: Path) -> None:
    """Makes the administrator's token, readable by its owner only."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32) + "\n")


class RepositoryLock:
    """An exclusive lock held while a process writes to the repository."""

    def __init__(self, state: Path) -> None:
        self._descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise RepositoryLocked(pid=int(holder) if holder.isdigit() else None) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Lets the next process in."""
        os.close(self._descriptor)
