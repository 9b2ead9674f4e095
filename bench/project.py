"""A project under Patchwork, with its daemon, for benchmarks."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket

FILES_A_DIRECTORY = 40
PATCHWORK = Path(sys.executable).parent / "patchwork"
AUTHOR = ("-c", "user.name=bench", "-c", "user.email=bench@example.com")


@dataclass(frozen=True)
class Cost:
    """What a step took."""

    seconds: float
    peak_mib: float


class Api(HTTPConnection):
    """A connection to a daemon's Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket(AF_UNIX, SOCK_STREAM)
        self.sock.connect(self._path)

    def call(self, method: str, path: str, body: object = None) -> dict[str, object]:
        """Makes a request with a JSON body; raises RuntimeError if it is refused."""
        text = None if body is None else json.dumps(body).encode()
        return self.send_bytes(method, path, text, "application/json")

    def send_bytes(
        self, method: str, path: str, body: bytes | None, kind: str
    ) -> dict[str, object]:
        """Makes a request with any body; raises RuntimeError if it is refused."""
        self.request(method, f"/api/{path}", body, {"Content-Type": kind})
        response = self.getresponse()
        content = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {content.decode()}")
        answer: dict[str, object] = json.loads(content) if content else {}
        return answer


class Project:
    """A directory that is a repository, whose daemon runs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        told = json.loads((directory / ".patchwork" / "daemon.json").read_text())
        self.socket: str = told["socket"]
        self.pid: int = told["pid"]

    def request(self, method: str, path: str, body: object = None) -> dict[str, object]:
        """Asks the daemon, on a connection of its own: it closes one that is long quiet."""
        api = Api(self.socket)
        try:
            return api.call(method, path, body)
        finally:
            api.close()

    def create_change(self, title: str) -> str:
        """Creates a change; returns its id."""
        return str(self.request("POST", "changes", {"title": title, "author": "bench"})["id"])

    def create_workspace(self, change: str, directory: Path | None = None) -> dict[str, object]:
        """Creates a workspace on a change, in the mount or at a directory too."""
        body = {"change_id": change, "agent_id": "bench"}
        if directory is not None:
            body["directory"] = str(directory)
        return self.request("POST", "workspaces", body)

    def upload(self, content: bytes) -> str:
        """Uploads a content; returns its hash."""
        api = Api(self.socket)
        try:
            return str(api.send_bytes("POST", "blobs", content, "application/octet-stream")["hash"])
        finally:
            api.close()

    def memory_mib(self, field: str) -> float:
        """What the daemon holds: ``VmRSS`` now, ``VmHWM`` at most so far."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"{field}:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) / 1024


@contextmanager
def serving(directory: Path) -> Iterator[Project]:
    """Starts the daemon of a repository, and ends it."""
    try:
        patchwork(directory, "status")
        yield Project(directory)
    finally:
        patchwork(directory, "serve", "--stop")


def patchwork(directory: Path, *arguments: str) -> None:
    """Runs a command in a project."""
    run([str(PATCHWORK), *arguments], directory)


def run(command: Sequence[str], directory: Path) -> Cost:
    """Runs a command and measures it, its children's memory too."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return Cost(time.perf_counter() - started, usage.ru_maxrss / 1024)


def make_checkout(directory: Path, files: int) -> None:
    """A git checkout of small files, no two alike."""
    for number in range(files):
        path = directory / f"part{number // (FILES_A_DIRECTORY * 40)}"
        path = path / f"dir{number // FILES_A_DIRECTORY}" / f"file{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"file {number}\n" + "some text\n" * (number % 60))
    for command in (
        ["git", "init", "-q"],
        # Nothing is packed while something else is measured.
        ["git", "config", "gc.auto", "0"],
        ["git", "add", "."],
        ["git", *AUTHOR, "commit", "-qm", "all"],
    ):
        subprocess.run(command, cwd=directory, check=True)
