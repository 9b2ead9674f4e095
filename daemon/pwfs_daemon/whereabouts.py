"""``daemon.json``: where the running daemon can be found.

It stands in the repository, and a copy beside the mount point tells programs inside a mounted
workspace, by the number of the device they stand on, which repository that is.
"""

import os
from pathlib import Path

import msgspec

FILE_NAME = "daemon.json"


class Whereabouts(msgspec.Struct, frozen=True, kw_only=True):
    """What `daemon.json` says; ``device`` is the mount's ``major:minor``."""

    pid: int
    repository: str
    socket: str
    http: str
    mount: str
    device: str
    version: str


def registry_file(socket_path: Path) -> Path:
    """Names the copy beside the mount point."""
    return socket_path.with_suffix(".json")


def publish(state_dir: Path, whereabouts: Whereabouts) -> None:
    """Writes both files, atomically each; readable by the owner only."""
    content = msgspec.json.format(msgspec.json.encode(whereabouts)) + b"\n"
    for file in (registry_file(Path(whereabouts.socket)), state_dir / FILE_NAME):
        temporary = file.with_name(f"{file.name}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        temporary.replace(file)


def withdraw(state_dir: Path, whereabouts: Whereabouts) -> None:
    """Removes both files, before the daemon stops answering."""
    (state_dir / FILE_NAME).unlink(missing_ok=True)
    registry_file(Path(whereabouts.socket)).unlink(missing_ok=True)


def device_of(directory: Path) -> str:
    """Tells a mount's device number. Asks the filesystem: never from the event loop."""
    device = directory.stat().st_dev
    return f"{os.major(device)}:{os.minor(device)}"
