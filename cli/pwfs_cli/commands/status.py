"""`patchwork status`: of the workspace one stands in, or of the repository."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from pwfs_cli.api import client, part
from pwfs_cli.locate import find_workspace
from pwfs_cli.output import count, describe_trouble, show
from pwfs_cli.session import Json, session

_LETTERS = {"added": "A", "deleted": "D", "modified": "M", "renamed": "R"}


def show_status(
    repository: Annotated[
        bool, typer.Option("--repository", help="The repository's, also in a workspace.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what the workspace here changes; elsewhere, how the repository is."""
    api = client()
    workspace = None if repository else find_workspace(session().directory, api.root)
    if workspace is None:
        found = api.get("status")
        show(found, _lines(found))
    else:
        show_workspace(workspace)


def show_workspace(workspace_id: str) -> None:
    """Shows what a workspace changes."""
    found = client().get(f"workspaces/{part(workspace_id)}/status")
    show(found, _workspace_lines(found))


def _workspace_lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"Workspace: {found['workspace_id']}" + (" (read-only)" if found["read_only"] else "")
    yield f"Agent: {found['agent_id']}"
    unfrozen = found["unfrozen"]
    version = f"version {found['current_version']}" if found["current_version"] else "no version"
    more = f", {count(unfrozen, 'operation')} not frozen" if unfrozen else ""
    yield f"Change: {found['change_id']} ({found['status']}, {version}{more})"
    is_behind = found["main_seq"] != found["base_seq"]
    behind = f", pinned; main is at #{found['main_seq']}" if is_behind else ""
    yield f"Base: main at #{found['base_seq']}{behind}"
    item = found["queue"]
    if item is not None:
        yield f"Queue: #{item['id']}, position {item['position']}, {item['status']}"
    for conflict in found["conflicts"]:
        with_whom = conflict["their_change"] or "main"
        yield f"Conflict: {conflict['path']} ({conflict['type']}, with {with_whom})"
    for path in found["pending"]:
        yield f"Not logged yet: {path}"
    for path in found["open"]:
        yield f"Open for writing: {path}"
    for file in found["not_logged"]:
        yield f"Not logged, above max-blob-mb: {file['path']}"
    files = found["files"]
    yield f"Files: {len(files)}"
    for file in files:
        old = f"{file['old_path']} -> " if file["old_path"] else ""
        yield f"{_LETTERS[file['status']]} {old}{file['path']}"


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
    if found["closing"]:
        yield f"Tree: closed by {found['closing']['agent_id']}: {found['closing']['reason']}"
    for name in found["not_logged"]:
        yield f"Not logged, above max-blob-mb: {name}"
    yield f"Mount: {daemon['mount']}"
    yield f"HTTP: {daemon['http']}"
    yield f"Daemon: pid {daemon['pid']}, version {daemon['version']}"
    for trouble in daemon["troubles"]:
        yield f"Trouble: {describe_trouble(trouble)}"
