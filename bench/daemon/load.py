"""Requests at a steady rate, from a process of their own: `python -m bench.daemon.load SOCKET RATE`.

It says ``ready`` once each connection was answered, goes on until its input ends, and then prints how
many requests were answered, and in how many seconds.
"""

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from subprocess import PIPE, Popen

from bench.project import Api

CONNECTIONS = 4
REQUESTS = ("head", "changes?limit=10", "ops?limit=10&newest_first=true", "workspaces")
"""Asked for in turn."""


@dataclass
class Load:
    """A load that is there until its block ends."""

    answered_per_s: float = 0.0
    """Known afterwards."""


@contextmanager
def load(socket: str, rate_per_s: int) -> Iterator[Load]:
    """Makes requests in the background while a block runs."""
    command = [sys.executable, "-m", "bench.daemon.load", socket, str(rate_per_s)]
    told = Load()
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("the load did not start")
            yield told
        finally:
            process.stdin.close()
            words = process.stdout.read().split()
    if process.returncode:
        raise RuntimeError(f"the load ended with {process.returncode}")
    told.answered_per_s = int(words[0]) / float(words[1])


class Requester:
    """Makes requests on one connection, each when its time has come; a late one at once."""

    def __init__(self, socket: str, every_s: float, ended: threading.Event) -> None:
        self._api = Api(socket)
        self._every_s = every_s
        self._ended = ended
        # The connection is there, and the daemon knows the questions.
        for path in REQUESTS:
            self._api.call("GET", path)

    def run(self) -> int:
        """Returns how many were answered when the end had come."""
        answered = 0
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            self._api.call("GET", REQUESTS[answered % len(REQUESTS)])
            answered += 1
            due += self._every_s
        return answered


def main(socket: str, rate_per_s: int) -> None:
    """Requests until the input ends; what one of them raised is raised."""
    ended = threading.Event()
    every_s = CONNECTIONS / rate_per_s
    requesters = [Requester(socket, every_s, ended) for _ in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        started = time.monotonic()
        running = [pool.submit(requester.run) for requester in requesters]
        print("ready", flush=True)
        sys.stdin.read()
        ended.set()
        answered = sum(each.result() for each in running)
    print(answered, time.monotonic() - started)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
