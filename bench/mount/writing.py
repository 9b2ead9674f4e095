"""Writing small files, in a directory of the tree that is versioned in the workspace."""

from bench.mount.peers import Peer
from bench.mount.rows import Measured, Row, Scenario, Work, remove, settled

DIRECTORY = "written"
BYTES = 4096


def lives(work: Work, peer: Peer) -> Measured:
    """Files from their creation to their end, many of them at each step."""
    place = peer.root / DIRECTORY
    remove(place)
    place.mkdir()
    peer.settle()
    number = work.sizes.names
    found: dict[str, float] = {}
    for row, operation, size in (
        ("mkdir", "mkdir", 0),
        ("create", "create", BYTES),
        ("overwrite", "overwrite", BYTES),
        ("rename", "rename", 0),
        ("unlink", "unlink", 0),
    ):
        timing = work.calls(operation, DIRECTORY, number, size, within=peer.root)
        rest_s = settled(peer)
        found[row] = timing.each_s
        found[f"{row}-captured"] = (timing.seconds + rest_s) / number
    remove(place)
    peer.settle()
    return found


SCENARIOS = (
    Scenario(
        (
            Row("mkdir", "mkdir", "µs"),
            Row("create", "create+write 4 KiB+close", "µs"),
            Row("create-captured", "the same, until all are in the log", "µs"),
            Row("overwrite", "open+truncate+write 4 KiB+close", "µs"),
            Row("overwrite-captured", "the same, until all are in the log", "µs"),
            Row("rename", "rename", "µs"),
            Row("rename-captured", "the same, until all are in the log", "µs"),
            Row("unlink", "unlink", "µs"),
            Row("unlink-captured", "the same, until all are in the log", "µs"),
        ),
        lives,
    ),
)
