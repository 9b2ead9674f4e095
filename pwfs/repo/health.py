"""What keeps going beside the answering of requests, and what of it does not succeed for now.

Such work comes in units: a change to compare, a flush, a step of the queue. A unit that fails, for
whatever reason, must not end its task, because with a task ends the daemon, and with the daemon the
mount that programs work in. So it is told of in the log, stands here until it succeeds, and is tried
again after a pause that grows. Everything here runs on the repository's one thread.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import structlog

from pwfs.model.errors import PatchworkError

_log = structlog.get_logger(__name__)
PAUSE_S_MIN = 1.0
PAUSE_S_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """Work that failed, and has not succeeded since.

    ``task`` is the duty's name and ``about`` the part of its work, if it has several; ``what`` says
    what is not done meanwhile, ``error`` why, as of the latest of the ``failures`` in a row.
    """

    task: str
    about: str
    what: str
    error: str
    since: datetime
    failures: int

    @property
    def pause_s(self) -> float:
        """How long to wait before the next try."""
        return min(PAUSE_S_MAX, PAUSE_S_MIN * 2.0 ** min(self.failures - 1, 16))


class Health:
    """The troubles of a repository's tasks."""

    def __init__(self) -> None:
        self._troubles: dict[tuple[str, str], Trouble] = {}

    def duty(self, task: str, what: str) -> "Duty":
        """A task's part; ``what`` says what is not done while it fails."""
        return Duty(task, what, self._troubles)

    def troubles(self) -> list[Trouble]:
        """What does not succeed for now, the oldest first."""
        return list(self._troubles.values())


class Duty:
    """What one task keeps doing."""

    def __init__(self, task: str, what: str, troubles: dict[tuple[str, str], Trouble]) -> None:
        self._task = task
        self._what = what
        self._troubles = troubles

    def attempt(self, about: str = "") -> "Attempt":
        """Guards one unit of the work; a part of it with a name succeeds and fails by itself."""
        return Attempt(lambda error: self._ended(about, error))

    def pause_s(self, about: str = "") -> float:
        """How long to wait before a unit that failed is tried again; 0 if it did not."""
        trouble = self._troubles.get((self._task, about))
        return trouble.pause_s if trouble is not None else 0.0

    def forget(self, about: str) -> None:
        """Drops the trouble with what is not there any more."""
        self._troubles.pop((self._task, about), None)

    def _ended(self, about: str, error: Exception | None) -> None:
        key = (self._task, about)
        before = self._troubles.get(key)
        if error is None:
            if before is not None:
                del self._troubles[key]
                _log.info("it succeeds again", task=self._task, about=about)
            return
        text = str(error) or type(error).__name__
        if before is None:
            now = datetime.now(UTC)
            self._troubles[key] = Trouble(self._task, about, self._what, text, now, 1)
        else:
            self._troubles[key] = replace(before, error=text, failures=before.failures + 1)
        if before is None or before.error != text:
            tell_failure(_log, self._what, error, about=about)


class Attempt:
    """One try, as a context that lets no `Exception` out; what cancels or ends a task passes."""

    def __init__(self, ended: Callable[[Exception | None], None]) -> None:
        self._ended = ended
        self.error: Exception | None = None
        """The first failure."""

    def part(self) -> "Attempt":
        """Guards a part of it, after whose failure the other parts are tried all the same."""

        def ended(error: Exception | None) -> None:
            self.error = self.error or error

        return Attempt(ended)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if error is not None and not isinstance(error, Exception):
            return False
        self.error = self.error or error
        self._ended(self.error)
        return True


def guarded(log: structlog.typing.FilteringBoundLogger, what: str, **about: str) -> Attempt:
    """Guards work whose failure is logged each time, and kept in mind by whoever does it."""

    def ended(error: Exception | None) -> None:
        if error is not None:
            tell_failure(log, what, error, **about)

    return Attempt(ended)


def tell_failure(
    log: structlog.typing.FilteringBoundLogger, what: str, error: Exception, **about: str
) -> None:
    """Logs a failure: what may happen in a line, a defect of ours with where it was."""
    if isinstance(error, PatchworkError | OSError):
        log.warning(what, error=str(error), **about)
    else:
        log.error(what, error=repr(error), exc_info=error, **about)
