"""`patchwork watch`: events as they happen."""

from typing import Annotated, Any

import typer

from pwfs_cli.api import client
from pwfs_cli.output import moment, show_json_line
from pwfs_cli.session import Json

# News. The other types tell of each step behind it, which `--types all` shows too.
NEWS = (
    "op_appended,change_landed,conflict_detected,test_result,queue_position,conflict_resolved,"
    "change_created,version_created,item_ejected,item_cancelled,file_skipped,config_changed"
)
# What people need of payloads that hold more.
BRIEF = {
    "test_result": ("change_id", "status"),
    "change_landed": ("change_id", "version"),
    "queue_position": ("change_id", "position"),
    "op_appended": ("id", "op_type", "path", "old_path", "agent_id", "change_id"),
    "conflict_detected": ("type", "path", "your_change", "their_change"),
}


def watch(
    types: Annotated[
        str,
        typer.Option(metavar="A,B", help="Only these types; 'all' for every single step."),
    ] = NEWS,
    since: Annotated[
        int | None, typer.Option(metavar="ID", help="Begin behind this event; else now.")
    ] = None,
    json: Json = False,
) -> None:
    """Print events as they happen, until interrupted."""
    for event in client().events(types=None if types == "all" else types, since=since):
        if json:
            show_json_line(event)
        else:
            print(format_event(event), flush=True)


def format_event(event: dict[str, Any]) -> str:
    """Writes an event as one line."""
    import json

    payload = event["payload"]
    shown = BRIEF.get(event["type"])
    if shown:
        payload = {key: payload[key] for key in shown if payload.get(key) is not None}
    text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False)
    return f"[{moment(event['timestamp'])}] {event['type']}: {text}"
