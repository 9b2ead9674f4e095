"""`patchwork change`: create, list, show and move along changes."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from pwfs_cli.api import client, part
from pwfs_cli.output import count, moment, show, table
from pwfs_cli.session import Json, default_agent

app = typer.Typer(help="Create, list, show and move along changes.", no_args_is_help=True)

ChangeId = Annotated[str, typer.Argument(metavar="CHANGE", show_default=False)]


@app.command("create")
def create(
    title: Annotated[str, typer.Argument(metavar="TITLE", show_default=False)],
    author: Annotated[
        str, typer.Option(metavar="NAME", help="Whose it is; like --agent.", show_default=False)
    ] = "",
    target: Annotated[str, typer.Option(help="Where it is to land.")] = "main",
    depends_on: Annotated[
        list[str] | None,
        typer.Option(metavar="CHANGE", help="A change that must land first; repeatable."),
    ] = None,
    json: Json = False,
) -> None:
    """Create a change; its id is made of the title."""
    change = client().post(
        "changes",
        {
            "title": title,
            "author": author or default_agent(),
            "target": target,
            "dependencies": _split(depends_on),
        },
    )
    lines = [
        f"Created change: {change['id']}",
        f"Title: {change['title']}",
        f"Author: {change['author']}",
        f"Target: {change['target']}",
        f"Status: {change['status']}",
    ]
    if change["dependencies"]:
        lines.append(f"Depends on: {', '.join(change['dependencies'])}")
    show(change, lines)


@app.command("list")
def list_changes(
    status: Annotated[
        str | None,
        typer.Option(metavar="STATUS", help="draft, ready, testing, landed or abandoned."),
    ] = None,
    json: Json = False,
) -> None:
    """List all changes, oldest first."""
    changes = list(client().pages("changes", "changes", status=status))
    rows = (
        (c["id"], c["status"], f"v{c['current_version']}", c["author"], c["title"]) for c in changes
    )
    show({"changes": changes}, table(("ID", "STATUS", "VER", "AUTHOR", "TITLE"), rows))


@app.command("show")
def show_change(change_id: ChangeId, json: Json = False) -> None:
    """Show a change with its versions and their test results."""
    change = client().get(f"changes/{part(change_id)}")
    show(change, _lines(change))


@app.command("ready")
def mark_ready(change_id: ChangeId, json: Json = False) -> None:
    """Mark a change as ready for testing."""
    change = _set_status(change_id, "ready")
    show(change, [f"Change {change['id']} marked as ready."])


@app.command("abandon")
def abandon(change_id: ChangeId, json: Json = False) -> None:
    """Give a change up; that is final."""
    change = _set_status(change_id, "abandoned")
    show(change, [f"Change {change['id']} marked as abandoned."])


@app.command("depend")
def depend(
    change_id: ChangeId,
    on: Annotated[
        list[str] | None, typer.Option(metavar="CHANGE", help="Must land first; repeatable.")
    ] = None,
    not_on: Annotated[
        list[str] | None, typer.Option(metavar="CHANGE", help="Need not any more; repeatable.")
    ] = None,
    json: Json = False,
) -> None:
    """Say which changes must land before this one."""
    daemon = client()
    place = f"changes/{part(change_id)}"
    added, dropped = _split(on), set(_split(not_on))
    if not added and not dropped:
        raise typer.BadParameter("name a change with --on or --not-on")
    known = daemon.get(place)["dependencies"]
    wanted = [other for other in dict.fromkeys([*known, *added]) if other not in dropped]
    change = daemon.request("PUT", f"{place}/dependencies", {"dependencies": wanted})
    names = ", ".join(change["dependencies"]) or "nothing"
    show(change, [f"Change {change['id']} depends on {names}."])


def _set_status(change_id: str, status: str) -> Any:
    return client().request("PATCH", f"changes/{part(change_id)}/status", {"status": status})


def _split(names: list[str] | None) -> list[str]:
    """Takes ``--on a --on b`` and ``--on a,b`` alike."""
    return [part for name in names or () for part in name.split(",") if part]


def _lines(change: dict[str, Any]) -> Iterator[str]:
    yield f"Change: {change['id']}"
    yield f"Title: {change['title']}"
    yield f"Author: {change['author']}"
    yield f"Target: {change['target']}"
    yield f"Status: {change['status']}"
    if change["dependencies"]:
        yield f"Depends on: {', '.join(change['dependencies'])}"
    for key, value in change["metadata"].items():
        yield f"{key}: {value}"
    yield f"Created: {moment(change['created_at'])}"
    yield f"Updated: {moment(change['updated_at'])}"
    yield f"Versions: {len(change['versions'])}"
    for version in change["versions"]:
        yield (
            f"  v{version['number']} {moment(version['created_at'])}"
            f" {count(len(version['operations']), 'operation')}"
            f" on #{version['base_seq']}: {version['message']}"
        )
        result = version["test_result"]
        if result:
            yield f"    test {result['status']} {moment(result['end_at'] or result['start_at'])}"
            if result["status"] == "failed":
                yield from (f"    | {line}" for line in result["output"].splitlines()[-20:])
