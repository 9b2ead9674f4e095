"""How many files the daemon may have open: as many as the system allows.

Each file that a program has open in the mount is one of the daemon's, and sixteen agents at work come
to a thousand, which is where most systems begin to refuse unless a program asks for more. What the
daemon starts gets the limit that it was started with: programs that use select(2) may rely on it.
"""

import resource


class OpenFiles:
    """The limit, raised for this process."""

    def __init__(self) -> None:
        self.limit, self._hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        """What the limit was before."""
        resource.setrlimit(resource.RLIMIT_NOFILE, (self._hard, self._hard))

    def restore(self) -> None:
        """Gives this process the limit that it was started with."""
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.limit, self._hard))
