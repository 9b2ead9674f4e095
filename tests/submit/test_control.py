"""Who goes first, and what lands while the tree is closed."""

from hypothesis import given
from hypothesis import strategies as st

from pwfs.model.queue import ItemState
from pwfs.submit import Policy
from tests.submit.trees import Edit
from tests.submit.world import World


def test_a_closed_tree_tests_and_ejects_but_lands_nothing() -> None:
    """What passed meanwhile lands when the tree is opened, without another test."""
    world = World(max_speculative=3)
    world.change("b", Edit("b", None, "bad"))
    for name in "bac":
        world.submit(name)
    world.closed = True
    world.release_all()
    assert world.states() == {"b": "test_failed", "a": "queued", "c": "queued"}
    tested = len(world.attempts) - len(world.sources)
    world.closed = False
    world.settle()
    assert world.landed_names() == "a c"
    assert len(world.attempts) - len(world.sources) == tested


def test_what_jumps_lands_while_the_tree_is_closed_and_takes_along_what_it_needs() -> None:
    """The mending of a broken main does not wait for those whom it keeps waiting."""
    world = World(max_speculative=2)
    world.submit("a")
    world.submit("b")
    world.change("c", after=["b"])
    world.closed = True
    world.jump(world.submit("c"))
    world.release_all()
    assert world.landed_names() == "b c"
    assert world.states()["a"] == "queued"


def test_of_two_that_jump_the_first_to_do_so_is_first() -> None:
    """Nobody can push back who jumped before, whatever the priorities."""
    world = World()
    world.submit("a", priority=100)
    later = world.submit("b", priority=50)
    world.jump(world.submit("c"))
    world.settle()
    world.jump(later)
    world.release_all()
    assert world.landed_names() == "c b a"


def test_a_batch_does_not_carry_others_into_a_closed_tree() -> None:
    """Only a prefix of which every item may land does."""
    world = World(policy=Policy.BATCH)
    world.closed = True
    first = world.submit("a")
    world.submit("b")
    world.jump(first)
    world.release_all()
    assert "b" not in world.landed_names()
    world.closed = False
    world.release_all()
    assert world.landed_names() == "a b"


def test_who_waits_for_long_enough_is_as_urgent_as_who_comes() -> None:
    """Others of a priority two levels higher keep coming; after twice the step it is its turn."""
    world = World(ageing=3)
    patient = world.submit("patient")
    for number in range(20):
        world.submit(f"n{number:02}", priority=2)
        world.settle()
        world.release(next(iter(world.testing())))
        if world.items[patient].state is not ItemState.QUEUED:
            break
    assert world.items[patient].state is ItemState.LANDED
    assert len(world.landed_names().split()) == 7


def test_without_ageing_it_waits_for_good() -> None:
    """A step of 0 means what the priorities say."""
    world = World()
    patient = world.submit("patient")
    for number in range(20):
        world.submit(f"n{number:02}", priority=2)
        world.settle()
        world.release(next(iter(world.testing())))
    assert world.items[patient].state is ItemState.QUEUED


def test_agents_land_in_turn() -> None:
    """Whoever submits one change does not wait for all of somebody's many."""
    world = World(fair_share=True)
    for name in "abcd":
        world.submit(name, agent="many")
    world.submit("x", agent="few")
    world.submit("y", agent="other")
    world.submit("z", agent="few")
    world.release_all()
    assert world.landed_names() == "a x y b z c d"


def test_a_share_does_not_outweigh_a_priority() -> None:
    """Turns are taken among equals only."""
    world = World(fair_share=True)
    world.submit("a", agent="many")
    world.submit("b", agent="many", priority=1)
    world.submit("c", agent="many", priority=1)
    world.submit("x", agent="few")
    world.release_all()
    assert world.landed_names() == "b c a x"


@given(st.lists(st.sampled_from(["many", "some", "few", None]), max_size=40))
def test_nobody_is_overtaken_for_long(steps: list[str | None]) -> None:
    """Of whatever is submitted while others land (None), an agent's item lets pass one of each.

    So many at most of each other agent's: those before it when it came, in turn with its own.
    """
    world = World(fair_share=True)
    agents = {"many": 0, "some": 0, "few": 0}
    came_at: dict[str, dict[str, int]] = {}
    for step in steps:
        if step is None:
            world.settle()
            for name in list(world.testing())[:1]:
                world.release(name)
            continue
        own = sum(item.agent_id == step for item in world.queued())
        name = f"{step}{agents[step]}"
        agents[step] += 1
        world.submit(name, agent=step)
        landed = world.landed_names().split()
        came_at[name] = {each: own + 1 for each in agents if each != step}
        came_at[name] |= {f"landed {each}": _of(landed, each) for each in agents}
    world.release_all()
    order = world.landed_names().split()
    for name, told in came_at.items():
        before = order[: order.index(name)]
        for agent in agents:
            if not name.startswith(agent):
                assert _of(before, agent) - told[f"landed {agent}"] <= told[agent] + 1


def _of(names: list[str], agent: str) -> int:
    return sum(name.startswith(agent) for name in names)
