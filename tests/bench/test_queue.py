"""The simulator of the queue agrees with what is known in closed form, and treats policies alike."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from statistics import mean

import pytest

from bench.options import Options
from bench.queue import main
from bench.queue.measure import ORACLE, Job, estimate, simulate
from bench.queue.plot import Curve, draw
from bench.queue.scenarios import AGENTS_100, TREE, TREE_RETRY, WINDOW
from bench.queue.trace import Trace, Workload
from bench.queue.trace import draw as uniform
from pwfs.submit import History, Policy
from pwfs.submit.simulation import Outcome, Simulation, by_oracle
from tests.submit.trees import Edit
from tests.submit.world import World

ALL_GOOD = Workload(
    workers=8,
    spread=0.0,
    own_failures=0.0,
    pair_conflicts=0.0,
    warm_h=5.0,
    measured_h=300.0,
    tick_s=0.0,
)
D_S = ALL_GOOD.median_s


def run(workload: Workload, policy: Policy, *, has_rule: bool = False, seed: int = 1) -> Outcome:
    return Simulation(Trace(workload, seed), policy, has_rule=has_rule).run()


def waits_s(outcome: Outcome) -> list[float]:
    return [end.decided_s - end.entered_s for end in outcome.decided]


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_linear_is_m_d_1(load: float) -> None:
    """Poisson arrivals, one test of fixed length at a time: Pollaczek and Khinchine's mean."""
    workload = replace(ALL_GOOD, rate_per_h=load * 3600.0 / D_S, measured_h=700.0)
    found = mean(mean(waits_s(run(workload, Policy.LINEAR, seed=seed))) for seed in (1, 2, 3))
    expected = D_S + load * D_S / (2.0 * (1.0 - load))
    assert found == pytest.approx(expected, rel=0.08)


def test_a_full_window_lands_its_width_a_test() -> None:
    """Where all pass and many wait, as many land in a test's time as may run at once."""
    workload = replace(ALL_GOOD, agents=40, think_s=1.0, measured_h=20.0)
    outcome = run(workload, Policy.WINDOW)
    assert len(outcome.decided) / outcome.hours == pytest.approx(8 * 3600.0 / D_S, rel=0.02)
    assert outcome.tests == pytest.approx(len(outcome.decided), rel=0.02)


def test_independent_changes_do_not_wait() -> None:
    """Where nobody shares a target, and workers suffice, everybody is tested once, at once."""
    workload = replace(
        ALL_GOOD, workers=500, rate_per_h=60.0, targets=10_000, more_targets=0.0, measured_h=20.0
    )
    outcome = run(replace(workload, own_failures=0.2), Policy.TREE, has_rule=True)
    waits = waits_s(outcome)
    assert sum(wait == pytest.approx(D_S) for wait in waits) > 0.99 * len(waits)
    assert outcome.tests == pytest.approx(len(waits), rel=0.01)


@pytest.mark.parametrize("culprit", range(16))
def test_bisection_finds_one_of_sixteen(culprit: int) -> None:
    """One test of all, four halvings, and one test of those behind the culprit."""
    world = World(policy=Policy.BATCH, history_counts=History(passed=10_000))
    for number in range(16):
        word = "bad" if number == culprit else "good"
        world.change(f"c{number}", Edit(f"c{number}", None, word))
        world.submit(f"c{number}")
    world.release_all()
    tests = len([attempt for attempt in world.attempts if attempt not in world.sources])
    assert tests == 1 + 4 + (culprit < 15)
    assert len(world.landed) == 15


def test_all_policies_meet_the_same_changes() -> None:
    """A change, a pair and a flake are drawn by keys, not in an order."""
    one, other = Trace(AGENTS_100, 3), Trace(AGENTS_100, 3)
    later = one.change(7, 5)
    assert other.change(1, 1) == one.change(1, 1)
    assert other.change(7, 5) == later
    assert one.disagree(later, one.change(1, 1)) == one.disagree(one.change(1, 1), later)
    assert Trace(AGENTS_100, 4).change(7, 5) != later
    drawn = [uniform(1, 2, number) for number in range(10_000)]
    assert mean(drawn) == pytest.approx(0.5, abs=0.02)
    assert sum(value < 0.1 for value in drawn) == pytest.approx(1_000, abs=150)


def test_own_failures_leave_and_all_others_land() -> None:
    """Without conflicts what lands are the changes that are good, whatever the policy."""
    workload = replace(
        ALL_GOOD, agents=20, think_s=600.0, own_failures=0.2, workers=64, measured_h=10.0
    )
    for policy in (Policy.WINDOW, Policy.BATCH, Policy.TREE):
        outcome = run(workload, policy)
        assert not any(end.is_false or end.is_red for end in outcome.decided)
        landed = sum(end.is_landed for end in outcome.decided)
        assert landed / len(outcome.decided) == pytest.approx(0.8, abs=0.1)


def test_no_red_main_with_a_sound_analyzer() -> None:
    """Main is red only where the analyzer called two independent that were not."""
    workload = replace(AGENTS_100, pair_conflicts=0.3, measured_h=4.0)
    for policy in (Policy.WINDOW, Policy.TREE):
        assert not any(end.is_red for end in run(workload, policy, has_rule=True).decided)
    missing = replace(workload, missed=0.5)
    assert any(end.is_red for end in run(missing, Policy.TREE, has_rule=True).decided)


def test_the_oracle_tests_each_change_once() -> None:
    """It knows what will land, so nothing is tested in vain, and nobody is faster."""
    workload = AGENTS_100.for_hours(1.0, 3.0)
    oracle = Simulation(Trace(workload, 1), Policy.TREE, has_rule=True, wisher=by_oracle).run()
    assert oracle.tests == pytest.approx(len(oracle.decided), rel=0.02)
    peers = {job: simulate(Job(job, workload, 1)) for job in (WINDOW, TREE)}
    assert peers[WINDOW].landed_per_h < peers[TREE].landed_per_h
    assert peers[TREE].p95 >= simulate(Job(ORACLE, workload, 1)).p95 * 0.9


def test_retries_keep_innocents() -> None:
    """With flakes a retry ejects far fewer that nothing is wrong with."""
    workload = replace(AGENTS_100, flakes=0.1).for_hours(1.0, 4.0)
    without, with_one = (simulate(Job(job, workload, 1)) for job in (TREE, TREE_RETRY))
    assert with_one.false_ejections < without.false_ejections / 3


def test_figures_have_intervals() -> None:
    """Half the 95 % interval of a mean, by Student."""
    assert estimate([1.0, 2.0, 3.0]).mean == 2.0
    assert estimate([1.0, 2.0, 3.0]).half == pytest.approx(2.484, abs=0.01)
    assert str(estimate([150.0, 150.0])) == "150 ± 0"
    assert str(estimate([1.0])) == "1.00"


def test_a_scenario_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """A table with a row for each contender; the figures are kept for --json."""
    options = Options(scenarios=("unsound",), seeds=1, quick=True)
    main(options)
    printed = capsys.readouterr().out
    assert "| oracle |" in printed
    assert "| tree, rule |" in printed
    assert "queue unsound" in options.kept


def test_a_picture_is_svg() -> None:
    """A chart is well-formed and has a line for each curve."""
    picture = draw("a < b", "x", ("1", "2"), [Curve("one", (0.1, 0.9)), Curve("two", (1.0, 0.5))])
    root = ElementTree.fromstring(picture)
    assert sum(element.tag.endswith("polyline") for element in root) == 2
