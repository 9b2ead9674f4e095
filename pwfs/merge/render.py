"""Conflict markers, made from a merge's regions when somebody wants to read them.

The form is that of diff3 with the base in the middle, byte for byte what
``git merge-file --zdiff3 --marker-size`` writes.
"""

import re
from collections.abc import Iterator
from itertools import count

from pwfs.merge.text import Clean, Conflict, TextMerge

MARKER_SIZE_MIN = 7
"""What people and tools look for; longer only where the text has such lines itself."""

_RUNS = tuple(char * MARKER_SIZE_MIN for char in (b"<", b"|", b"=", b">"))
_MARKER_LINE = re.compile(rb"^(?:<{7,}|\|{7,}|={7,}|>{7,})(?=\s|\Z)", re.MULTILINE)


def render(
    merge: TextMerge, *, theirs_label: str, yours_label: str, base_label: str = "base"
) -> bytes:
    """Writes the merge as a text, each conflict between markers.

    A marker line is `marker_size` times its character, then a space and the label, if that is not
    empty. No other line of the text begins with exactly as many followed by white space. A side
    whose last line lacks the newline is given one inside a conflict, like the markers CRLF if the
    file around uses it. A clean merge is its content, unchanged.

    Raises:
        ValueError: a label holds a line break.
    """
    size = marker_size(merge)
    opening = _marker(b"<", size, theirs_label)
    middle = _marker(b"|", size, base_label)
    closing = _marker(b">", size, yours_label)
    parts: list[bytes] = []
    for region in merge.regions:
        match region:
            case Clean(content):
                parts.append(content)
            case Conflict(base, theirs, yours, eol):
                parts += (
                    *(opening, eol, _ended(theirs, eol)),
                    *(middle, eol, _ended(base, eol)),
                    *(b"=" * size, eol, _ended(yours, eol)),
                    *(closing, eol),
                )
    return b"".join(parts)


def marker_size(merge: TextMerge) -> int:
    """Finds the smallest size, from 7, that no line of the merge could be taken for a marker of."""
    taken = {
        len(found.group())
        for content in _contents(merge)
        if any(run in content for run in _RUNS)
        for found in _MARKER_LINE.finditer(content)
    }
    return next(size for size in count(MARKER_SIZE_MIN) if size not in taken)


def _contents(merge: TextMerge) -> Iterator[bytes]:
    for region in merge.regions:
        match region:
            case Clean(content):
                yield content
            case Conflict(base, theirs, yours):
                yield from (base, theirs, yours)


def _marker(char: bytes, size: int, label: str) -> bytes:
    if "\n" in label or "\r" in label:
        raise ValueError(f"the label {label!r} of a conflict marker has more than one line")
    return char * size + (b" " + label.encode() if label else b"")


def _ended(lines: bytes, eol: bytes) -> bytes:
    return lines + eol if lines and not lines.endswith(b"\n") else lines
