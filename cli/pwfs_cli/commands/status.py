"""`patchwork status`."""

from collections.abc import Iterator
from typing import Any

from pwfs_cli.api import client
from pwfs_cli.output import show
from pwfs_cli.session import Json


def show_status(json: Json = False) -> None:
    """Show how the repository is: head, changes, views, workspaces, queue."""
    found = client().get("status")
    show(found, _lines(found))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    changes = found["changes"]
    each = ", ".join(f"{count} {status}" for status, count in changes.items())
    daemon = found["daemon"]
    yield f"Repository: {found['root']}"
    yield f"Head: #{found['head_seq']} (main at #{found['main_seq']})"
    yield f"Changes: {sum(changes.values())}" + (f" ({each})" if each else "")
    yield f"Views: {found['views']}"
    yield f"Workspaces: {found['workspaces']}"
    yield f"Queue: {found['queue_depth']}" + (" (paused)" if found["queue_paused"] else "")
    for name in found["not_logged"]:
        yield f"Not logged, above max-blob-mb: {name}"
    yield f"Mount: {daemon['mount']}"
    yield f"HTTP: {daemon['http']}"
    yield f"Daemon: pid {daemon['pid']}, version {daemon['version']}"
