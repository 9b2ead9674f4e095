"""Where the bytes of an open file are: a blob, a private working file, or a file in scratch."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import trio

from pwfs.fs.disk import hash_file, write_all
from pwfs.fs.growing import Growth
from pwfs.fs.nodes import Node
from pwfs.model.ids import BlobHash
from pwfs.model.ops import Provenance
from pwfs.model.paths import RepoPath
from pwfs.repo.live import Seen


@dataclass(slots=True)
class Handle:
    """An open file: the node, the flags of ``open``, and who opened it.

    ``pid`` is the thread that did. ``process`` is known of who may write. ``has_written`` is set by
    the first write through it.
    """

    node: Node
    flags: int
    pid: int
    process: Provenance | None = None
    has_written: bool = False

    @property
    def may_write(self) -> bool:
        """Whether it was opened for writing."""
        return self.flags & os.O_ACCMODE != os.O_RDONLY


@dataclass(slots=True)
class Content:
    """The descriptor behind a node, shared by all its handles.

    A blob's bytes never change, so ``working`` (the private file's name) is None for one; the
    first write makes a private copy. ``is_dirty`` says that something in it is not logged yet,
    ``is_sealed`` that the working file may be a blob already, so that it must not be written any
    more. ``seen`` is what the writer started from, ``seen_at`` the same of a file's further names.
    ``busy`` is set while a thread copies or hashes: nobody else may write then. ``growth`` hashes a
    file that is written in order, and is let go of by who changes it in any other way.
    """

    fd: int
    working: Path | None = None
    is_scratch: bool = False
    is_dirty: bool = False
    is_sealed: bool = False
    written_at: float = 0.0
    seen: Seen | None = None
    seen_at: dict[RepoPath, Seen] = field(default_factory=dict)
    writer: Provenance | None = None
    busy: trio.Event | None = None
    growth: Growth | None = None

    @property
    def is_writable(self) -> bool:
        """Whether bytes may be written straight into it."""
        return self.is_scratch or (self.working is not None and not self.is_sealed)

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return os.fstat(self.fd).st_size

    def write(self, data: bytes, offset: int) -> int:
        """Writes all of the data; raises OSError when not even a part fits any more."""
        if self.growth is not None and offset != self.growth.end:
            self.growth = None
        written = write_all(self.fd, data, offset)
        if self.growth is not None:
            self.growth.grew(self.fd, written)
        return written

    def hash(self, size: int) -> BlobHash:
        """Names the bytes of a working file of that size, which nobody writes meanwhile.

        Raises:
            FUSEError: it is shorter (EIO).
        """
        growth, self.growth = self.growth, None
        grown = growth.finish(self.fd, size) if growth is not None else None
        return grown or hash_file(self.fd, size)

    def close(self) -> None:
        """Closes the descriptor."""
        os.close(self.fd)
