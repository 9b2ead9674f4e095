"""Puts on disk, within seconds, what nobody asked to be durable, and keeps the log small.

What a program fsynced is on disk when its fsync returns. The rest would wait for the kernel, which
writes the log and the contents in no order; and whoever calls fsync next would pay for all of it.
"""

import structlog
import trio

from pwfs.model.errors import PatchworkError
from pwfs.repo import Repository

log = structlog.get_logger(__name__)

FLUSH_S = 5.0
"""At most so much of what was never fsynced can a power failure take, as with ext4."""


async def keep_on_disk(repo: Repository) -> None:
    """Makes what was committed durable every few seconds, until cancelled."""
    committed = trio.Event()

    def wake() -> None:
        committed.set()

    unsubscribe = repo.subscribe(wake)
    try:
        while True:
            await committed.wait()
            await trio.sleep(FLUSH_S)
            committed = trio.Event()
            try:
                await trio.to_thread.run_sync(repo.put_on_disk, repo.head_seq())
            except (PatchworkError, OSError) as error:
                # Nothing is lost by it as long as the machine runs; the next round tries again.
                log.warning("what was written is not put on disk", error=str(error))
                committed.set()
    finally:
        unsubscribe()
