"""What the command line said before and beside the command; one process runs one command."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer


@dataclass
class Session:
    """Where to look for the repository, and how to print."""

    directory: Path = field(default_factory=Path.cwd)
    is_json: bool = False


_current: list[Session] = []


def session() -> Session:
    """Returns this process's session."""
    if not _current:
        _current.append(Session())
    return _current[0]


def start_session(directory: Path | None) -> None:
    """Begins a command, working from a directory other than the current one if one is named."""
    _current[:] = [Session(directory.absolute())] if directory else []


def resolve(path: str) -> str:
    """Makes a path absolute, from where the command works."""
    return os.path.normpath(session().directory / path)


def default_agent() -> str:
    """Names who acts when the command line does not: PATCHWORK_AGENT, else the user."""
    named = os.environ.get("PATCHWORK_AGENT")
    if named:
        return named
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def _or_default_agent(value: str) -> str:
    return value or default_agent()


def _set_json(value: bool) -> bool:
    if value:
        session().is_json = True
    return value


Json = Annotated[
    bool, typer.Option("--json", help="Print what the API returns.", callback=_set_json)
]
Agent = Annotated[
    str,
    typer.Option(
        "--agent",
        metavar="NAME",
        help="Who acts. [default: $PATCHWORK_AGENT, else the user's name]",
        callback=_or_default_agent,
        show_default=False,
    ),
]
