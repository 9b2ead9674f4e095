"""Git's hook under thousands of edits."""

import os
from pathlib import Path

import pytest

from tests.system.conftest import FILES
from tests.system.gitwork import edit_at_random
from tests.system.people import system_in

STEPS = 3_000 if os.environ.get("PATCHWORK_SOAK") == "1" else 300


@pytest.mark.soak
@pytest.mark.parametrize("untracked_cache", [False, True])
def test_git_says_the_same_for_long(tmp_path: Path, untracked_cache: bool) -> None:
    """What `test_git_says_the_same_as_without_the_hook` promises, for longer."""
    with system_in(tmp_path / "repo", FILES) as system:
        edit_at_random(system, tmp_path, STEPS, untracked_cache=untracked_cache)
