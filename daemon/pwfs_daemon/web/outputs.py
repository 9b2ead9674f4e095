"""A running test's output: what there is, and what comes."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import trio

from pwfs.model.ids import AttemptId
from pwfs.model.queue import AttemptState
from pwfs_daemon.runner import output_path
from pwfs_daemon.web.services import Services

CHUNK_SIZE_BYTES = 64 * 1024
LOOK_AGAIN_S = 0.2


async def read_output(
    services: Services, attempt_id: AttemptId, *, follow: bool
) -> AsyncIterator[bytes]:
    """Yields what an attempt printed so far; with ``follow`` goes on until it ends.

    The file that grows is the beginning of the blob that is kept in the end, so what is missing
    when the file is gone is read from the blob.
    """
    path = output_path(services.repo.state_dir, attempt_id)
    offset = 0
    while True:
        attempt = services.repo.attempt(attempt_id)
        is_running = attempt.state is AttemptState.RUNNING
        if attempt.output_hash is not None:
            path = services.repo.blobs.path(attempt.output_hash)
        while chunk := await trio.to_thread.run_sync(_read, path, offset):
            offset += len(chunk)
            yield chunk
        if not (is_running and follow) or services.stopping.is_set():
            return
        with trio.move_on_after(LOOK_AGAIN_S):
            await services.stopping.wait()


def _read(path: Path, offset: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(descriptor, CHUNK_SIZE_BYTES, offset)
    finally:
        os.close(descriptor)
