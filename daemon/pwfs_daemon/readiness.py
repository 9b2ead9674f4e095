"""One line to whoever started the daemon: that it answers now, or why it never will."""

import os

import msgspec

from pwfs.model.errors import PatchworkError
from pwfs.model.problems import to_problem


class Readiness:
    """A pipe's writing end, inherited from the starter; without one nobody is told."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        if descriptor is not None:
            # The tests that the queue runs must not keep the starter waiting.
            os.set_inheritable(descriptor, False)

    def ready(self) -> None:
        """Says that requests are answered from now on."""
        self._tell(b"ready\n")

    def failed(self, error: PatchworkError) -> None:
        """Says, as a problem document, why the daemon does not start."""
        self._tell(msgspec.json.encode(to_problem(error)) + b"\n")

    def _tell(self, line: bytes) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            os.write(descriptor, line)
        except BrokenPipeError:
            pass
        finally:
            os.close(descriptor)
