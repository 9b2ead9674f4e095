"""`patchwork status`."""

from collections.abc import Iterator
from typing import Any

from pwfs_cli.client import client
from pwfs_cli.output import show
from pwfs_cli.session import Json


def show_status(json: Json = False) -> None:
    """Show how the repository is: head, changes, views, workspaces, queue."""
    found = client().get("status")
    show(found, _lines(found))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    for key, value in found.items():
        name = key.replace("_", " ").capitalize()
        if isinstance(value, dict):
            parts = [f"{count} {kind}" for kind, count in value.items() if count]
            yield f"{name}: {', '.join(parts) or 0}"
        elif isinstance(value, list):
            if value:
                yield f"{name}:"
                yield from (f"  {_item(item)}" for item in value)
        else:
            yield f"{name}: {'-' if value is None else value}"


def _item(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(str(part) for part in value.values())
    return str(value)
