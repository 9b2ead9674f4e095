"""What a save and its comparisons made of objects goes when they are over."""

import gc
from collections import Counter

from pwfs.model.paths import RepoPath
from pwfs.repo.repository import Repository
from tests.repo.support import rename, workspace_on, write

SAVES = 20


def test_saves_leave_nothing_to_the_garbage_collector(repo: Repository) -> None:
    """Views come and go with every save: what refers to itself would stay until a full collection."""
    one, two = workspace_on(repo, "One"), workspace_on(repo, "Two")
    write(repo, one, "README", "one\n")
    rename(repo, two, "src/b.py", "src/c.py")
    gc.collect()
    gc.disable()
    try:
        for number in range(SAVES):
            write(repo, two, "README", f"{number}\n")
            write(repo, two, "src/c.py", f"{number}\n")
            repo.detect_conflicts("two", [RepoPath("README"), RepoPath("src/c.py")])
            repo.conflicts("one")
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = Counter(type(each).__name__ for each in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left.total() < SAVES, left
