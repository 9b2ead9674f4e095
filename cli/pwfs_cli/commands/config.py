"""`patchwork config`: the settings in `.patchwork/config.toml`."""

from typing import Annotated

import typer

from pwfs_cli.api import client, part
from pwfs_cli.output import show
from pwfs_cli.session import Json

app = typer.Typer(help="Show and change settings.", no_args_is_help=True)


@app.command("show")
def show_settings(json: Json = False) -> None:
    """Show all settings."""
    found = client().get("config")
    show(found, (f"{key} = {value}" for key, value in found.items()))


@app.command("set", context_settings={"ignore_unknown_options": True})
def set_value(
    key: Annotated[str, typer.Argument(metavar="KEY", show_default=False)],
    value: Annotated[str, typer.Argument(metavar="VALUE", show_default=False)],
    json: Json = False,
) -> None:
    """Change one setting, for example: patchwork config set test-cmd "make test"."""
    found = client().request("PUT", f"config/{part(key)}", {"value": value})
    show(found, [f"Set {key} = {found[key.replace('_', '-')]}"])
