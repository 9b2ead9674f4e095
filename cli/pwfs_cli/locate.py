"""Finds the repository that the caller stands in, also from inside a mounted workspace."""

import json
import os
from pathlib import Path

from pwfs.model.errors import NotARepository

STATE_NAME = ".patchwork"
MOUNTS = Path("/proc/self/mountinfo")


def find_root(start: Path) -> Path:
    """Finds a repository upwards from a directory.

    A workspace below its repository is found like any other directory. One elsewhere stands on
    the daemon's mount: the registry beside the mount points tells whose that is.

    Raises:
        NotARepository: none is there.
    """
    here = Path(os.path.realpath(start))
    for directory in (here, *here.parents):
        # A dead mount answers every question with an error; the search goes on above it.
        if os.path.isfile(directory / STATE_NAME / "oplog.db"):  # noqa: PTH113  Path raises there
            return directory
    root = _root_of_mount(here)
    if root is None:
        raise NotARepository(directory=str(start))
    return root


def runtime_directory() -> Path:
    """Returns where mount points and sockets are (`pwfs.fs` decides the same)."""
    if os.geteuid() == 0:
        return Path("/run/patchwork")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "patchwork" if runtime else Path.home() / ".cache/patchwork/run"


def _root_of_mount(here: Path) -> Path | None:
    device = _device(os.fspath(here))
    if device is None:
        return None
    for file in sorted(runtime_directory().glob("*.json")):
        try:
            known = json.loads(file.read_bytes())
        except (OSError, ValueError):
            continue
        if known.get("device") == device and Path(known["repository"]).is_dir():
            return Path(known["repository"])
    return None


def _device(path: str) -> str | None:
    """Tells the device of the FUSE mount that a path lies on, without asking the filesystem."""
    best, device = "", None
    with MOUNTS.open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.split(" ")
            point = _unescape(fields[4])
            is_above = path == point or path.startswith(point.rstrip("/") + "/")
            # A later line covers an earlier one at the same place.
            if is_above and len(point) >= len(best):
                is_fuse = fields[fields.index("-") + 1].startswith("fuse")
                best, device = point, fields[2] if is_fuse else None
    return device


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
