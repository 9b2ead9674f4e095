"""What every handler of a request does with what is raised in it."""

import errno
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

import structlog
import trio
from pyfuse3 import FUSEError

from pwfs.fs.errors import errno_of, refusal
from pwfs.model.errors import PatchworkError, StoreBusy

LOCKED_WAIT_S = 10.0
LOCKED_PAUSE_S = 0.05
_log = structlog.get_logger(__name__)
_S = TypeVar("_S")
_P = ParamSpec("_P")
_R = TypeVar("_R")


def answering(
    handler: Callable[Concatenate[_S, _P], Coroutine[Any, Any, _R]],
) -> Callable[Concatenate[_S, _P], Coroutine[Any, Any, _R]]:
    """Turns what a handler raises into an errno; a mistake of ours is EIO, not a dead mount.

    A handler that finds the database locked by another program has changed nothing, and is tried
    again for a while, as a program waits for a disk; other requests are answered meanwhile.
    """

    async def answer(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            give_up_at = trio.current_time() + LOCKED_WAIT_S
            while True:
                try:
                    return await handler(self, *args, **kwargs)
                except StoreBusy:
                    if trio.current_time() > give_up_at:
                        raise
                await trio.sleep(LOCKED_PAUSE_S)
        except FUSEError:
            raise
        except (PatchworkError, OSError) as error:
            raise refusal(errno_of(error)) from error
        except Exception as error:
            _log.exception("request failed", handler=handler.__name__)
            raise refusal(errno.EIO) from error

    functools.update_wrapper(answer, handler)
    return answer
