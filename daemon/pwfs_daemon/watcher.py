"""Finds conflicts when they arise: follows the log and compares what moved.

The repository publishes only what is new, so looking twice at a path does no harm; that is why
the watcher keeps no position of its own but looks over all open work when it starts.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import structlog
import trio

from pwfs.model.changes import Change
from pwfs.model.errors import PatchworkError
from pwfs.model.events import Event, EventType
from pwfs.model.ids import ChangeId, EventId
from pwfs.model.paths import RepoPath
from pwfs.repo import Repository

log = structlog.get_logger(__name__)

EVENTS_MAX = 1_000
PATHS_MAX = 32
FOLLOWED = frozenset({EventType.OP_APPENDED, EventType.CHANGE_LANDED})


async def watch_conflicts(repo: Repository) -> None:
    """Compares every edit with main and with all other open changes, until cancelled."""
    moved = trio.Event()

    def wake() -> None:
        moved.set()

    unsubscribe = repo.subscribe(wake)
    try:
        cursor = repo.log.last_event_id()
        for change in _open_changes(repo):
            await _compare(repo, change.id, _touched(repo, change))
        while True:
            moved = trio.Event()
            events = repo.events(cursor, FOLLOWED, EVENTS_MAX)
            if not events:
                await moved.wait()
                continue
            cursor = EventId(events[-1].id)
            for change_id, paths in _by_change(repo, events).items():
                await _compare(repo, change_id, paths)
    finally:
        unsubscribe()


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


async def _compare(repo: Repository, change_id: ChangeId, paths: Iterable[RepoPath]) -> None:
    for batch in _batches(sorted(paths)):
        try:
            repo.detect_conflicts(change_id, batch)
        except PatchworkError as error:
            # A damaged blob must not end the watching of everything else.
            log.warning("conflicts not compared", change=change_id, error=str(error))
        await trio.lowlevel.checkpoint()


def _batches(paths: list[RepoPath]) -> Iterator[list[RepoPath]]:
    for start in range(0, len(paths), PATHS_MAX):
        yield paths[start : start + PATHS_MAX]
