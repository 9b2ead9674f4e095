"""Paths inside the code base: relative, ``/``-separated, UTF-8, normalised."""

import errno
from collections.abc import Iterator
from typing import NewType

from pwfs.model.errors import InvalidPath

RepoPath = NewType("RepoPath", str)
"""A checked path; ``ROOT`` (the empty string) names the top directory."""

ROOT = RepoPath("")
RESERVED_NAME = ".patchwork"
NAME_LENGTH_MAX_BYTES = 255
PATH_LENGTH_MAX_BYTES = 8191
"""Twice the kernel's PATH_MAX: a path of full length from a working directory that is as deep."""


def parse_path(text: str) -> RepoPath:
    """Checks a path given by a user or a program.

    Raises:
        InvalidPath: empty, absolute, ``.``, ``..`` or an empty part, NUL, a reserved or too long
            name, or text that UTF-8 cannot express.
    """
    if not text:
        raise InvalidPath(path=text, reason="it is empty")
    if text.startswith("/"):
        raise InvalidPath(path=text, reason="it is absolute; paths are relative to the code base")
    for name in text.split("/"):
        check_name(name, path=text)
    if len(text.encode()) > PATH_LENGTH_MAX_BYTES:
        raise InvalidPath(
            path=text,
            reason=f"it is longer than {PATH_LENGTH_MAX_BYTES} bytes",
            errno=errno.ENAMETOOLONG,
        )
    return RepoPath(text)


def check_name(name: str, *, path: str | None = None) -> None:
    """Checks one part of a path.

    Raises:
        InvalidPath: as for `parse_path`; its ``errno`` says what a filesystem answers.
    """
    shown = name if path is None else path
    if name in ("", ".", ".."):
        raise InvalidPath(path=shown, reason=f"it has the part {name!r}")
    if "\0" in name or "/" in name:
        raise InvalidPath(path=shown, reason="it has a NUL byte or a slash inside a name")
    if name == RESERVED_NAME:
        raise InvalidPath(
            path=shown, reason=f"the name {RESERVED_NAME} is reserved", errno=errno.EPERM
        )
    try:
        length_bytes = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidPath(path=shown, reason="it is not UTF-8", errno=errno.EILSEQ) from None
    if length_bytes > NAME_LENGTH_MAX_BYTES:
        raise InvalidPath(
            path=shown,
            reason=f"a name is longer than {NAME_LENGTH_MAX_BYTES} bytes",
            errno=errno.ENAMETOOLONG,
        )


def join(directory: RepoPath, name: str) -> RepoPath:
    """Puts a checked name under a directory."""
    return RepoPath(f"{directory}/{name}" if directory else name)


def split(path: RepoPath) -> tuple[RepoPath, str]:
    """Splits a path into its directory and its last name."""
    directory, _, name = path.rpartition("/")
    return RepoPath(directory), name


def parents(path: RepoPath) -> Iterator[RepoPath]:
    """Yields the directories above a path, nearest first, ``ROOT`` last."""
    while path:
        path = split(path)[0]
        yield path


def is_under(path: RepoPath, directory: RepoPath) -> bool:
    """Tells whether a path lies strictly below a directory."""
    return not directory or path.startswith(directory + "/")
