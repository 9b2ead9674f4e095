"""Appending operations: through the API and a mount, beside the same rows put into SQLite.

Through the API one operation a request, over one connection and over many at once, and many
operations a request. SQLite gets the same rows of the log's table, in a database that is made and synced as the log is
(write-ahead, `synchronous=NORMAL`).
"""

import sqlite3
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.mount.calls import Calls
from bench.options import Options
from bench.project import FILES_A_DIRECTORY, Api, Project, make_checkout, patchwork, serving
from bench.targets import Ratios
from pwfs.store.schema import migrate

MANY = 16
"""How many requests are on their way at once, and how many rows a transaction has beside them."""

BATCH = 100
"""How many operations a request has where it has many."""

FILE_BYTES = 64


@dataclass(frozen=True)
class Sizes:
    """How much is done in a round."""

    ops: int = 2_000
    files: int = 1_000
    rounds: int = 3


QUICK = Sizes(ops=320, files=100, rounds=2)


@dataclass(frozen=True)
class Place:
    """Where operations are appended: a project whose daemon runs, and what it is to be given."""

    project: Project
    calls: Calls
    content: str
    """The hash of what each new file holds, uploaded before."""


def append(place: Place, number: int, *, connections: int) -> float:
    """Creates files through the API; seconds until all are answered."""
    change = place.project.create_change("Bench")
    shares = [range(first, number, connections) for first in range(connections)]
    started = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        # What one of them raised is raised here.
        list(pool.map(partial(_append, place, change), shares))
    return time.perf_counter() - started


def _append(place: Place, change: str, numbers: range) -> None:
    with closing(Api(place.project.socket)) as api:
        for number in numbers:
            api.call("POST", "ops", {"change_id": change, **_creation(place, number)})


def append_together(place: Place, number: int) -> float:
    """Creates files through the API, `BATCH` a request; seconds until all are answered."""
    change = place.project.create_change("Bench")
    started = time.perf_counter()
    with closing(Api(place.project.socket)) as api:
        for first in range(0, number, BATCH):
            ops = [_creation(place, each) for each in range(first, min(first + BATCH, number))]
            api.call("POST", "ops/batch", {"change_id": change, "ops": ops})
    return time.perf_counter() - started


def _creation(place: Place, number: int) -> dict[str, object]:
    path = f"added/dir{number // FILES_A_DIRECTORY}/file{number}"
    return {"op_type": "create", "path": path, "content_hash": place.content}


def create(place: Place, number: int) -> float:
    """Creates files in a workspace; seconds until all are in the log."""
    change = place.project.create_change("Bench")
    workspace = Path(str(place.project.create_workspace(change)["path"]))
    (workspace / "added").mkdir()
    started = time.perf_counter()
    place.calls("create", "added", number, FILE_BYTES, within=workspace)
    place.project.request("GET", "head")
    return time.perf_counter() - started


@dataclass(frozen=True)
class Way:
    """A way into the log, and what is put into SQLite beside it."""

    title: str
    add: Callable[[Place, int], float]
    """Adds so many operations; the seconds that it took."""
    peer: str
    rows: int | None
    """How many a transaction; None for all."""


WAYS = (
    Way("API, one at a time", partial(append, connections=1), "a transaction each", 1),
    Way(f"API, {MANY} at once", partial(append, connections=MANY), f"{MANY} a transaction", MANY),
    Way(f"API, {BATCH} a request", append_together, f"{BATCH} a transaction", BATCH),
    Way("new files in a workspace, until all are in the log", create, "one transaction", None),
)


def main(room: Path, options: Options) -> Ratios:
    """Prints the table."""
    found = measure(room, QUICK if options.quick else Sizes(), options.rounds)
    print("| way | operations a second | SQLite | rows a second | times slower |")
    print("| --- | --- | --- | --- | --- |")
    for way in WAYS:
        ours, theirs = (statistics.median(found[name]) for name in (way.title, way.peer))
        print(f"| {way.title} | {ours:.0f} | {way.peer} | {theirs:.0f} | {theirs / ours:.1f} |")
    options.keep("append", found)
    return {}


def measure(room: Path, sizes: Sizes, rounds: int | None = None) -> dict[str, list[float]]:
    """Operations, and rows, a second: a number a round, by `Way.title` and `Way.peer`."""
    directory = room / "project"
    directory.mkdir()
    make_checkout(directory, sizes.files)
    patchwork(directory, "init")
    found: dict[str, list[float]] = {name: [] for way in WAYS for name in (way.title, way.peer)}
    with serving(directory) as project:
        content = project.upload(b"what each new file holds\n")
        place = Place(project, Calls(room), content)
        for _ in range(rounds or sizes.rounds):
            for way in WAYS:
                before = project.request("GET", "head")["seq"]
                found[way.title].append(sizes.ops / way.add(place, sizes.ops))
                rows = rows_of(directory / ".patchwork" / "oplog.db", before)
                database = room / "rows.db"
                inserted_s = insert(rows, database, way.rows or len(rows))
                found[way.peer].append(len(rows) / inserted_s)
                for file in room.glob("rows.db*"):
                    file.unlink()
    return found


def rows_of(log: Path, since: object) -> list[tuple[object, ...]]:
    """The log's operations above a number, all columns."""
    with closing(sqlite3.connect(f"file:{log}?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT * FROM ops WHERE id > ? ORDER BY id", (since,)).fetchall()


def insert(rows: Sequence[tuple[object, ...]], database: Path, together: int) -> float:
    """Puts rows into a new log's table, so many a transaction; the seconds it took."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        migrate(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        statement = f"INSERT INTO ops VALUES ({', '.join('?' * len(rows[0]))})"
        started = time.perf_counter()
        for first in range(0, len(rows), together):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(statement, rows[first : first + together])
            connection.execute("COMMIT")
        return time.perf_counter() - started
