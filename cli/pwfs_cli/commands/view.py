"""`patchwork view`: look at combinations of changes."""

from typing import Annotated, Any

import typer

from pwfs_cli.api import client, part
from pwfs_cli.commands.workspace import Overlays, Policy, parse_overlay
from pwfs_cli.output import show, table
from pwfs_cli.session import Agent, Json

app = typer.Typer(help="Combine main and changes to views.", no_args_is_help=True)

ViewId = Annotated[str, typer.Argument(metavar="VIEW", show_default=False)]


@app.command("create")
def create(
    view_id: Annotated[str | None, typer.Argument(metavar="[VIEW]", show_default=False)] = None,
    overlay: Overlays = None,
    at: Annotated[
        int | None, typer.Option(metavar="SEQ", help="Main as it was then; else its head.")
    ] = None,
    policy: Policy = "warn",
    agent: Agent = "",
    json: Json = False,
) -> None:
    """Create a view: main with changes laid over it, in this order."""
    base = {"type": "main_at_latest"} if at is None else {"type": "main_at_seq", "seq": at}
    view = client().post(
        "views",
        {
            "id": view_id,
            "owner": agent,
            "base": base,
            "overlays": [parse_overlay(text) for text in overlay or ()],
            "conflict_policy": policy,
        },
    )
    show(view, [f"Created view: {view['id']}", *_lines(view)])


@app.command("list")
def list_views(
    owner: Annotated[str | None, typer.Option(metavar="NAME", help="Only this owner's.")] = None,
    json: Json = False,
) -> None:
    """List the views, workspaces' own included."""
    found = client().get("views", owner=owner)
    rows = (
        (v["id"], v["owner"], _base(v), v["conflict_policy"], _overlays(v)) for v in found["views"]
    )
    show(found, table(("ID", "OWNER", "BASE", "POLICY", "OVERLAYS"), rows))


@app.command("show")
def show_view(view_id: ViewId, json: Json = False) -> None:
    """Show a view and the files that conflict in it."""
    daemon = client()
    view = daemon.get(f"views/{part(view_id)}")
    lines = [f"View: {view['id']}", *_lines(view)]
    if not json:
        tree = daemon.get(f"views/{part(view_id)}/tree")
        lines.append(f"Files: {len(tree['entries'])}")
        lines += [f"Conflict: {e['path']}" for e in tree["entries"] if e.get("is_conflict")]
    show(view, lines)


@app.command("delete")
def delete(view_id: ViewId, json: Json = False) -> None:
    """Delete a view; no content goes with it."""
    answer = client().request("DELETE", f"views/{part(view_id)}")
    show(answer, [f"View {view_id} deleted."])


def _lines(view: dict[str, Any]) -> list[str]:
    return [
        f"Owner: {view['owner']}",
        f"Base: {_base(view)}",
        f"Overlays: {_overlays(view)}",
        f"Policy: {view['conflict_policy']}",
    ]


def _base(view: dict[str, Any]) -> str:
    base = view["base"]
    return f"main@{base['seq']}" if base["type"] == "main_at_seq" else "main"


def _overlays(view: dict[str, Any]) -> str:
    names = (
        f"{o['change_id']}@{o['version']}" if o["pin"] else o["change_id"] for o in view["overlays"]
    )
    return ",".join(names) or "-"
