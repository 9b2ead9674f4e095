"""`patchwork log`, `cat` and `diff`: what happened, and what files hold."""

import sys
from typing import Annotated

import typer

from pwfs_cli.api import CHUNK_SIZE_BYTES, client, file_path, part
from pwfs_cli.commands.change import ChangeId
from pwfs_cli.output import moment, show, show_json, table
from pwfs_cli.session import Json


def show_log(
    change: Annotated[str | None, typer.Option(metavar="CHANGE", help="Only this change.")] = None,
    path: Annotated[str | None, typer.Option(metavar="PATH", help="Only this file.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="At most so many.")] = 50,
    json: Json = False,
) -> None:
    """Show recent operations, the newest first."""
    found = client().get("ops", change_id=change, path=path, limit=limit, newest_first=True)
    rows = (
        (
            f"#{op['id']}",
            moment(op["timestamp"]),
            op["agent_id"],
            op["change_id"],
            f"v{op['version']}",
            op["op_type"],
            f"{op['old_path']} -> {op['path']}" if op.get("old_path") else op["path"],
        )
        for op in found["ops"]
    )
    show(found, table(("SEQ", "TIME", "AGENT", "CHANGE", "VER", "OP", "PATH"), rows))


def show_file(
    view: Annotated[
        str,
        typer.Argument(
            metavar="VIEW", help="A view, a workspace, main, or at-SEQ.", show_default=False
        ),
    ],
    path: Annotated[str, typer.Argument(metavar="PATH", show_default=False)],
    json: Json = False,
) -> None:
    """Print a file as a view shows it."""
    with client().send("GET", f"views/{part(view)}/files/{file_path(path)}") as response:
        if json:
            _show_content(path, response.read())
            return
        while chunk := response.read(CHUNK_SIZE_BYTES):
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


def show_diff(
    change_id: ChangeId,
    version: Annotated[
        int | None, typer.Option(metavar="N", help="This version; else the current work.")
    ] = None,
    json: Json = False,
) -> None:
    """Show what a change does to the files."""
    found = client().get(f"changes/{part(change_id)}/diff", version=version)
    if json:
        show_json(found)
        return
    for file in found["files"]:
        sys.stdout.write(file["patch"])


def _show_content(path: str, content: bytes) -> None:
    try:
        show_json({"path": path, "content": content.decode(), "encoding": "utf-8"})
    except UnicodeDecodeError:
        import base64

        encoded = base64.b64encode(content).decode()
        show_json({"path": path, "content": encoded, "encoding": "base64"})
