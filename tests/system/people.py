"""A whole Patchwork, with its daemon and mount, as the people and programs around it use it."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.support.project import Project, mount_points, temporary_project
from tests.support.properties import check_properties

PATIENCE_S = 30.0


class Refused(Exception):
    """The API answered with a problem document."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"{response.status_code} {response.text[:500]}")
        self.status = response.status_code
        self.problem: dict[str, Any] = response.json()


@dataclass
class System:
    """A repository, its daemon, and what was seen of its events."""

    project: Project
    pids: set[int] = field(default_factory=set)
    _api: httpx.Client | None = None

    @property
    def mount(self) -> Path:
        """Where everything is mounted."""
        return self.project.mount

    @property
    def main(self) -> Path:
        """Main, live."""
        return self.mount / "main"

    def start(self) -> None:
        """Starts the daemon by a command, as anybody would, and connects to it."""
        self.disconnect()
        self.project.patchwork("status")
        self.pids.add(int(self.project.whereabouts["pid"]))
        self.connect()

    def connect(self) -> None:
        """Connects to the daemon that is running."""
        self._api = self.project.api()

    def disconnect(self) -> None:
        """Ends the connection; the daemon goes on."""
        if self._api is not None:
            self._api.close()
            self._api = None

    def request(self, method: str, path: str, /, **options: Any) -> Any:
        """Asks the API; anything but success is `Refused`."""
        assert self._api is not None
        response = self._api.request(method, path, **options)
        if not response.is_success:
            raise Refused(response)
        if response.headers.get("content-type", "").startswith("application/json"):
            return response.json()
        return response.content

    def get(self, path: str, /, **query: Any) -> Any:
        """Reads from the API."""
        return self.request("GET", path, params=query)

    def post(self, path: str, /, **body: Any) -> Any:
        """Writes by the API."""
        return self.request("POST", path, json=body)

    def pages(self, path: str, /, **query: Any) -> list[Any]:
        """All rows of a paged list."""
        rows: list[Any] = []
        query["limit"] = 1000
        while True:
            page = self.request("GET", path, params=query, headers={"Accept": "application/json"})
            rows += page[path.rsplit("/", 1)[-1]]
            if page["next"] is None:
                return rows
            query["after"] = page["next"]

    def change(self, title: str, *, after: tuple[str, ...] = ()) -> str:
        """Makes a change and returns its id."""
        made = self.post("changes", title=title, author="tester", dependencies=list(after))
        return str(made["id"])

    def workspace(self, change: str, **options: Any) -> Path:
        """Makes a workspace on a change and returns its place in the mount."""
        made = self.post("workspaces", change_id=change, agent_id="tester", **options)
        return Path(made["path"])

    def land(self, change: str) -> int:
        """Lands a change without a test and returns the landing's number."""
        return int(self.post(f"changes/{change}/land", agent_id="tester")["seq"])

    def put(self, change: str, op: str, path: str, content: bytes | None, **more: Any) -> int:
        """Appends an operation by the API and returns its number."""
        if content is not None:
            blob = self.request("POST", "blobs", content=content)
            more["content_hash"] = blob["hash"]
        made = self.post("ops", change_id=change, op_type=op, path=path, agent_id="tester", **more)
        return int(made["id"])

    def read(self, view: str, path: str) -> bytes:
        """A file's bytes by the API."""
        answer = self.request("GET", f"views/{view}/files/{path}")
        assert isinstance(answer, bytes)
        return answer

    def tree(self, view: str) -> dict[str, str]:
        """A view's files by the API: the content's hash by path."""
        return {
            row["path"]: row["content_hash"] for row in self.get(f"views/{view}/tree")["entries"]
        }

    def ops(self, change: str) -> list[dict[str, Any]]:
        """A change's operations, oldest first."""
        return self.pages("ops", change_id=change)

    def events(self) -> list[dict[str, Any]]:
        """Everything that happened."""
        return self.pages("events")

    def check_sound(self) -> None:
        """Recomputes what is derived, and checks what holds after anything whatever."""
        found = self.post("fsck")
        assert found["problems"] == [], found["problems"]
        check_properties(self.project.directory, self.mount)

    def close(self) -> None:
        """Ends the daemon and finds nothing left of it."""
        self.disconnect()
        mount = str(self.mount)
        self.project.patchwork("serve", "--stop")
        assert mount not in mount_points()
        below = f"{self.project.directory}/"
        assert [point for point in mount_points() if point.startswith(below)] == []
        left = [pid for pid in self.pids if is_running(pid)]
        assert [pid for pid in left if runs_in(pid, self.project.directory)] == []


def is_running(pid: int) -> bool:
    """Whether a process is there; one that nobody waited for yet is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def system_in(directory: Path, files: Mapping[str, str | bytes] | None = None) -> Iterator[System]:
    """A system on a directory with these files.

    In the end it is checked, stopped, and nothing is left.
    """
    with temporary_project(directory) as project:
        for name, content in (files or {}).items():
            place = directory / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content.encode() if isinstance(content, str) else content)
        project.patchwork("init")
        system = System(project)
        try:
            system.start()
            yield system
            system.check_sound()
            system.close()
        finally:
            system.disconnect()


def until(condition: Callable[[], bool], what: str, *, patience_s: float = PATIENCE_S) -> None:
    """Waits for something that happens by itself."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {patience_s} s: {what}"
        time.sleep(0.02)


def runs_in(pid: int, directory: Path) -> bool:
    """Whether a process is a repository's daemon; after many crashes its number may be another's."""
    try:
        return str(directory).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


class Watcher:
    """Somebody who runs ``patchwork watch``, from the first event or from where they were."""

    def __init__(self, project: Project, since: int = 0) -> None:
        self.events: list[dict[str, Any]] = []
        self._moved = threading.Condition()
        self._process = subprocess.Popen(
            project.command("watch", "--types", "all", "--since", str(since), "--json"),
            cwd=project.directory,
            env=project.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                continue  # cut by the end of the process
            if "id" not in event:
                continue  # the problem document of a stream that broke
            with self._moved:
                self.events.append(event)
                self._moved.notify_all()

    def saw(self, number: int) -> None:
        """Waits for the event of that number."""
        with self._moved:
            there = self._moved.wait_for(
                lambda: bool(self.events) and self.events[-1]["id"] >= number, PATIENCE_S
            )
        assert there, (number, self.events[-1:])

    def close(self) -> list[dict[str, Any]]:
        """Ends watching; what was seen."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._thread.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.wait(10)
        return self.events


def files_below(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, by its path in it."""
    found: dict[str, bytes] = {}
    for place, _, names in os.walk(directory):
        for name in names:
            path = Path(place, name)
            found[str(path.relative_to(directory))] = path.read_bytes()
    return found
