"""The tutorial is typed as it stands there, and must print what it shows.

Each ``$ `` line of a ``console`` block is a command, ``> `` lines go on with it, and all lines up to
the next command are what a terminal shows then. What differs from one run to the next (moments,
ports, processes, mount points, numbers derived from a path) is replaced by a marker on both sides
before they are compared; a line ``...`` stands for any number of lines.
"""

import contextlib
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.project import Project, mount_points, unmount

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"
PYTHONPATH = os.pathsep.join(str(ROOT / part) for part in (".", "daemon", "cli"))
COMMAND_LIMIT_S = 40.0
TUTORIAL_LIMIT_S = 180
HOME_IN_TEXT = "/home/ada"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARKERS = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "<time>"),
    (re.compile(r"\S+/patchwork/(?:run/)?shop-[0-9a-f]{8}"), "<mount>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<address>"),
    (re.compile(r"\bpid \d+"), "<pid>"),
    # A request that was under way when the daemon was killed is answered by the second.
    (re.compile("Transport endpoint is not connected|Software caused connection abort"), "<dead>"),
)


@dataclass(frozen=True)
class Step:
    """A command of the tutorial, what it shows, and the line where it stands."""

    line: int
    command: str
    shown: str


def read_steps(text: str) -> list[Step]:
    """Finds the commands of a document."""
    steps: list[Step] = []
    for block in BLOCK.finditer(text):
        number = text.count("\n", 0, block.start(1)) + 1
        command: list[str] = []
        shown: list[str] = []
        begun = number
        for offset, line in enumerate(block[1].splitlines()):
            if line.startswith("$ "):
                if command:
                    steps.append(Step(begun, "\n".join(command), "\n".join(shown)))
                command, shown, begun = [line[2:]], [], number + offset
            elif line.startswith("> ") or line == ">":
                assert command and not shown, f"line {number + offset} continues no command"
                command.append(line[2:])
            else:
                shown.append(line)
        assert command, f"the block at line {number} has no command"
        steps.append(Step(begun, "\n".join(command), "\n".join(shown)))
    return steps


class Terminal:
    """A shell on a pseudo-terminal: directory, variables and exit status outlive each command."""

    def __init__(self, home: Path, variables: dict[str, str]) -> None:
        self._status = 0
        self._variables = variables
        self._state = home.parent / "state"
        self._state.write_text(f"cd '{home}'\n")

    def type(self, command: str) -> str:
        """Runs a command; returns what the terminal shows."""
        script = (
            f'. "{self._state}"\nset -a\n(exit {self._status})\n{command}\ncode=$?\n'
            f"{{ export -p; echo \"cd '$PWD'\"; }} >'{self._state}'\nexit $code\n"
        )
        ours, theirs = os.openpty()
        screen = os.fdopen(ours, "rb", buffering=0)
        process = subprocess.Popen(
            ["/bin/bash", "-c", script],
            env=self._variables,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        with screen, process:
            try:
                shown = _read(ours, command)
                self._status = process.wait(COMMAND_LIMIT_S)
            finally:
                process.kill()
        return shown.decode().replace("\r\n", "\n")


def _read(descriptor: int, command: str) -> bytes:
    """Reads until nobody has the terminal open any more."""
    content = b""
    deadline = time.monotonic() + COMMAND_LIMIT_S
    while (remaining := deadline - time.monotonic()) > 0:
        if not select.select([descriptor], [], [], remaining)[0]:
            continue
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:
            return content
        if not chunk:
            return content
        content += chunk
    raise AssertionError(f"{command!r} did not end; so far it shows:\n{content.decode()}")


def marked(text: str, home: str) -> str:
    """Replaces what differs from run to run, and the columns' widths with it."""
    text = text.replace(home, HOME_IN_TEXT)
    for pattern, marker in MARKERS:
        text = pattern.sub(marker, text)
    lines = (re.sub(r"(?<=\S) {2,}", "  ", line.rstrip()) for line in text.splitlines())
    return "\n".join(lines).rstrip()


def expected(text: str) -> re.Pattern[str]:
    """Makes a pattern of what is shown, in which ``...`` lines match any lines."""
    parts = re.split(r"^\.\.\.$", marked(text, HOME_IN_TEXT), flags=re.MULTILINE)
    return re.compile(".*".join(map(re.escape, parts)), re.DOTALL)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """An empty home directory; what was mounted below it is gone afterwards."""
    directory = tmp_path / "home"
    directory.mkdir()
    shop = Project(directory / "shop", {"PYTHONPATH": PYTHONPATH})
    try:
        yield directory
    finally:
        shop.clean_up()
        with contextlib.suppress(OSError):  # it leaves no daemon.json if it ended well
            socket = Path(shop.whereabouts["socket"])
            socket.unlink(missing_ok=True)
            socket.with_suffix(".json").unlink(missing_ok=True)
        for point in mount_points():
            if point.startswith(f"{tmp_path}/"):
                unmount(point)


@pytest.mark.timeout(TUTORIAL_LIMIT_S)
def test_the_tutorial_prints_what_it_shows(home: Path) -> None:
    """Every command of the tutorial, in order, on a real repository with a real daemon."""
    programs = home.parent / "bin"
    programs.mkdir()
    patchwork = programs / "patchwork"
    patchwork.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pwfs_cli.main "$@"\n')
    patchwork.chmod(0o755)
    (home / ".gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.org\n")
    variables = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "PATCHWORK_"))},
        "HOME": str(home),
        "LOGNAME": "ada",
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": PYTHONPATH,
        "TERM": "dumb",
    }
    terminal = Terminal(home, variables)
    steps = read_steps(TUTORIAL.read_text(encoding="utf-8"))
    assert len(steps) > 20
    for step in steps:
        shown = marked(terminal.type(step.command), str(home))
        assert expected(step.shown).fullmatch(shown), (
            f"docs/tutorial.md:{step.line}: $ {step.command}\n"
            f"--- the tutorial shows\n{marked(step.shown, HOME_IN_TEXT)}\n--- it prints\n{shown}"
        )


def test_commands_are_found_in_the_text() -> None:
    """A command ends where the next one begins; continued lines belong to it."""
    text = "x\n```console\n$ a\nb\n$ c <<E\n> d\n>\n> E\n```\ny\n```sh\n$ no\n```\n"
    assert read_steps(text) == [Step(3, "a", "b"), Step(5, "c <<E\nd\n\nE", "")]


def test_only_what_differs_from_run_to_run_is_ignored() -> None:
    """Markers stand for moments and the like; any other difference is one."""
    pattern = expected("at 2026-02-24T10:30:00Z\n...\nend")
    assert pattern.fullmatch(marked("at 2031-01-01T00:00:00Z\nx\ny\nend\n", "/nowhere"))
    assert not pattern.fullmatch(marked("at 2031-01-01T00:00:00Z\nx\ny\n", "/nowhere"))
    assert marked("/tmp/h/shop", "/tmp/h") == "/home/ada/shop"
