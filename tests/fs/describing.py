# ruff: noqa: PTH115, PTH118, PTH123, PTH208
"""Everything that a program can find out about what is below a directory, to be compared."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from tests.fs.calls import OLDEST_NOW_NS


@dataclass(frozen=True, slots=True)
class Described:
    """One name. ``mtime_ns`` is 0 when nobody set the time."""

    kind: str
    bits: int
    links: int
    owner: tuple[int, int]
    mtime_ns: int
    content: bytes
    xattrs: tuple[tuple[str, bytes], ...] = ()


def describe(top: str) -> dict[str, Described]:
    """Everything below a directory, by path."""
    return dict(_below(top, ""))


def _below(place: str, prefix: str) -> Iterator[tuple[str, Described]]:
    for name in sorted(os.listdir(place)):
        path = os.path.join(place, name)
        status = os.lstat(path)
        yield prefix + name, _described(path, status)
        if stat.S_ISDIR(status.st_mode):
            yield from _below(path, f"{prefix}{name}/")


def _described(path: str, status: os.stat_result) -> Described:
    kind, content = stat.filemode(status.st_mode)[0], b""
    if kind == "-":
        with open(path, "rb", buffering=0) as file:
            content = file.read()
            assert len(content) == status.st_size == os.fstat(file.fileno()).st_size, path
    elif kind == "l":
        content = os.fsencode(os.readlink(path))
        assert len(content) == status.st_size, path
    names = sorted(os.listxattr(path, follow_symlinks=False)) if kind != "p" else []
    return Described(
        kind,
        stat.S_IMODE(status.st_mode),
        status.st_nlink,
        (status.st_uid, status.st_gid),
        status.st_mtime_ns if status.st_mtime_ns < OLDEST_NOW_NS else 0,
        content,
        tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names),
    )


def differences(shown: dict[str, Described], plain: dict[str, Described]) -> list[str]:
    """What is not alike, a line each, long contents cut."""
    return [
        f"{path}: shown {_short(shown.get(path))}, on disk {_short(plain.get(path))}"
        for path in sorted(shown.keys() | plain.keys())
        if shown.get(path) != plain.get(path)
    ]


def _short(described: Described | None) -> str:
    if described is None:
        return "nothing"
    text = repr(described)
    if len(described.content) > 60:
        size = len(described.content)
        text = text.replace(repr(described.content), f"{described.content[:30]!r}... ({size})")
    return text
