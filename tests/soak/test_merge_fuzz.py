"""A hundred thousand merges beside git's."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.merge.cases import first_disagreement

MERGES = 1_000_000 if os.environ.get("PATCHWORK_SOAK") == "1" else 100_000
PROCESSES = 2


@pytest.mark.soak
def test_merges_are_those_of_git(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Verdict, number of conflicts and text agree with ``git merge-file`` in every case."""
    seed = str(request.config.getoption("hypothesis_seed"))
    directories = [tmp_path / f"{number}" for number in range(PROCESSES)]
    for directory in directories:
        directory.mkdir()
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        found = pool.map(
            first_disagreement,
            directories,
            [f"{seed}/{number}" for number in range(PROCESSES)],
            [MERGES // PROCESSES] * PROCESSES,
        )
        assert [text for text in found if text] == []
