"""Merging of text: line diffs, three-way merges kept as regions, conflict markers made late.

Pure functions of bytes. What is a conflict is known from the regions, never from looking for
markers in a text. The verdict and the text are those of ``git merge-file --zdiff3``.
"""

from pwfs.merge.limits import MERGE_LINES_MAX, MERGE_SIZE_BYTES_MAX, is_too_large
from pwfs.merge.lines import Hunk, diff_hunks, is_binary, unified_diff
from pwfs.merge.render import marker_size, render
from pwfs.merge.text import Clean, Conflict, Region, TextMerge, merge_text

__all__ = [
    "MERGE_LINES_MAX",
    "MERGE_SIZE_BYTES_MAX",
    "Clean",
    "Conflict",
    "Hunk",
    "Region",
    "TextMerge",
    "diff_hunks",
    "is_binary",
    "is_too_large",
    "marker_size",
    "merge_text",
    "render",
    "unified_diff",
]
