"""Finds conflicts when they arise: follows the log and compares what moved.

The repository publishes only what is new, so looking twice at a path does no harm; that is why
the watcher keeps no position of its own but looks over all open work when it starts.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator

import trio

from pwfs.model.changes import Change
from pwfs.model.events import Event, EventType
from pwfs.model.ids import ChangeId, EventId
from pwfs.model.paths import RepoPath
from pwfs.repo import Repository

EVENTS_MAX = 1_000
PATHS_MAX = 32
FOLLOWED = frozenset({EventType.OP_APPENDED, EventType.CHANGE_LANDED})


async def watch_conflicts(repo: Repository) -> None:
    """Compares every edit with main and with all other open changes, until cancelled."""
    watcher = _Watcher(repo)
    unsubscribe = repo.subscribe(watcher.wake)
    try:
        await watcher.run()
    finally:
        unsubscribe()


class _Watcher:
    """The paths of each change that are still to be compared, and how far the events are read."""

    def __init__(self, repo: Repository) -> None:
        self._repo = repo
        self._moved = trio.Event()
        self._cursor: EventId | None = None
        self._owed: defaultdict[ChangeId, set[RepoPath]] = defaultdict(set)
        self._again_at: dict[ChangeId, float] = {}
        """When to try again those that failed, by trio's clock."""
        self._reading = repo.health.duty("conflicts", "the log is not followed")
        self._comparing = repo.health.duty("conflicts", "conflicts are not looked for")

    def wake(self) -> None:
        self._moved.set()

    async def run(self) -> None:
        while True:
            self._moved = trio.Event()
            is_more = False
            with self._reading.attempt():
                is_more = self._read_on()
            now = trio.current_time()
            for change_id in [c for c in self._owed if self._again_at.get(c, now) <= now]:
                await self._compare(change_id)
            if not is_more:
                await self._rest()

    async def _rest(self) -> None:
        """Waits until something moves, or until what failed is worth another try."""
        until = min(self._again_at.values(), default=math.inf)
        if pause_s := self._reading.pause_s():
            until = min(until, trio.current_time() + pause_s)
        with trio.move_on_at(until):
            await self._moved.wait()

    def _read_on(self) -> bool:
        """Takes note of what is to be compared; returns whether there may be more to read."""
        repo = self._repo
        if self._cursor is None:
            cursor = repo.log.last_event_id()
            found = {change.id: _touched(repo, change) for change in _open_changes(repo)}
        else:
            events = repo.events(self._cursor, FOLLOWED, EVENTS_MAX)
            if not events:
                return False
            cursor = events[-1].id
            found = _by_change(repo, events)
        for change_id, paths in found.items():
            self._owed[change_id] |= paths
            self._again_at.pop(change_id, None)
        self._cursor = cursor
        return True

    async def _compare(self, change_id: ChangeId) -> None:
        """Compares what is owed of a change; what fails, for a damaged content, stays owed."""
        owed = self._owed[change_id]
        self._again_at.pop(change_id, None)
        with self._comparing.attempt(about=change_id) as attempt:
            # After a failure each by itself, so that one hides no other.
            size = PATHS_MAX if not self._comparing.pause_s(change_id) else 1
            for batch in _batches(sorted(owed), size):
                with attempt.part():
                    self._repo.detect_conflicts(change_id, batch)
                    owed.difference_update(batch)
                await trio.lowlevel.checkpoint()
        if attempt.error is None:
            del self._owed[change_id]
        else:
            pause_s = self._comparing.pause_s(change_id)
            self._again_at[change_id] = trio.current_time() + pause_s


def _touched(repo: Repository, change: Change) -> set[RepoPath]:
    return {op.path for op in repo.log.ops(change_id=change.id)}


def _by_change(repo: Repository, events: Iterable[Event]) -> dict[ChangeId, set[RepoPath]]:
    """Collects the paths to look at; a landing moves main under every open change."""
    found: defaultdict[ChangeId, set[RepoPath]] = defaultdict(set)
    for event in events:
        change_id = ChangeId(str(event.payload.get("change_id", "")))
        if event.type is EventType.OP_APPENDED:
            for name in ("path", "old_path"):
                path = event.payload.get(name)
                if isinstance(path, str) and path:
                    found[change_id].add(RepoPath(path))
        elif landed := repo.log.change(change_id):
            paths = _touched(repo, landed)
            for change in (landed, *_open_changes(repo)):
                found[change.id] |= paths
    return dict(found)


def _open_changes(repo: Repository) -> list[Change]:
    return [change for change in repo.changes() if not change.status.is_final]


def _batches(paths: list[RepoPath], size: int) -> Iterator[list[RepoPath]]:
    for start in range(0, len(paths), size):
        yield paths[start : start + size]
