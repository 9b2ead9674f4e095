"""The exit statuses of `patchwork` and of its daemon. They are part of the interface: they stay."""

import enum
from typing import Final

from pwfs.model.errors import Category


class ExitCode(enum.IntEnum):
    """What a command's exit status says."""

    OK = 0
    UNEXPECTED = 1
    """A defect, or a failure that no other status describes."""
    USAGE = 2
    """The command line was not understood."""
    NOT_FOUND = 3
    """Something named does not exist, or this is no repository."""
    CONFLICT = 4
    """Refused because of the state things are in; nothing was changed."""
    FORBIDDEN = 5
    """Not allowed, or not authenticated."""
    INVALID = 6
    """A value that is not valid, or a body that is too large."""
    UNAVAILABLE = 7
    """The daemon or the mount is not available."""
    NO_SPACE = 8
    """The disk is full."""
    CORRUPT = 9
    """Something stored is damaged: run `patchwork fsck`."""
    EJECTED = 10
    """`patchwork submit --wait`: the change left the queue without landing."""


EXIT_CODES: Final[dict[Category, ExitCode]] = {
    Category.INVALID: ExitCode.INVALID,
    Category.NOT_FOUND: ExitCode.NOT_FOUND,
    Category.CONFLICT: ExitCode.CONFLICT,
    Category.FORBIDDEN: ExitCode.FORBIDDEN,
    Category.UNAUTHENTICATED: ExitCode.FORBIDDEN,
    Category.TOO_LARGE: ExitCode.INVALID,
    Category.NO_SPACE: ExitCode.NO_SPACE,
    Category.UNAVAILABLE: ExitCode.UNAVAILABLE,
    Category.CORRUPT: ExitCode.CORRUPT,
}
"""The exit status of each category of expected failures."""


def exit_code_of(category: str) -> ExitCode:
    """Maps the ``category`` of a problem document; one that is not known counts as unexpected."""
    try:
        return EXIT_CODES[Category(category)]
    except ValueError:
        return ExitCode.UNEXPECTED
