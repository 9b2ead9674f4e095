"""Makes one step of the mounting process fail, or end it: every step in its turn.

A step is a system call by which the process changes something on its disk, below the repository's
own directory, or the begin or end of a transaction. `install` counts them from when it is told to;
the one that is asked for raises, or ends the process before or after it was made.
"""

import errno
import os
import pkgutil
import sqlite3
from collections.abc import Callable
from functools import wraps
from typing import Any

from pwfs.model.errors import NoSpace, StoreBusy, StoreFailed
from pwfs.store.sqlite_connection import SqliteConnection

KILLED = 137
_TAKING_ROOM = ("open", "write", "pwrite", "link", "mkdir", "symlink", "mknod", "copy_file_range")
_CALLS = (
    *_TAKING_ROOM,
    "ftruncate",
    "rename",
    "replace",
    "unlink",
    "rmdir",
    "chmod",
    "fchmod",
    "chown",
    "utime",
    "fsync",
)


def break_calls(name: str, times: int) -> None:
    """Makes the next calls of a function or method raise what nobody expects.

    ``name`` is dotted, as one would write it: ``pwfs.fs.writing.Writing.capture``.
    """
    owner_name, _, called = name.rpartition(".")
    owner: Any = pkgutil.resolve_name(owner_name)
    call = getattr(owner, called)
    left = times

    @wraps(call)
    def breaking(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise KeyError("a defect")
        return call(*arguments, **options)

    setattr(owner, called, breaking)


class Faults:
    """What is to fail, and how many steps there were."""

    def __init__(self, below: str) -> None:
        self._below = below
        self.steps: list[str] = []
        self.has_struck = False
        self._at = 0
        self._kind = ""
        self._is_on = False

    def arm(self, kind: str, at: int) -> None:
        """From now on the step number ``at`` (from 1) fails so; 0 only counts.

        A disk that is full, or over a quota, stays so: then all that follow fail, too.
        """
        self.steps = []
        self.has_struck = False
        self._kind, self._at, self._is_on = kind, at, True

    def disarm(self) -> list[str]:
        """Lets everything succeed; the steps up to the one that failed, nothing if none did."""
        self._is_on = False
        return self.steps[: self._at] if self.has_struck else []

    def install(self) -> None:
        """Puts itself between the process and its disk."""
        for name in _CALLS:
            setattr(os, name, self._call(name, getattr(os, name)))
        for name in ("execute",):
            setattr(SqliteConnection, name, self._statement(getattr(SqliteConnection, name)))

    def _call(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def stepping(*arguments: Any, **options: Any) -> Any:
            if not self._is_on or not self._concerns(name, arguments):
                return call(*arguments, **options)
            return self._step(name, lambda: call(*arguments, **options), self._os_error)

        return stepping

    def _concerns(self, name: str, arguments: tuple[Any, ...]) -> bool:
        if name == "open" and not arguments[1] & (os.O_CREAT | os.O_TRUNC):
            return False
        return any(self._is_ours(argument) for argument in arguments[:2])

    def _is_ours(self, argument: object) -> bool:
        if isinstance(argument, int) and argument > 2:
            try:
                argument = os.readlink(f"/proc/self/fd/{argument}")  # noqa: PTH115
            except OSError:
                return False
        if isinstance(argument, str | os.PathLike):
            return os.fspath(argument).startswith(self._below)
        return False

    def _statement(self, execute: Callable[..., sqlite3.Cursor]) -> Callable[..., sqlite3.Cursor]:
        @wraps(execute)
        def stepping(connection: SqliteConnection, statement: str, values: Any = ()) -> Any:
            if not self._is_on or statement not in ("BEGIN IMMEDIATE", "COMMIT"):
                return execute(connection, statement, values)
            return self._step(
                statement, lambda: execute(connection, statement, values), self._log_error
            )

        return stepping

    def _step(self, name: str, call: Callable[[], Any], error: Callable[[], Exception]) -> Any:
        if not self._may_fail(name):
            return call()
        self.steps.append(name)
        goes_on = self._kind in ("full", "quota") and len(self.steps) > self._at > 0
        if len(self.steps) != self._at and not goes_on:
            return call()
        self.has_struck = True
        if self._kind == "before":
            os._exit(KILLED)
        if self._kind == "after":
            try:
                call()
            finally:
                # Also of what raises, as removing does where nothing is.
                os._exit(KILLED)
        raise error()

    def _may_fail(self, name: str) -> bool:
        if self._kind == "locked":
            return name == "BEGIN IMMEDIATE"
        if self._kind in ("full", "quota"):
            return name in _TAKING_ROOM or name == "COMMIT"
        return True

    def _os_error(self) -> OSError:
        number = {"full": errno.ENOSPC, "quota": errno.EDQUOT}.get(self._kind, errno.EIO)
        return OSError(number, os.strerror(number))

    def _log_error(self) -> Exception:
        if self._kind in ("full", "quota"):
            return NoSpace(what="oplog.db could not be written")
        if self._kind == "locked":
            return StoreBusy()
        return StoreFailed(what="oplog.db", reason="disk I/O error")
