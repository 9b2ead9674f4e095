"""The benchmark of new workspaces, end to end, on a few files."""

from pathlib import Path

import pytest

from bench.targets import TARGETS, WORKTREE, print_verdicts
from bench.worktree import LOOKED_AT, ROUNDS, measure, print_found


def test_listing_and_searching_are_of_different_workspaces(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Each step has its samples, and each target against a worktree gets its verdict."""
    found = measure(30, tmp_path)
    assert len(found.created) == ROUNDS
    assert len(found.listed) == len(found.searched) == LOOKED_AT
    assert len(found.added) == 2 * LOOKED_AT
    ratios = found.ratios()
    assert set(ratios) == {(t.row, t.peer) for t in TARGETS if t.peer == WORKTREE}
    print_found(30, found)
    print_verdicts(ratios)
    assert "| its first full grep -r, creation included |" in capsys.readouterr().out
