"""Directories that tests which passed left behind, for later tests to begin with.

The setting ``warm-scratch`` names them, because whoever set up the test says that what is in them makes
it quicker and cannot make it wrong: what a compiler or a package manager keeps. They are moved, never
copied, from the scratch of a workspace that is about to be removed to ``work/warm``, and from there into
the next one, so that no two tests have the same. A test that does not pass leaves nothing.

Whoever ran in the workspace may have put symbolic links anywhere in it; none is followed.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pwfs.model.paths import RepoPath

_STEP = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PARTIAL = ".partial"
_TAKEN = ".taken"
_FOR = "for"


@dataclass(frozen=True, slots=True)
class Warmth:
    """For what tests something is kept, those with this command and environment, and which paths."""

    command: str
    environment_hash: str
    paths: tuple[RepoPath, ...]

    def text(self) -> str:
        """Equal for equal ones only."""
        return json.dumps(asdict(self))


class WarmScratch:
    """The kept directories of one repository, newest last; for threads, one at a time.

    Each is ``work/warm/NUMBER/tree``, laid out as a workspace's scratch, and ``for``, which says for
    what tests it is.
    """

    def __init__(self, state_dir: Path) -> None:
        self._work = state_dir / "work"
        self._kept = self._work / "warm"

    def give(self, workspace_id: str, warmth: Warmth, free: Collection[RepoPath]) -> int | None:
        """Puts what was kept last into a new workspace; the number of the attempt that left it.

        Only at the ``free`` paths, where the tree that is shown has nothing. None if nothing of it
        was, or nothing is kept for such tests.
        """
        for number in reversed(self._numbers()):
            kept = self._kept / str(number)
            if (kept / _FOR).read_text() != warmth.text():
                continue
            taken = kept.with_name(f"{number}{_TAKEN}")
            kept.rename(taken)
            scratch = self._work / workspace_id / "tree"
            scratch.mkdir(parents=True, exist_ok=True)
            given = [p for p in warmth.paths if p in free and _move(taken / "tree", scratch, p)]
            shutil.rmtree(taken)
            return number if given else None
        return None

    def keep(self, workspace_id: str, warmth: Warmth, number: int, count_max: int) -> None:
        """Keeps what the test of an attempt, which passed, left; the last ``count_max`` stay."""
        partial = self._kept / f"{number}{_PARTIAL}"
        (partial / "tree").mkdir(parents=True)
        scratch = self._work / workspace_id / "tree"
        moved = [path for path in warmth.paths if _move(scratch, partial / "tree", path)]
        if moved:
            (partial / _FOR).write_text(warmth.text())
            partial.rename(self._kept / str(number))
        else:
            shutil.rmtree(partial)
        for old in self._numbers()[:-count_max]:
            shutil.rmtree(self._kept / str(old))

    def clear(self, *, keeps: bool) -> None:
        """Removes what a daemon was about to move when it ended; all if nothing is to be kept."""
        if not keeps:
            shutil.rmtree(self._kept, ignore_errors=True)
        elif self._kept.is_dir():
            for left in (*self._kept.glob(f"*{_PARTIAL}"), *self._kept.glob(f"*{_TAKEN}")):
                shutil.rmtree(left)

    def _numbers(self) -> list[int]:
        if not self._kept.is_dir():
            return []
        return sorted(int(entry.name) for entry in self._kept.iterdir() if entry.name.isdigit())


def _move(source: Path, target: Path, path: RepoPath) -> bool:
    """Moves a real directory from one place to the other; False if there is none."""
    *above, name = path.split("/")
    try:
        with _walked(source, above) as old, _walked(target, above, makes=True) as new:
            os.close(os.open(name, _STEP, dir_fd=old))
            os.rename(name, name, src_dir_fd=old, dst_dir_fd=new)
    except (FileNotFoundError, NotADirectoryError, FileExistsError):
        return False
    return True


@contextmanager
def _walked(root: Path, above: list[str], *, makes: bool = False) -> Iterator[int]:
    """The directory that some names lead to, none of which may be a symbolic link."""
    with ExitStack() as opened:

        def step(name: str | Path, fd: int | None) -> int:
            if makes and fd is not None:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=fd)
            below = os.open(name, _STEP, dir_fd=fd)
            opened.callback(os.close, below)
            return below

        fd = step(root, None)
        for name in above:
            fd = step(name, fd)
        yield fd
