"""The benchmark of the mount, end to end, on a tree of a few files."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.mount.report import Samples, print_table
from bench.mount.rows import TINY
from bench.mount.run import ROWS, chosen, measure, possible
from bench.targets import TARGETS, Target, print_verdicts, verdict
from tests.support.project import mount_points

SECOND_ROUND = ("stat", "mkdir")
PEERS = ("ext4", "fuse-overlayfs", "bindfs", "patchwork")


@pytest.mark.timeout(180)
@pytest.mark.xdist_group("caches")
def test_every_row_is_measured_and_nothing_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each row has a time of every peer, of each round; no mount outlives the run."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    # Installers, and emptying the machine's caches, take their time however little there is to do.
    scenarios = [
        scenario if scenario.rows[0].name in SECOND_ROUND else replace(scenario, rounds_max=1)
        for scenario in chosen(())
    ]
    twice = {row.name for scenario in chosen(SECOND_ROUND) for row in scenario.rows}
    samples, peers = measure(scenarios, rounds=2, sizes=TINY, tiny=True)
    assert peers == PEERS
    for record in samples.as_json(ROWS, peers):
        seconds = record["seconds"]
        assert isinstance(seconds, dict)
        for peer in peers:
            assert len(seconds[peer]) == (2 if record["row"] in twice else 1), record["row"]
            assert all(value > 0 for value in seconds[peer]), (record["row"], peer)
    assert [point for point in mount_points() if point.startswith(str(tmp_path))] == []
    print_table(samples, ROWS, peers)
    print_verdicts(samples.ratios(ROWS, peers))
    printed = capsys.readouterr().out
    assert all(row.title in printed for row in ROWS)
    assert "| warm stat | ext4 | 1.3 |" in printed


def test_rows_are_chosen_with_what_they_follow_from() -> None:
    """A named row is measured by its scenario, and no other scenario runs."""
    (scenario,) = chosen(["rename"])
    assert {"create", "rename"} <= {row.name for row in scenario.rows}


def test_a_missing_program_leaves_its_rows_out_and_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where npm is not installed, everything else is measured."""
    monkeypatch.setenv("PATH", "")
    left = possible(chosen(["npm", "find"]))
    assert [row.name for scenario in left for row in scenario.rows] == ["find"]
    assert "left out: npm. There is no npm" in capsys.readouterr().out


def test_a_ratio_is_of_medians() -> None:
    """Patchwork's median over the peer's, whatever one slow round took."""
    samples = Samples()
    for ours, theirs in ((2.0, 1.0), (2.0, 1.0), (9.0, 50.0)):
        samples.add("patchwork", {"stat": ours})
        samples.add("ext4", {"stat": theirs})
    assert samples.ratio("stat", "ext4") == 2.0


def test_a_missed_target_says_by_how_much() -> None:
    """Within the bound is met; beyond it, the factor above the bound is told."""
    target = Target("warm stat", "stat", "ext4", 1.3)
    assert verdict(target, 1.3).endswith("| met |")
    assert verdict(target, 2.6).endswith("| missed, 2.00 times too slow |")


def test_targets_name_rows_that_are_measured() -> None:
    """No target of the mount's peers waits for a row that nothing measures."""
    names = {row.name for row in ROWS}
    assert {t.row for t in TARGETS if t.peer in PEERS and t.row in names}
