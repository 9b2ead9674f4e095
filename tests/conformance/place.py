"""A repository with its daemon in which an external suite runs, and what is checked afterwards.

Whatever the suite did: the daemon still answers and logged no warning, ``fsck`` is clean, what the
log says is what the mount shows, byte for byte, and after a restart of the daemon every file is
there with its bytes, mode, inode number and links.
"""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.project import Project, temporary_project
from tests.support.properties import LARGE_BYTES, problems_of
from tests.support.walking import Shown, walk

SCRATCH = "build"
"""The directory that the repository ignores."""
FSCK_TIMEOUT_S = 1800.0
"""A million writes leave gigabytes of contents, each of which is read."""
_SHOWN_MAX = 20


class Place:
    """A daemon, its workspaces, and the checks."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._workspaces: dict[str, Path] = {}

    def workspace(self, title: str, directory: Path | None = None) -> Path:
        """Makes a workspace for a suite, with the ignored directory; returns where it is."""
        change = self.project.json("change", "create", title)
        shown_as = () if directory is None else (directory,)
        made = self.project.json("workspace", "create", change["id"], *shown_as)
        found = directory or self.project.mount / "ws" / made["id"]
        self._workspaces[made["id"]] = found
        if (found / ".gitignore").exists():
            (found / SCRATCH).mkdir()
        return found

    def problems(self) -> Iterator[str]:
        """Everything that is not as it must be; restarts the daemon on the way."""
        for id_ in self._workspaces:
            self.project.patchwork("workspace", "scan", id_)
        for problem in self.project.json("fsck")["problems"]:
            yield f"fsck: {problem}"
        for problem in problems_of(self.project.directory, self.project.mount):
            yield f"log and mount: {problem}"
        before = {id_: _look(directory) for id_, directory in self._workspaces.items()}
        self.project.patchwork("serve", "--stop")
        self.project.patchwork("status")
        for id_, directory in self._workspaces.items():
            after = _look(directory)
            for path in sorted(before[id_].keys() | after.keys()):
                old, new = before[id_].get(path), after.get(path)
                if old != new:
                    yield f"restart: {id_}/{path} was {old}, is {new}"


@contextmanager
def place_in(directory: Path, *, is_empty: bool = False) -> Iterator[Place]:
    """Makes a repository in a new directory; ends its daemon afterwards and reads its log.

    In an empty one nothing is ignored: some tests list everything there is.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    with temporary_project(directory) as project:
        if not is_empty:
            (directory / ".gitignore").write_text(f"{SCRATCH}/\n")
        project.timeout_s = FSCK_TIMEOUT_S
        project.patchwork("init")
        project.patchwork("status")
        yield Place(project)


def finish(place: Place, failures: list[str]) -> int:
    """Prints what failed and what the checks find; gives the exit status."""
    failures = [*failures, *place.problems()]
    for failure in failures[:_SHOWN_MAX]:
        say(f"FAILED {failure}")
    say(f"{len(failures)} failures" if failures else "all is well")
    return 1 if failures else 0


def say(text: str) -> None:
    """Tells whoever runs the suite."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run(
    command: list[str | Path], cwd: Path, log: Path, *, timeout_s: float, **environment: str
) -> int:
    """Runs a suite's program with its output in a file; gives its exit status, 124 if too late."""
    with log.open("ab") as output:
        try:
            done = subprocess.run(
                command,
                cwd=cwd,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 124
    return done.returncode


def _look(top: Path) -> dict[str, tuple[Shown, int, int, int]]:
    found = {}
    for path, shown in walk(os.fspath(top), large_bytes=LARGE_BYTES):
        status = os.lstat(top / path)
        bits = stat.S_IMODE(status.st_mode)
        found[path] = shown, bits, status.st_ino, status.st_nlink
    return found
