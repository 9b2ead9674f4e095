"""The benchmarks of the daemon, end to end, on a few files."""

from hashlib import sha256
from pathlib import Path

import pytest

from bench.__main__ import read
from bench.daemon import append, busy, landing, memory
from bench.mount.calls import Timing
from bench.options import Options
from bench.project import serving
from bench.targets import TARGETS, print_verdicts


def test_opens_are_timed_with_and_without_requests(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Requests are answered meanwhile, and the target gets its verdict."""
    monkeypatch.setattr(busy, "QUICK", busy.Sizes(files=20, rounds=1, seconds=0.2))
    monkeypatch.setattr(busy, "RATE_PER_S", 50)
    monkeypatch.setattr(busy, "RATE_REACHED", 0.0)
    options = Options(quick=True)
    ratios = busy.main(tmp_path, options)
    assert set(ratios) == {(t.row, t.peer) for t in TARGETS if t.peer == busy.IDLE}
    kept = options.kept["busy"]
    assert isinstance(kept, dict)
    assert kept["answered_per_s"][0] > 0
    print_verdicts(ratios)
    assert "| p99 of a warm open, API at 500 requests/s |" in capsys.readouterr().out


def test_a_rate_that_was_not_reached_judges_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A machine that answers too few requests gets its figures, and no verdict."""
    timing = Timing(calls=1, seconds=1.0, p50_s=1.0, p99_s=1.0)
    timings = {(place, is_busy): [timing] for place in busy.PLACES for is_busy in (False, True)}
    found = busy.Found(timings, [busy.RATE_PER_S / 2])
    monkeypatch.setattr(busy, "measure", lambda *_: found)
    assert busy.main(tmp_path, Options()) == {}
    assert "too few to judge" in capsys.readouterr().out


def test_memory_is_told_after_each_step(tmp_path: Path) -> None:
    """A start, the first workspace, all workspaces, another one and what is captured in it."""
    steps = memory.measure(tmp_path, memory.Sizes(files=20, workspaces=2, ops=30))
    assert len(steps) == 5
    assert all(0 < step.now_mib <= step.peak_mib for step in steps)


def test_sqlite_gets_the_rows_that_the_log_has(tmp_path: Path) -> None:
    """As many rows are put into SQLite as operations were appended, each way."""
    found = append.measure(tmp_path, append.Sizes(ops=32, files=10, rounds=1))
    assert set(found) == {name for way in append.WAYS for name in (way.title, way.peer)}
    assert all(len(rates) == 1 and rates[0] > 0 for rates in found.values())
    rows = append.rows_of(tmp_path / "project" / ".patchwork" / "oplog.db", 0)
    assert len(rows) >= 32 * len(append.WAYS)


def test_the_same_edits_are_landed_and_merged(tmp_path: Path) -> None:
    """Main and the checkout hold the same files in the end."""
    found = landing.measure(tmp_path, landing.Sizes(files=40, changed=20, rounds=2))
    assert len(found.landed) == len(found.merged) == len(found.frozen) == len(found.committed) == 2
    with serving(tmp_path / "project") as project:
        entries = project.request("GET", "views/main/tree")["entries"]
    assert isinstance(entries, list)
    checkout = tmp_path / "checkout"
    assert {entry["path"]: entry["content_hash"] for entry in entries} == {
        str(file.relative_to(checkout)): sha256(file.read_bytes()).hexdigest()
        for file in checkout.glob("part*/*/*")
    }


def test_a_part_is_enough_to_name() -> None:
    """A part stands for the benchmark that it is of."""
    asked = read(["--quick", "landing"])
    assert asked.names == ("daemon",)
    assert asked.options.parts == ("landing",)
