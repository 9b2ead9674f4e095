"""One run: the peers are made, and each scenario is measured for all of them, round by round."""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.mount import large, programs, reading, together, writing
from bench.mount.peers import Peer, make_peers
from bench.mount.report import Samples
from bench.mount.rows import Row, Scenario, Sizes, make_work
from bench.mount.tree import make_tree

SCENARIOS: tuple[Scenario, ...] = (
    *reading.SCENARIOS,
    *writing.SCENARIOS,
    *large.SCENARIOS,
    *together.SCENARIOS,
    *programs.SCENARIOS,
)
ROWS: tuple[Row, ...] = tuple(row for scenario in SCENARIOS for row in scenario.rows)


def chosen(names: Sequence[str]) -> tuple[Scenario, ...]:
    """The scenarios that measure the named rows; all if none is named."""
    if not names:
        return SCENARIOS
    return tuple(
        scenario for scenario in SCENARIOS if any(row.name in names for row in scenario.rows)
    )


def possible(scenarios: Sequence[Scenario]) -> tuple[Scenario, ...]:
    """Those whose programs this machine has; says which it leaves out."""
    found = []
    for scenario in scenarios:
        if scenario.needs is None or shutil.which(scenario.needs) is not None:
            found.append(scenario)
        else:
            names = ", ".join(row.name for row in scenario.rows)
            print(f"left out: {names}. There is no {scenario.needs} on this machine.\n")
    return tuple(found)


def measure(
    scenarios: Sequence[Scenario], *, rounds: int, sizes: Sizes, tiny: bool = False
) -> tuple[Samples, tuple[str, ...]]:
    """Measures; returns what was found, and the peers' names."""
    with ExitStack() as stack:
        room = Path(tempfile.mkdtemp(prefix="patchwork-bench-"))
        stack.callback(shutil.rmtree, room, ignore_errors=True)
        _say("making the tree and its copies")
        tree = make_tree(room, tiny=tiny)
        work = make_work(tree, room, sizes)
        peers = make_peers(tree, room, stack)
        samples = Samples()
        for number in range(rounds):
            for scenario in scenarios:
                if number < scenario.rounds_max:
                    _say(f"round {number + 1} of {rounds}: {scenario.rows[0].title}")
                    for peer in _in_turn(peers, number):
                        samples.add(peer.name, scenario.measure(work, peer))
        return samples, tuple(peer.name for peer in peers)


def _in_turn(peers: tuple[Peer, ...], number: int) -> tuple[Peer, ...]:
    """Another one begins in each round."""
    first = number % len(peers)
    return peers[first:] + peers[:first]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
