"""`patchwork version`: freeze a change's draft."""

from typing import Annotated

import typer

from pwfs_cli.api import client, part
from pwfs_cli.commands.change import ChangeId
from pwfs_cli.output import moment, show, table
from pwfs_cli.session import Agent, Json

app = typer.Typer(help="Freeze a change's work as versions.", no_args_is_help=True)


@app.command("create")
def create(
    change_id: ChangeId,
    message: Annotated[str, typer.Argument(metavar="MESSAGE", show_default=False)],
    agent: Agent = "",
    json: Json = False,
) -> None:
    """Freeze the current work as a new version of the change."""
    version = client().post(
        f"changes/{part(change_id)}/versions", {"message": message, "agent_id": agent}
    )
    show(version, [f"Created version {version['number']} of {change_id}: {version['message']}"])


@app.command("list")
def list_versions(change_id: ChangeId, json: Json = False) -> None:
    """List a change's versions with their number of operations."""
    versions = client().get(f"changes/{part(change_id)}")["versions"]
    rows = (
        (
            f"v{v['number']}",
            len(v["operations"]),
            f"#{v['base_seq']}",
            v["test_result"]["status"] if v["test_result"] else "-",
            moment(v["created_at"]),
            v["message"],
        )
        for v in versions
    )
    header = ("VER", "OPS", "BASE", "TEST", "CREATED", "MESSAGE")
    show({"versions": versions}, table(header, rows))
