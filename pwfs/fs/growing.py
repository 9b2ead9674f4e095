"""The hash of a large file, made while it is written from its beginning to its end.

Such a file is hashed when it is closed, and that takes as long as writing it, almost. So what was
written is read again by a thread, on another processor, while the program goes on.
"""

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor

from pwfs.model.ids import BlobHash

STEP_BYTES = 16 << 20
"""So much is hashed at once, at the least; smaller files are hashed when they are closed."""
_CHUNK_BYTES = 1 << 20
_threads = ThreadPoolExecutor(2, thread_name_prefix="hash")


class Growth:
    """A file that was empty, and to which nothing was done but what `grew` was told of.

    Whoever changes anything else of it lets go of this first.
    """

    __slots__ = ("_digest", "_hashed", "_job", "end")

    def __init__(self) -> None:
        self.end = 0
        """How much was written; the next write is to begin there."""
        self._digest = hashlib.sha256()
        self._hashed = 0
        self._job: Future[None] | None = None

    def grew(self, fd: int, size: int) -> None:
        """Takes note of bytes that were written at the end."""
        self.end += size
        is_idle = self._job is None or self._job.done()
        if is_idle and self.end - self._hashed >= STEP_BYTES:
            copy = os.dup(fd)
            self._job = _threads.submit(self._hash_on, self._job, copy, self._hashed, self.end)
            self._hashed = self.end

    def _hash_on(self, before: "Future[None] | None", fd: int, offset: int, end: int) -> None:
        try:
            if before is not None:
                # If it failed, so does all that follows.
                before.result()
            self._read(fd, offset, end)
        finally:
            os.close(fd)

    def _read(self, fd: int, offset: int, end: int) -> None:
        while offset < end:
            chunk = os.pread(fd, min(_CHUNK_BYTES, end - offset), offset)
            if not chunk:
                raise EOFError
            self._digest.update(chunk)
            offset += len(chunk)

    def finish(self, fd: int, size: int) -> BlobHash | None:
        """Names the content, which has that size; None if it is to be read from the beginning.

        For a thread, once and for all: this is of no use any more then.
        """
        if self._job is None or size < self._hashed:
            return None
        try:
            self._job.result()
            self._read(fd, self._hashed, size)
        except (OSError, EOFError):
            return None
        return BlobHash(self._digest.hexdigest())
