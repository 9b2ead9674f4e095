"""Two texts compared line by line.

The comparison is xdiff's, as libgit2 carries it: the O(ND) algorithm of Myers, "An O(ND) Difference
Algorithm and Its Variations" (1986), with xdiff's short cuts for long inputs, and groups of changes
slid to line up. A line ends after LF; CR is part of the line. Nothing is decoded.
"""

import io
from dataclasses import dataclass

import pygit2
from pygit2.enums import DiffOption

BINARY_PROBE_BYTES = 8000
"""How far `is_binary` looks; git looks as far."""

_QUOTED = {char: f"\\{char:03o}" for char in (*range(32), 127)} | {
    ord("\n"): "\\n",
    ord("\t"): "\\t",
    ord('"'): '\\"',
    ord("\\"): "\\\\",
}


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines ``old_start`` to ``old_start + old_count`` of the old text became others of the new.

    Line numbers start at 0, and the end is not included. A count of 0 stands for a place between
    two lines: the start is the line that follows it.
    """

    old_start: int
    old_count: int
    new_start: int
    new_count: int

    @property
    def old_end(self) -> int:
        """The old line after the hunk."""
        return self.old_start + self.old_count

    @property
    def new_end(self) -> int:
        """The new line after the hunk."""
        return self.new_start + self.new_count


def split_lines(content: bytes) -> list[bytes]:
    """Cuts a content after every LF; joined, the lines are the content again."""
    return io.BytesIO(content).readlines()


def diff_hunks(old: bytes, new: bytes) -> list[Hunk]:
    """Finds what changed, in order, with at least one unchanged line between two hunks."""
    patch = pygit2.Patch.create_from(
        old, new, flag=DiffOption.FORCE_TEXT, context_lines=0, interhunk_lines=0
    )
    hunks = [
        _hunk(found.old_start, found.old_lines, found.new_start, found.new_lines)
        for found in patch.hunks
    ]
    assert hunks or old == new, "libgit2 took the contents for binary; a merge would drop an edit"
    return hunks


def _hunk(old_start: int, old_count: int, new_start: int, new_count: int) -> Hunk:
    """Makes line numbers start at 0: a unified diff counts from 1, but names the line before a gap."""
    return Hunk(
        old_start=old_start - 1 if old_count else old_start,
        old_count=old_count,
        new_start=new_start - 1 if new_count else new_start,
        new_count=new_count,
    )


def unified_diff(
    old: bytes, new: bytes, *, old_label: str, new_label: str, context_lines: int = 3
) -> bytes:
    """Writes a unified diff that ``patch`` and ``git apply`` take; equal contents give nothing.

    The labels stand after ``---`` and ``+++`` as they are (``a/src/app.py``, ``/dev/null``), quoted
    the way git does if they hold quotes, backslashes or control characters.
    """
    patch = pygit2.Patch.create_from(
        old,
        new,
        flag=DiffOption.FORCE_TEXT | DiffOption.INDENT_HEURISTIC,
        context_lines=context_lines,
        interhunk_lines=0,
    )
    _, found, hunks = patch.data.partition(b"\n@@ ")
    if not found:
        return b""
    return b"--- %b\n+++ %b\n@@ %b" % (_header_name(old_label), _header_name(new_label), hunks)


def _header_name(label: str) -> bytes:
    """Writes a name such that readers of patches find its end: quoted, or a tab after spaces."""
    quoted = label.translate(_QUOTED)
    if quoted != label:
        return b'"%b"' % quoted.encode()
    return label.encode() + (b"\t" if " " in label else b"")


def is_binary(content: bytes) -> bool:
    """Tells what git holds for binary: a NUL among the first 8,000 bytes."""
    return content.find(b"\0", 0, BINARY_PROBE_BYTES) >= 0
