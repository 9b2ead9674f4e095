"""One large file: from start to end, and 4 KiB at a time at random places."""

import os

from bench.mount.peers import Peer
from bench.mount.rows import Measured, Row, Scenario, Work, drop_caches, remove, settled

DIRECTORY = "large"
FILE = f"{DIRECTORY}/file"


def one_file(work: Work, peer: Peer) -> Measured:
    """A file is written and read, then read and written at random places."""
    place = peer.root / DIRECTORY
    remove(place)
    place.mkdir()
    peer.settle()
    # What the peer before wrote is not written back while this one is measured.
    os.sync()
    found = {**_from_start_to_end(work, peer), **_at_random(work, peer)}
    remove(place)
    peer.settle()
    return found


def _from_start_to_end(work: Work, peer: Peer) -> Measured:
    written = work.calls("write-large", FILE, work.sizes.large_mib, within=peer.root)
    rest_s = settled(peer)
    drop_caches()
    return {
        "write-large": written.seconds,
        "write-large-captured": written.seconds + rest_s,
        "read-large-cold": work.calls("read-large", FILE, within=peer.root).seconds,
        "read-large": work.calls("read-large", FILE, within=peer.root).seconds,
    }


def _at_random(work: Work, peer: Peer) -> Measured:
    number = work.sizes.random_calls
    drop_caches()
    cold = work.calls("read-random", FILE, number, within=peer.root)
    work.calls("read-large", FILE, within=peer.root)
    warm = work.calls("read-random", FILE, number, within=peer.root)
    written = work.calls("write-random", FILE, number, within=peer.root)
    rest_s = settled(peer)
    return {
        "read-random-cold": cold.each_s,
        "read-random": warm.each_s,
        "write-random": written.each_s,
        "write-random-captured": (written.seconds + rest_s) / number,
    }


SCENARIOS = (
    Scenario(
        (
            Row("write-large", "sequential write of a large file", "s"),
            Row("write-large-captured", "the same, until it is in the log", "s"),
            Row("read-large-cold", "sequential read of it, cold", "s"),
            Row("read-large", "sequential read of it, warm", "s"),
            Row("read-random-cold", "4 KiB at random places of it, read, cold", "µs"),
            Row("read-random", "the same, warm", "µs"),
            Row("write-random", "4 KiB at random places of it, written", "µs"),
            Row("write-random-captured", "the same, until it is in the log", "µs"),
        ),
        one_file,
        rounds_max=3,
    ),
)
