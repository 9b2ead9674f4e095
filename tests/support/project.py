"""A repository in a temporary directory with its daemon, used the way people use it.

Everything has a time limit, and whatever a test leaves behind is unmounted lazily and ended.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

TIMEOUT_S = 50.0
MOUNTS = Path("/proc/self/mountinfo")
STRAY = re.compile(r"level=(warning|error|critical)|^Traceback")


@dataclass(frozen=True)
class Result:
    """What a command printed, and its exit status."""

    stdout: str
    stderr: str
    status: int

    @property
    def lines(self) -> list[str]:
        """The lines of the output."""
        return self.stdout.splitlines()

    @property
    def json(self) -> Any:
        """The output read as JSON."""
        return json.loads(self.stdout)


@dataclass
class Project:
    """A directory in which `patchwork` is run; its daemon starts with the first command."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    expected_log: list[str] = field(default_factory=list)
    """Regular expressions for the warnings that the daemon may log."""
    timeout_s: float = TIMEOUT_S
    """How long a command may take."""

    @property
    def state_dir(self) -> Path:
        """The repository's own directory."""
        return self.directory / ".patchwork"

    @property
    def whereabouts(self) -> dict[str, Any]:
        """What the running daemon says of itself."""
        found: dict[str, Any] = json.loads((self.state_dir / "daemon.json").read_bytes())
        return found

    @property
    def mount(self) -> Path:
        """Where everything is mounted."""
        return Path(self.whereabouts["mount"])

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line that runs `patchwork` with the interpreter of the tests."""
        return [sys.executable, "-m", "pwfs_cli.main", *map(str, arguments)]

    def patchwork(
        self,
        *arguments: str | Path,
        status: int = 0,
        cwd: Path | None = None,
        prefix: tuple[str, ...] = (),
    ) -> Result:
        """Runs a command and checks its exit status."""
        done = subprocess.run(
            [*prefix, *self.command(*arguments)],
            cwd=cwd or self.directory,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=self.timeout_s,
            check=False,
            text=True,
        )
        result = Result(done.stdout, done.stderr, done.returncode)
        assert result.status == status, (arguments, result, self.log())
        return result

    def json(self, *arguments: str | Path, status: int = 0) -> Any:
        """Runs a command with ``--json`` and reads what it prints."""
        return self.patchwork(*arguments, "--json", status=status).json

    def shell(self, script: str) -> Result:
        """Runs a script in the directory; `patchwork` in it is this project's."""
        prelude = f'patchwork() {{ "{sys.executable}" -m pwfs_cli.main "$@"; }}\n'
        done = subprocess.run(
            ["/bin/sh", "-c", prelude + script],
            cwd=self.directory,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
            text=True,
        )
        return Result(done.stdout, done.stderr, done.returncode)

    @contextmanager
    def background(self, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
        """Runs a command beside the test, and ends it afterwards."""
        with subprocess.Popen(
            self.command(*arguments),
            cwd=self.directory,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()

    def api(self) -> httpx.Client:
        """A client on the daemon's Unix socket; close it."""
        transport = httpx.HTTPTransport(uds=self.whereabouts["socket"])
        return httpx.Client(
            transport=transport, base_url="http://patchwork/api/", timeout=TIMEOUT_S
        )

    def tcp(self, token: str | None = None) -> httpx.Client:
        """A client on the daemon's TCP address; close it."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.Client(
            base_url=self.whereabouts["http"] + "/api/", headers=headers, timeout=TIMEOUT_S
        )

    def token(self) -> str:
        """The local token."""
        return (self.state_dir / "token").read_text().strip()

    def log(self) -> str:
        """The end of the daemon's log, to be shown when a test fails."""
        try:
            return "\n".join((self.state_dir / "daemon.log").read_text().splitlines()[-15:])
        except FileNotFoundError:
            return ""

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Sends a signal to the daemon and returns its pid."""
        pid = int(self.whereabouts["pid"])
        assert str(self.directory).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        os.kill(pid, number)
        return pid

    def variables(self) -> Mapping[str, str]:
        """The environment that commands run in."""
        return {**os.environ, "PATCHWORK_AGENT": "tester", **self.environment}

    def check_log(self) -> None:
        """Fails when the daemon logged a warning, or worse, that the test does not announce."""
        try:
            lines = (self.state_dir / "daemon.log").read_text().splitlines()
        except FileNotFoundError:
            return
        stray = [
            line
            for line in lines
            if STRAY.search(line) and not any(re.search(each, line) for each in self.expected_log)
        ]
        assert not stray, stray

    def clean_up(self) -> None:
        """Ends the daemon and unmounts what it mounted, whatever state they are in."""
        mounts = [point for point in mount_points() if point.startswith(f"{self.directory}/")]
        try:
            mounts.append(self.whereabouts["mount"])
            stop = [*self.command("serve", "--stop")]
            subprocess.run(
                stop, cwd=self.directory, env=self.variables(), capture_output=True, timeout=20
            )
            self.kill()
        except (OSError, ValueError, AssertionError, subprocess.TimeoutExpired):
            pass
        for point in mounts:
            unmount(point)


def mount_points() -> list[str]:
    """Every mount point of this namespace."""
    return [
        line.split(" ")[4].replace("\\040", " ") for line in MOUNTS.read_text().splitlines() if line
    ]


def unmount(point: str) -> None:
    """Takes away lazily whatever is mounted at a place, one over the other."""
    for _ in range(mount_points().count(point)):
        subprocess.run(["umount", "-l", point], capture_output=True, timeout=10)


@contextmanager
def temporary_project(directory: Path, **environment: str) -> Iterator[Project]:
    """Makes a directory a project that is cleaned up after use; nothing is initialized."""
    directory.mkdir(parents=True, exist_ok=True)
    found = Project(directory, environment)
    try:
        yield found
    finally:
        found.clean_up()
    found.check_log()
