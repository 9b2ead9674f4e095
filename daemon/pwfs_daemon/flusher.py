"""Puts on disk, within seconds, what nobody asked to be durable, and keeps the log small.

What a program fsynced is on disk when its fsync returns. The rest would wait for the kernel, which
writes the log and the contents in no order; and whoever calls fsync next would pay for all of it.
"""

import trio

from pwfs.repo import Repository

FLUSH_S = 5.0
"""At most so much of what was never fsynced can a power failure take, as with ext4."""


async def keep_on_disk(repo: Repository) -> None:
    """Makes what was committed durable every few seconds, until cancelled."""
    committed = trio.Event()

    def wake() -> None:
        committed.set()

    duty = repo.health.duty("flusher", "what was written is not put on disk")
    unsubscribe = repo.subscribe(wake)
    try:
        while True:
            await committed.wait()
            await trio.sleep(FLUSH_S)
            committed = trio.Event()
            with duty.attempt() as attempt:
                await trio.to_thread.run_sync(repo.put_on_disk, repo.head_seq())
            if attempt.error is not None:
                # Nothing is lost by it as long as the machine runs.
                await trio.sleep(duty.pause_s())
                committed.set()
    finally:
        unsubscribe()
