"""The `patchwork` command line: global options, the table of commands, and how failures end."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from pwfs.model.errors import PatchworkError
from pwfs.model.exits import ExitCode
from pwfs_cli import __version__
from pwfs_cli.commands import (
    change,
    checks,
    config,
    fsmonitor,
    history,
    init,
    land,
    queue,
    serve,
    status,
    version,
    view,
    watch,
    workspace,
)
from pwfs_cli.failures import ApiProblem, report
from pwfs_cli.session import start_session

app = typer.Typer(
    name="patchwork",
    help="Version control for programs and people who change one code base at once.",
    epilog=(
        "Exit status: 0 done, 1 unexpected failure, 2 usage, 3 not found, 4 refused as things"
        " stand, 5 forbidden, 6 invalid input, 7 daemon or mount unavailable, 8 disk full,"
        " 9 damaged, 10 ejected (submit --wait)."
    ),
    no_args_is_help=True,
    add_completion=False,
    # Plain help and tracebacks: Rich's would double the time that --help takes.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        print(f"patchwork {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    directory: Annotated[
        Path | None,
        typer.Option("-C", metavar="DIR", help="Work as if started in DIR."),
    ] = None,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    start_session(directory)


app.command("init")(init.initialize)
app.command("status")(status.show_status)
app.add_typer(change.app, name="change")
app.add_typer(version.app, name="version")
app.add_typer(workspace.app, name="workspace")
app.add_typer(view.app, name="view")
app.command("submit")(queue.submit)
app.add_typer(queue.app, name="queue")
app.command("log")(history.show_log)
app.command("cat")(history.show_file)
app.command("diff")(history.show_diff)
app.command("land")(land.land_change)
app.command("rebase")(land.rebase_change)
app.command("conflicts")(land.show_conflicts)
app.command("serve")(serve.serve)
app.command("watch")(watch.watch)
app.add_typer(config.app, name="config")
app.add_typer(fsmonitor.app, name="fsmonitor")
app.command("fsck")(checks.check_repository)
app.command("verify")(checks.verify_landings)
app.command("doctor")(checks.examine)


def main() -> NoReturn:
    """Runs one command and exits with its status."""
    try:
        app(prog_name="patchwork")
    except (PatchworkError, ApiProblem) as error:
        sys.exit(report(error))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except FileNotFoundError:
        try:
            Path.cwd()
        except FileNotFoundError:
            sys.stderr.write("error: The current directory does not exist any more\n")
            sys.exit(ExitCode.NOT_FOUND)
        raise
    finally:
        _flush()
    sys.exit(ExitCode.OK)


def _flush() -> None:
    """Writes what is buffered; the end of a pipeline, as in `| head`, is no failure."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left has nowhere to go, and the interpreter would complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
