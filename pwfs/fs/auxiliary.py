"""Names that programs make from a file's own, for what they keep beside it while they save."""

from collections.abc import Iterator

STEMS_MAX = 64
"""A name of nothing but punctuation could be made from very many."""


def stems(name: str) -> Iterator[str]:
    """Yields the names that a name may have been made from, by adding to it at either end.

    What was added begins, seen from the file's own name, with a character that is no letter or
    digit: ``.README.md.swp``, ``README.md~``, ``#README.md#``, ``.README.md.a8Xk2c``,
    ``README.md___jb_tmp___`` are all made from ``README.md``; ``README.mdx`` is not.
    """
    count = 0
    start = 0
    while True:
        rest = name[start:]
        for end in range(len(rest), 0, -1):
            is_cut = end == len(rest) or not rest[end].isalnum()
            if is_cut and (start or end < len(rest)):
                yield rest[:end]
                count += 1
                if count == STEMS_MAX:
                    return
        if not rest or rest[0].isalnum():
            return
        start += 1


def is_made_from(name: str, stem: str) -> bool:
    """Whether a name may have been made from another."""
    return stem in name and any(each == stem for each in stems(name))
