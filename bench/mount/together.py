"""Several places that show the same tree, read at once by a process each."""

from bench.mount.peers import Peer
from bench.mount.rows import Measured, Row, Scenario, Work


def together(work: Work, peer: Peer) -> Measured:
    """Seconds until the last of the readers, who begin at one moment, has read its place's files."""
    places = [peer.another(work.some) for _ in range(work.sizes.together)]
    work.calls("together", work.some_names, 1, *places, within=work.room)
    passes = work.sizes.together_passes
    timing = work.calls("together", work.some_names, passes, *places, within=work.room)
    return {"together": timing.seconds}


SCENARIOS = (
    Scenario(
        (Row("together", "eight places read at once, warm", "ms"),),
        together,
        # Each round makes places anew, and they stay mounted until the run's end.
        rounds_max=3,
    ),
)
