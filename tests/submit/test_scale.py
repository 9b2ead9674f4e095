"""A plan for a thousand queued items is made in a moment."""

import time

import pytest

from pwfs.model.ids import ChangeId
from pwfs.submit import Policy, check_actions, plan
from tests.submit.world import World

ITEMS = 1_000
PLAN_S_MAX = 1.0
"""Far above what a plan takes; a plan that goes through all pairs takes longer."""


@pytest.mark.parametrize("has_rule", [False, True])
@pytest.mark.parametrize("policy", [Policy.WINDOW, Policy.TREE, Policy.BATCH])
def test_a_thousand_items_are_planned(policy: Policy, has_rule: bool) -> None:
    """With eight tests running and main about to move, with a rule and without."""
    world = World(policy=policy, max_speculative=8)
    for number in range(ITEMS):
        if has_rule:
            targets = frozenset({f"t{number % 97}", f"t{number % 31}"})
            world.targets[ChangeId(f"c{number}")] = targets
        world.submit(f"c{number}")
    world.settle()
    snapshot = world.snapshot()
    began_s = time.process_time()
    actions = plan(snapshot)
    took_s = time.process_time() - began_s
    check_actions(snapshot, actions)
    assert took_s < PLAN_S_MAX
