"""A repository mounted by a process of its own, taken away lazily whatever happens."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pwfs.repo.importing import init
from tests.support.project import unmount
from tests.support.properties import check_properties

ROOT = Path(__file__).resolve().parents[2]
ANSWER_S = 30
MAIN_FILES = {
    "README.md": b"hello\n",
    "src/app.py": b"one\ntwo\nthree\nfour\nfive\nsix\nseven\n",
    "src/lib/util.py": b"def f():\n    return 1\n",
    "run.sh": b"#!/bin/sh\necho hi\n",
    ".gitignore": b"*.log\nbuild/\n",
}


class Refused(Exception):
    """An expected failure of the repository, by its code."""


class Mounted:
    """The mounting process and what the tests ask of it."""

    def __init__(self, repository: Path, mountpoint: Path) -> None:
        self.repository = repository
        self.mountpoint = mountpoint
        self.log = repository.parent / "mount.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.arguments: list[str] = []
        self.is_damaged = False
        """Set by a test that damages what is stored: the mount cannot show what the log says."""
        self.expected_log: list[str] = []

    def start(self) -> None:
        """Starts the process and waits until it serves."""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in (".", "daemon", "cli")),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-X",
                    "faulthandler",
                    str(Path(__file__).with_name("mountproc.py")),
                    str(self.repository),
                    str(self.mountpoint),
                    *self.arguments,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )
        assert self._answer() == "ready"

    def _answer(self) -> object:
        assert self.process is not None
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], ANSWER_S)
        line = self.process.stdout.readline() if readable else b""
        if not line:
            raise AssertionError(f"the mount does not answer; its log:\n{self.log.read_text()}")
        message = json.loads(line)
        if "error" in message:
            raise Refused(message["error"], message["message"])
        return message["result"]

    def call(self, method: str, *args: object, **kwargs: object) -> Any:
        """Calls a method of the repository in the mounting process."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([method, args, kwargs]).encode() + b"\n")
        self.process.stdin.flush()
        return self._answer()

    def kill(self) -> None:
        """Ends the process the hard way; the mount stays behind, dead."""
        assert self.process is not None
        self.process.kill()
        self._reap()

    def stop(self) -> None:
        """Ends the process the way a daemon is ended."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGABRT)
                self.process.wait()
        self._reap()

    def restart(self) -> None:
        """Ends the process as a daemon is ended, and starts it again."""
        self.stop()
        self.start()

    def _reap(self) -> None:
        assert self.process is not None
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process = None

    def check(self) -> None:
        """Checks what holds after anything whatever, see `tests.support.properties`."""
        if self.process is not None and not self.is_damaged:
            self.call("barrier")
            check_properties(self.repository, self.mountpoint)

    @property
    def main(self) -> Path:
        """Main, live."""
        return self.mountpoint / "main"

    def workspace(self, title: str = "work", **kwargs: object) -> Path:
        """Creates a change and a workspace on it; returns where it is mounted."""
        change = self.call("create_change", title, author="tester")
        return self.workspace_on(change["id"], **kwargs)

    def workspace_on(self, change_id: str, **kwargs: object) -> Path:
        """Creates a workspace on a change there is."""
        workspace = self.call("create_workspace", change_id, agent="tester", **kwargs)
        return self.mountpoint / "ws" / str(workspace["id"])

    def ops(self, change_id: str = "work") -> list[tuple[str, str]]:
        """What the log has of a change: type and path."""
        rows = self.call("ops", change_id=change_id)
        return [(row["new"]["op_type"], row["new"]["path"]) for row in rows]

    def files(self, view: str = "ws-work") -> dict[str, list[str]]:
        """The files of a view as the log says: path to hash and mode."""
        files: dict[str, list[str]] = self.call("files", view)
        return files

    def read(self, view: str, path: str) -> bytes:
        """A file's content as the log says."""
        content: str = self.call("read", view, path)
        return content.encode("latin-1")


def lazily_unmount(directory: Path) -> None:
    """Takes a mount away whether or not anybody serves it, and what lies below it."""
    subprocess.run(["fusermount3", "-uz", str(directory)], check=False, capture_output=True)
    unmount(str(directory))


def make_repository(directory: Path) -> None:
    """Initialises a repository with a few files in main."""
    for name, content in MAIN_FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (directory / "run.sh").chmod(0o755)
    (directory / "link").symlink_to("README.md")
    init(directory, agent="tester")


@contextmanager
def serving(directory: Path) -> Iterator[Mounted]:
    """A small repository in a directory, mounted; checked at the end, and taken away."""
    repository = directory / "repo"
    make_repository(repository)
    mounted = Mounted(repository, directory / "mnt")
    mounted.start()
    try:
        yield mounted
        mounted.check()
        mounted.stop()
        complaints = [
            line
            for line in mounted.log.read_text().splitlines()
            if re.match(r"(WARNING|ERROR|CRITICAL|Traceback)", line)
            and not any(expected in line for expected in mounted.expected_log)
        ]
        assert not complaints, mounted.log.read_text()
    finally:
        lazily_unmount(mounted.mountpoint)
        if mounted.process is not None:
            mounted.process.kill()
            mounted._reap()
        for _ in range(50):
            if not os.path.ismount(mounted.mountpoint):
                break
            time.sleep(0.05)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mounted]:
    """A small repository, mounted."""
    with serving(tmp_path) as mounted:
        yield mounted


@pytest.fixture(params=["tracked", "scratch"])
def place(request: pytest.FixtureRequest, mounted: Mounted) -> Path:
    """A directory of the workspace ``ws-work``: once its files are logged, once ignored."""
    workspace = mounted.workspace()
    directory = workspace / {"tracked": "kept", "scratch": "build"}[request.param]
    directory.mkdir()
    return directory


def is_tracked(place: Path) -> bool:
    """Whether what is written in a `place` goes to the log."""
    return place.name == "kept"


@pytest.fixture
def unmounted(tmp_path: Path) -> Mounted:
    """A small repository and the process that will mount it."""
    make_repository(tmp_path / "repo")
    return Mounted(tmp_path / "repo", tmp_path / "mnt")
