"""How large a file may be for its lines to be merged; a larger one is treated as binary.

A line diff of two unrelated texts costs about n**1.5 for n lines and holds the interpreter's lock
all the while (half a million lines: some seconds; with a thousand edits in them: a quarter of one).
"""

MERGE_SIZE_BYTES_MAX = 64 * 1024 * 1024
"""The length of the longest content that is merged line by line."""

MERGE_LINES_MAX = 500_000
"""The number of newlines in the longest content that is merged line by line."""


def is_too_large(*contents: bytes) -> bool:
    """Tells whether any of the contents is too long to be diffed or merged by lines."""
    return any(
        len(content) > MERGE_SIZE_BYTES_MAX or content.count(b"\n") > MERGE_LINES_MAX
        for content in contents
    )
