"""Where the tour plays: a temporary copy of a repository, its commands, and the sweeping up."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BOLD, DIM, OFF = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")
OUTPUT_LINES_MAX = 14


class StageError(Exception):
    """The tour cannot go on; the text says why and what to do."""


class Stage:
    """A temporary directory with a copy of the code base, and `patchwork` to run in it."""

    def __init__(self, source: Path) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="patchwork-demo-"))
        self.project = self.directory / (source.name or "project")
        self.command = Path(sys.executable).parent / "patchwork"
        try:
            self._copy(source)
        except StageError:
            shutil.rmtree(self.directory)
            raise

    def _copy(self, source: Path) -> None:
        if not (source / ".git").exists():
            raise StageError(f"{source} is not the top of a git checkout; name one")
        cloned = subprocess.run(
            ["git", "clone", "--quiet", "--no-hardlinks", str(source), str(self.project)],
            capture_output=True,
            text=True,
            check=False,
        )
        if cloned.returncode:
            raise StageError(f"git cannot clone {source}: {cloned.stderr.strip()}")
        if not any(path.name != ".git" for path in self.project.iterdir()):
            raise StageError(f"{source} has no commit with files yet")

    def tell(self, title: str, text: str = "") -> None:
        """Prints a heading and a paragraph."""
        print(f"\n{BOLD}== {title}{OFF}")
        if text:
            print(textwrap.fill(" ".join(text.split()), 96))

    def show(self, command: str, output: str) -> None:
        """Prints a command and the beginning of what it printed."""
        print(f"{DIM}${OFF} {command}")
        lines = output.rstrip("\n").splitlines()
        for line in lines[:OUTPUT_LINES_MAX]:
            print(f"    {line[:150]}")
        if len(lines) > OUTPUT_LINES_MAX:
            print(f"    {DIM}… {len(lines) - OUTPUT_LINES_MAX} more lines{OFF}")

    def patchwork(self, *arguments: str, quiet: bool = False) -> str:
        """Runs a command as a user would type it and returns what it printed."""
        done = subprocess.run(
            [str(self.command), *arguments],
            cwd=self.project,
            capture_output=True,
            text=True,
            check=False,
        )
        if not quiet:
            words = (f'"{word}"' if " " in word else word for word in arguments)
            self.show("patchwork " + " ".join(words), done.stdout + done.stderr)
        if done.returncode:
            raise StageError(f"patchwork {arguments[0]} failed: {done.stderr.strip()}")
        return done.stdout

    def data(self, *arguments: str) -> Any:
        """Runs a command quietly with ``--json``."""
        return json.loads(self.patchwork(*arguments, "--json", quiet=True))

    def start(self, command: Sequence[str], directory: Path) -> subprocess.Popen[str]:
        """Starts an agent's process in its workspace; it reads its next order from us."""
        return subprocess.Popen(
            list(command),
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def watch(self, *types: str) -> subprocess.Popen[str]:
        """Follows all events of some types from the first on, one JSON object a line."""
        return subprocess.Popen(
            [str(self.command), "watch", "--since", "0", "--types", ",".join(types), "--json"],
            cwd=self.project,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )

    def sweep(self) -> list[str]:
        """Ends the daemon, removes everything and tells what could not be removed."""
        subprocess.run(
            [str(self.command), "serve", "--stop"],
            cwd=self.project if self.project.is_dir() else None,
            capture_output=True,
            check=False,
        )
        left = [mount for mount in mounts() if str(self.directory) in mount]
        if left:
            # Never remove files through a mount that somebody may still use.
            return left
        shutil.rmtree(self.directory, ignore_errors=True)
        if self.directory.exists():
            left.append(str(self.directory))
        return left


def mounts() -> list[str]:
    """The mount points of this machine."""
    rows = Path("/proc/self/mounts").read_text().splitlines()
    return [row.split()[1].encode().decode("unicode_escape") for row in rows]


def last_event(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Waits for the next event of a `Stage.watch`."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise StageError("the event stream ended")
    event: dict[str, Any] = json.loads(line)
    return event


def is_alive(pid: int) -> bool:
    """Whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
