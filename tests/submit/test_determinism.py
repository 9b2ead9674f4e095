"""Same log, same decisions: nothing but the snapshot decides, not the order in which sets are walked."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pwfs.submit import Action, Policy, Snapshot, plan
from tests.submit.test_state_machine import stroll
from tests.submit.world import World

ROOT = Path(__file__).resolve().parents[2]
STEPS = 60


def decisions(policy: Policy, seed: int) -> list[Action]:
    """What the queue did on a walk."""
    return stroll(policy, seed, STEPS).world.history


@pytest.mark.parametrize("policy", Policy)
def test_other_processes_decide_the_same(policy: Policy) -> None:
    """Hashes of strings differ from process to process, and with them the order of sets."""
    told = {
        subprocess.run(
            [sys.executable, "-m", "tests.submit.test_determinism", policy],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in (".", "daemon", "cli")),
            },
            capture_output=True,
            check=True,
            timeout=50,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(told) == 1


def turned(snapshot: Snapshot) -> Snapshot:
    """The same snapshot, its parts in another order where the order says nothing."""
    return replace(
        snapshot,
        items=snapshot.items[::-1],
        dependencies=dict(list(snapshot.dependencies.items())[::-1]),
        compositions=dict(list(snapshot.compositions.items())[::-1]),
        targets=dict(list(snapshot.targets.items())[::-1]),
        passed=dict(list(snapshot.passed.items())[::-1]),
    )


@pytest.mark.parametrize("policy", Policy)
def test_equal_snapshots_give_equal_plans(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every snapshot of a walk is planned twice, in two orders."""
    seen: list[Snapshot] = []
    taken = World.snapshot

    def snapshot(world: World) -> Snapshot:
        seen.append(taken(world))
        return seen[-1]

    monkeypatch.setattr(World, "snapshot", snapshot)
    stroll(policy, 7, STEPS)
    assert len(seen) >= STEPS
    for each in seen:
        assert plan(turned(each)) == plan(each)


if __name__ == "__main__":
    for walk in range(3):
        text = repr(decisions(Policy(sys.argv[1]), walk)).encode()
        sys.stdout.write(hashlib.sha256(text).hexdigest() + "\n")
