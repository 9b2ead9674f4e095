"""Prints answers: plain lines and tables for people, JSON for programs."""

import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from pwfs_cli.session import session


def show(answer: Any, lines: Iterable[str]) -> None:
    """Prints an answer of the API: the lines, or with ``--json`` the answer itself."""
    if session().is_json:
        show_json(answer)
    else:
        for line in lines:
            print(line)


def show_json(answer: Any) -> None:
    """Prints JSON, indented."""
    import json

    print(json.dumps(answer, indent=2, ensure_ascii=False))


def show_json_line(answer: Any) -> None:
    """Prints JSON as one line, at once: for streams."""
    import json

    print(json.dumps(answer, ensure_ascii=False, separators=(",", ":")), flush=True)


def note(line: str) -> None:
    """Tells a person something that is not the command's output."""
    sys.stderr.write(line + "\n")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterable[str]:
    """Formats a table: in columns on a terminal, else with single spaces, as `cut` likes it."""
    cells = [list(header), *([_cell(cell) for cell in row] for row in rows)]
    if not sys.stdout.isatty():
        return [" ".join(row) for row in cells]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _cell(value: object) -> str:
    """Writes a value on one line: what a title or a name has of control characters is shown."""
    text = str(value)
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    is_control = unicodedata.category(character) == "Cc"
    return ascii(character)[1:-1] if is_control else character


def count(number: int, noun: str) -> str:
    """Writes a number with its noun: ``1 operation``, ``2 operations``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def moment(timestamp: str) -> str:
    """Cuts an RFC 3339 moment in UTC to whole seconds: ``2026-02-24T10:30:00Z``."""
    seconds, _, _ = timestamp.removesuffix("Z").removesuffix("+00:00").partition(".")
    return seconds + "Z"


def describe_trouble(trouble: dict[str, Any]) -> str:
    """Writes on one line what the daemon does not succeed in."""
    about = f" ({trouble['about']})" if trouble["about"] else ""
    tries = count(trouble["failures"], "failure")
    since = moment(trouble["since"])
    return _cell(f"{trouble['what']}{about}, {tries} since {since}: {trouble['error']}")
