"""`patchwork init`, the one command that does without a daemon."""

from pathlib import Path
from typing import Annotated

import typer

from pwfs_cli.output import count, note, show
from pwfs_cli.session import Agent, Json, resolve


def initialize(
    directory: Annotated[str, typer.Argument(metavar="[DIR]", show_default=False)] = ".",
    agent: Agent = "",
    json: Json = False,
) -> None:
    """Make a directory a repository; its files, a git checkout's tracked ones, become main."""
    import msgspec

    from pwfs.repo.importing import init

    report = init(Path(resolve(directory)), agent=agent)
    state_dir = Path(report.directory) / ".patchwork"
    show(msgspec.to_builtins(report), [f"Initialized patchwork repository in {state_dir}"])
    if json:
        return
    if report.files:
        tracked = "tracked " if report.source == "git" else ""
        note(f"Main holds {count(report.files, tracked + 'file')} of the directory.")
    for skipped in report.skipped:
        note(f"Left out: {skipped}")
