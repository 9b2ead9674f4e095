"""Finds the repository that the caller stands in, also from inside a mounted workspace."""

import json
import os
from pathlib import Path

from pwfs.model.errors import NotARepository
from pwfs_cli.fsmonitor import runtime_directory
from pwfs_cli.standing import standing_on

STATE_NAME = ".patchwork"


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


def find_workspace(start: Path, root: Path) -> str | None:
    """Names the workspace of a repository that a directory is in, if it is in one."""
    standing = standing_on(os.path.realpath(start))
    if standing is None or standing.workspace is None or _root_of(standing.device) != root:
        return None
    return standing.workspace[0]


def _root_of_mount(here: Path) -> Path | None:
    standing = standing_on(os.fspath(here))
    return None if standing is None else _root_of(standing.device)


def _root_of(device: str) -> Path | None:
    """The repository whose mount has a device number.

    Daemons that were killed leave such files, and device numbers are given out again: the newest
    file is right.
    """
    files = Path(runtime_directory()).glob("*.json")
    for file in sorted(files, key=_written_at_ns, reverse=True):
        try:
            known = json.loads(file.read_bytes())
        except (OSError, ValueError):
            continue
        if known.get("device") == device and Path(known["repository"]).is_dir():
            return Path(known["repository"])
    return None


def _written_at_ns(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
