"""`patchwork init`, the one command that does without a daemon."""

import errno
from pathlib import Path
from typing import Annotated

import typer

from pwfs.model.errors import InvalidArgument, NoSpace, NotARepository
from pwfs_cli.locate import find_root
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

    if not directory:
        raise InvalidArgument(name="directory", reason="it is empty")
    target = Path(resolve(directory))
    try:
        _refuse_bare(target)
        report = init(target, agent=agent)
    except OSError as error:
        what = str(error.filename or target)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(what=f"{what} could not be written") from error
        reason = f"cannot write {what}: {error.strerror}"
        raise InvalidArgument(name="directory", reason=reason) from error
    state_dir = Path(report.directory) / ".patchwork"
    show(msgspec.to_builtins(report), [f"Initialized patchwork repository in {state_dir}"])
    if json:
        return
    if report.files:
        tracked = "tracked " if report.source == "git" else ""
        note(f"Main holds {count(report.files, tracked + 'file')} of the directory.")
    for skipped in report.skipped:
        note(f"Left out: {skipped}")
    if report.source == "git" and _is_edited(target):
        note("Uncommitted changes of the checkout are not in main.")
    try:
        above = find_root(Path(report.directory).parent)
    except NotARepository:
        return
    note(f"It lies inside the repository {above} and shares nothing with it.")


def _refuse_bare(directory: Path) -> None:
    if (directory / "HEAD").is_file() and all(
        (directory / name).is_dir() for name in ("objects", "refs")
    ):
        reason = f"{directory} is git's own directory or a bare repository; name a checkout"
        raise InvalidArgument(name="directory", reason=reason)


def _is_edited(checkout: Path) -> bool:
    """Whether tracked files differ from HEAD, which is what became main."""
    import subprocess

    command = ["git", "-C", str(checkout), "status", "--porcelain", "--untracked-files=no"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return False
    return bool(done.stdout)
