"""`patchwork workspace`: the directories in which changes are made."""

from typing import Annotated, Any

import typer

from pwfs_cli.api import client, part
from pwfs_cli.commands.change import ChangeId
from pwfs_cli.commands.status import show_workspace
from pwfs_cli.output import count, show, table
from pwfs_cli.session import Agent, Json, resolve

app = typer.Typer(help="Create, list and destroy workspaces.", no_args_is_help=True)

WorkspaceId = Annotated[str, typer.Argument(metavar="WORKSPACE", show_default=False)]
Policy = Annotated[
    str, typer.Option(metavar="POLICY", help="On conflicts: warn, last_write or manual.")
]
Overlays = Annotated[
    list[str] | None,
    typer.Option(
        "--overlay",
        metavar="CHANGE[@VERSION]",
        help="Show another change too, at its newest version or pinned to one; repeatable.",
    ),
]


@app.command("create")
def create(
    change_id: ChangeId,
    directory: Annotated[str | None, typer.Argument(metavar="[DIR]", show_default=False)] = None,
    agent: Agent = "",
    pin: Annotated[bool, typer.Option("--pin", help="Keep main as it is now until sync.")] = False,
    policy: Policy = "warn",
    overlay: Overlays = None,
    json: Json = False,
) -> None:
    """Create a workspace for a change and show it as DIR."""
    workspace = client().post(
        "workspaces",
        {
            "change_id": change_id,
            "agent_id": agent,
            "directory": None if directory is None else resolve(directory),
            "pin": pin,
            "overlays": [parse_overlay(text) for text in overlay or ()],
            "conflict_policy": policy,
        },
    )
    lines = [
        f"Created workspace: {workspace['id']}",
        f"Change: {workspace['change_id']}",
        f"Directory: {_place(workspace)}",
        f"Agent: {workspace['agent_id']}",
    ]
    show(workspace, lines)


@app.command("list")
def list_workspaces(json: Json = False) -> None:
    """List the workspaces."""
    found = client().get("workspaces")
    rows = (
        (
            w["id"],
            w["change_id"],
            w["agent_id"],
            "read-only" if w["read_only"] else "open",
            _place(w),
        )
        for w in found["workspaces"]
    )
    show(found, table(("ID", "CHANGE", "AGENT", "STATE", "DIRECTORY"), rows))


@app.command("status")
def status(workspace_id: WorkspaceId, json: Json = False) -> None:
    """Show what a workspace changes, and what is not settled in it."""
    show_workspace(workspace_id)


@app.command("sync")
def sync(workspace_id: WorkspaceId, json: Json = False) -> None:
    """Bring a pinned workspace up to main; others are always up to date."""
    workspace = client().post(f"workspaces/{part(workspace_id)}/sync")
    show(workspace, [f"Workspace {workspace['id']} is up to date."])


@app.command("scan")
def scan(workspace_id: WorkspaceId, json: Json = False) -> None:
    """Show the operations captured since the last scan."""
    found = client().post(f"workspaces/{part(workspace_id)}/scan")
    ops = found["operations"]
    lines = [f"Captured {count(len(ops), 'operation')}{':' if ops else '.'}"]
    lines += [f"#{op['id']} {op['op_type']} {_paths(op)}" for op in ops]
    show(found, lines)


@app.command("switch")
def switch(workspace_id: WorkspaceId, change_id: ChangeId, json: Json = False) -> None:
    """Put a workspace on another change."""
    workspace = client().post(f"workspaces/{part(workspace_id)}/switch", {"change_id": change_id})
    show(workspace, [f"Workspace {workspace['id']} switched to {workspace['change_id']}."])


@app.command("destroy")
def destroy(workspace_id: WorkspaceId, json: Json = False) -> None:
    """Remove a workspace; the operations captured in it stay with its change."""
    answer = client().request("DELETE", f"workspaces/{part(workspace_id)}")
    show(answer, [f"Workspace {workspace_id} destroyed."])


def parse_overlay(text: str) -> dict[str, object]:
    """Reads ``CHANGE`` or ``CHANGE@VERSION``."""
    change_id, at, version = text.partition("@")
    if not at:
        return {"change_id": change_id}
    number = version.removeprefix("v")
    if not (number.isascii() and number.isdigit()):
        raise typer.BadParameter(f"{text!r} is not CHANGE or CHANGE@VERSION")
    return {"change_id": change_id, "version": int(number), "pin": True}


def _place(workspace: dict[str, Any]) -> str:
    return str(workspace["directory"] or workspace["path"])


def _paths(op: dict[str, Any]) -> str:
    return f"{op['old_path']} -> {op['path']}" if op.get("old_path") else str(op["path"])
