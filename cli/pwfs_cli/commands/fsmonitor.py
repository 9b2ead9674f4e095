"""`patchwork fsmonitor`: git asks Patchwork what changed, instead of looking at every file."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import typer

from pwfs.model.errors import AlreadyExists, InvalidArgument, NotFound
from pwfs_cli.output import show
from pwfs_cli.session import Json, session
from pwfs_cli.standing import standing_on

app = typer.Typer(help="Let git ask Patchwork what changed.", no_args_is_help=True)

HOOK = Path(__file__).parent.parent / "fsmonitor_hook.py"
KEY, VERSION_KEY = "core.fsmonitor", "core.fsmonitorHookVersion"


@app.command("install")
def install(json: Json = False) -> None:
    """Set the git checkout here up to ask Patchwork."""
    top = _top()
    standing = standing_on(os.path.realpath(top))
    if standing is None or standing.workspace is None:
        raise InvalidArgument(name="directory", reason=f"{top} is in no workspace of Patchwork")
    current = _configured()
    if current and not _is_ours(current):
        raise AlreadyExists(kind=f"setting {KEY}", id=current)
    hook = shlex.join([sys.executable, "-I", "-S", os.fspath(HOOK)])
    _git("config", KEY, hook)
    _git("config", VERSION_KEY, "2")
    answer = {"checkout": top, "hook": hook, "installed": True}
    show(answer, [f"git in {top} asks Patchwork what changed."])


@app.command("uninstall")
def uninstall(json: Json = False) -> None:
    """Have git look at every file again."""
    top = _top()
    current = _configured()
    if _is_ours(current):
        _git("config", "--unset-all", KEY)
        _git("config", "--unset-all", VERSION_KEY)
    answer = {"checkout": top, "hook": None, "installed": False}
    show(answer, [f"git in {top} looks at every file itself."])


def _top() -> str:
    """The top of git's working tree."""
    done = _run("rev-parse", "--show-toplevel")
    if done.returncode:
        raise NotFound(kind="git checkout at", id=os.fspath(session().directory))
    return done.stdout.removesuffix("\n")


def _configured() -> str:
    """What this checkout's own configuration says; empty for nothing."""
    return _run("config", "--local", "--get", KEY).stdout.removesuffix("\n")


def _is_ours(hook: str) -> bool:
    return HOOK.name in hook


def _git(*arguments: str) -> None:
    done = _run(*arguments)
    if done.returncode:
        raise InvalidArgument(name="git", reason=done.stderr.strip())


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=session().directory,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise NotFound(kind="program", id="git") from None
