"""One SQLite connection: transactions that nest, and SQLite's errors said in our words."""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import structlog

from pwfs.model.errors import (
    Corrupt,
    NewerSchema,
    NoSpace,
    PatchworkError,
    StoreBusy,
    StoreFailed,
    StoreReadOnly,
)
from pwfs.store.schema import SCHEMA_VERSION, migrate, user_version
from pwfs.store.syncing import sync_directory

Value = int | str | bytes | None
"""What a column holds."""

Values = Sequence[Value] | Mapping[str, Value]
"""What a statement's ``?`` or ``:name`` stand for."""

Row = tuple[Any, ...]
"""A row as it is read. Its columns have exactly the types of the (STRICT) schema, which no checker
can see: whoever reads one gives it its type by what it makes of it."""

BUSY_TIMEOUT_S = 0.5
"""So long a writer is waited for, in which nothing else is done. Whoever finds the database still
locked after that comes again later, and until it was free once nobody waits any more."""
CHECKPOINT_COMMITS = 150
TRUE_FOR_GOOD_MAX = 10_000
CHECKPOINT_ROWS = 10_000
"""A checkpoint is worth it after so many commits or changed rows: about a thousand pages."""
JOURNAL_SIZE_LIMIT_BYTES = 64 << 20
"""If nobody calls `checkpoint`, a commit does it once the write-ahead log is larger than this."""
CACHE_SIZE_KIB = 32 << 10

# SQLite reports a full disk as SQLITE_FULL, but as SQLITE_IOERR_SHMSIZE where it was the index of
# the WAL that could not grow.
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
_log = structlog.get_logger(__name__)
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_FAILED = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class SqliteConnection:
    """A connection for one thread, with the statements it prepared.

    The Python module leaves transactions alone (``isolation_level=None``): a statement outside
    `transaction` commits by itself.
    """

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool,
        busy_timeout_s: float,
        before_sync: Callable[[], None],
    ) -> None:
        """Opens the database and brings its schema up to date, unless ``read_only``.

        ``before_sync`` is called before anything that is committed is put on disk.

        Raises:
            NewerSchema: it belongs to a newer Patchwork, and stays as it is.
        """
        self.path = path
        self._depth = 0
        self._is_doomed = False
        self._is_locked = False
        self._busy_timeout_s = busy_timeout_s
        self._is_read_only = read_only
        self._before_sync = before_sync
        self._synced_wal: tuple[int, int] | None = None
        self._has_failed_to_sync = False
        self._syncing = threading.Lock()
        self._commits = 0
        self._rows_at_checkpoint = 0
        self._remembered: dict[str, tuple[int, Row | None]] = {}
        self._true_for_good: set[tuple[str, Values]] = set()
        with _said_in_our_words(path):
            _refuse_newer(path, busy_timeout_s)
            self._sqlite: sqlite3.Connection | None = sqlite3.connect(
                path,
                timeout=busy_timeout_s,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
            try:
                self._configure(self._sqlite, read_only=read_only)
            except BaseException:
                self._sqlite.close()
                raise

    @staticmethod
    def _configure(sqlite: sqlite3.Connection, *, read_only: bool) -> None:
        sqlite.execute("PRAGMA recursive_triggers = ON")  # see schema._append_only
        sqlite.execute(f"PRAGMA cache_size = -{CACHE_SIZE_KIB}")
        sqlite.execute("PRAGMA temp_store = MEMORY")
        if read_only:
            sqlite.execute("PRAGMA query_only = ON")
            return
        sqlite.execute("PRAGMA journal_mode = WAL")
        # A commit is in the WAL when it returns: the process may die. It is fsynced by `sync`,
        # and by SQLite before a checkpoint copies it into the database.
        sqlite.execute("PRAGMA synchronous = NORMAL")
        # A checkpoint makes durable what it copies: `checkpoint` does it, in the right order.
        sqlite.execute("PRAGMA wal_autocheckpoint = 0")
        sqlite.execute(f"PRAGMA journal_size_limit = {JOURNAL_SIZE_LIMIT_BYTES}")
        if user_version(sqlite) < SCHEMA_VERSION:
            migrate(sqlite)

    @property
    def sqlite(self) -> sqlite3.Connection:
        """The connection itself, for what is not a plain statement."""
        if self._sqlite is None:
            raise RuntimeError("the log is closed")
        return self._sqlite

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._depth > 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See `pwfs.store.protocols.Durable.transaction`."""
        if self._depth:
            self._depth += 1
            before = self.sqlite.total_changes
            try:
                yield
            except BaseException:
                # An error may also have rolled everything back already, a full disk does.
                if self.sqlite.total_changes != before or not self.sqlite.in_transaction:
                    self._is_doomed = True
                raise
            finally:
                self._depth -= 1
            return
        # IMMEDIATE takes the write lock now. A deferred transaction that reads first may find at
        # its first write that its snapshot is old, and then no waiting helps.
        self._begin()
        self._depth = 1
        self._is_doomed = False
        try:
            yield
            if self._is_doomed or not self.sqlite.in_transaction:
                raise RuntimeError("an inner transaction failed and its error was dropped")
            self.execute("COMMIT")
            self._commits += 1
        except BaseException:
            self._remembered.clear()
            self._true_for_good.clear()
            # After some errors, a full disk among them, SQLite has rolled back by itself.
            if self.sqlite.in_transaction:
                self.execute("ROLLBACK")
            raise
        finally:
            self._depth = 0
        if self._is_due() and self._wal_size_bytes() > JOURNAL_SIZE_LIMIT_BYTES:
            self._checkpoint_overdue()

    def _begin(self) -> None:
        try:
            self.execute("BEGIN IMMEDIATE")
        except StoreBusy:
            if not self._is_locked:
                self._is_locked = True
                self.sqlite.execute("PRAGMA busy_timeout = 0")
            raise
        if self._is_locked:
            self._is_locked = False
            self.sqlite.execute(f"PRAGMA busy_timeout = {self._busy_timeout_s * 1000:.0f}")

    def execute(self, statement: str, values: Values = ()) -> sqlite3.Cursor:
        """Runs a statement, which is prepared only the first time."""
        try:
            return self.sqlite.execute(statement, values)
        except sqlite3.Error as error:
            _raise_in_our_words(error, self.path)

    def execute_many(self, statement: str, rows: Sequence[Sequence[Value]]) -> None:
        """Runs a statement once for each row; only inside a transaction."""
        assert self._depth, "many rows need a transaction to be all or nothing"
        try:
            self.sqlite.executemany(statement, rows)
        except sqlite3.Error as error:
            _raise_in_our_words(error, self.path)

    def row(self, statement: str, values: Values = ()) -> Row | None:
        """Returns the first row of an answer."""
        try:
            found: Row | None = self.sqlite.execute(statement, values).fetchone()
        except sqlite3.Error as error:
            _raise_in_our_words(error, self.path)
        return found

    def remembered_row(self, statement: str) -> Row | None:
        """As `row`, but asks again only after this connection, which alone writes, changed rows."""
        if self._is_read_only:
            return self.row(statement)
        changes = self.sqlite.total_changes
        known = self._remembered.get(statement)
        if known is None or known[0] != changes:
            known = self._remembered[statement] = changes, self.row(statement)
        return known[1]

    def is_true_for_good(self, statement: str, *values: Value) -> bool:
        """Whether there are rows that nobody ever deletes: asks only until there are some."""
        key = statement, values
        if key in self._true_for_good:
            return True
        is_true = self.row(statement, values) == (1,)
        if is_true:
            if len(self._true_for_good) >= TRUE_FOR_GOOD_MAX:
                self._true_for_good.clear()
            self._true_for_good.add(key)
        return is_true

    def rows(self, statement: str, values: Values = ()) -> list[Row]:
        """Returns an answer's rows."""
        try:
            return self.sqlite.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            _raise_in_our_words(error, self.path)

    def sync(self) -> None:
        """Returns when all that is committed is on disk. Touches no SQLite state: any thread.

        What is committed is in the write-ahead log or, if a checkpoint moved it, in the database;
        SQLite fsyncs the one before and the other after it checkpoints, so that only the log is
        left to do. It has no locks on it: closing our descriptor is harmless. The database file,
        on the other hand, must never be opened and closed here: POSIX drops *all* of a process's
        locks on a file when it closes *any* descriptor of it, SQLite's too. (SQLite's own
        connections know of each other and take care.)

        After an fsync that failed the kernel may hold for clean what never reached the disk, and
        the next one would succeed in vain: then everything is copied into the database instead.
        """
        self._before_sync()
        with self._syncing:
            try:
                if self._has_failed_to_sync:
                    self._run_checkpoint("TRUNCATE")
                else:
                    self._sync_log()
            except OSError as error:
                self._has_failed_to_sync = True
                raise StoreFailed(what=self.path.name, reason=str(error.strerror)) from error
            self._has_failed_to_sync = False

    def _sync_log(self) -> None:
        try:
            descriptor = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # nothing was written since the database was opened
        try:
            os.fsync(descriptor)
            status = os.fstat(descriptor)
            identity = (status.st_dev, status.st_ino)
            if identity != self._synced_wal:
                sync_directory(self.path.parent)
                self._synced_wal = identity
        finally:
            os.close(descriptor)

    def checkpoint(self) -> None:
        """Moves the write-ahead log into the database, if it has grown; for any thread.

        It goes through a connection of its own and hinders nobody who reads or writes meanwhile.
        What they write while it runs stays for the next time.
        """
        if self._is_due():
            self._checkpoint_now()

    def _is_due(self) -> bool:
        if self._is_read_only or self._sqlite is None:
            return False
        rows = self._sqlite.total_changes - self._rows_at_checkpoint
        return self._commits >= CHECKPOINT_COMMITS or rows >= CHECKPOINT_ROWS

    def _wal_size_bytes(self) -> int:
        # A checkpoint lets the file be written from its start again; it is cut to the limit then.
        try:
            return Path(f"{self.path}-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def _checkpoint_now(self) -> None:
        self._commits, self._rows_at_checkpoint = 0, self.sqlite.total_changes
        self._before_sync()
        with self._syncing:
            self._run_checkpoint("PASSIVE")

    def _run_checkpoint(self, mode: str) -> None:
        sqlite = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            is_busy, _, _ = sqlite.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        except sqlite3.Error as error:
            _raise_in_our_words(error, self.path)
        finally:
            sqlite.close()
        if is_busy and mode != "PASSIVE":
            raise StoreBusy

    def _checkpoint_overdue(self) -> None:
        """Tidies in the middle of the work, because nobody does it beside it."""
        try:
            self._checkpoint_now()
        except (PatchworkError, OSError) as error:
            # What is committed stays committed, in the write-ahead log; later tries come.
            _log.warning("the database is not tidied", error=str(error))

    def close(self) -> None:
        """Moves the write-ahead log into the database and lets go of both."""
        if self._sqlite is None:
            return
        if self._depth:
            raise RuntimeError("the log is closed inside a transaction")
        try:
            if not self._is_read_only:
                self._before_sync()
        finally:
            sqlite, self._sqlite = self._sqlite, None
            # The last connection to close checkpoints, and removes the log.
            sqlite.close()


@contextmanager
def _said_in_our_words(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        _raise_in_our_words(error, path)


def _raise_in_our_words(error: sqlite3.Error, path: Path) -> NoReturn:
    """Says an expected failure of SQLite as one of ours; a mistake of the code stays as it is."""
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        primary = code & 0xFF
        if code in _FULL:
            raise NoSpace(what=f"{path.name} could not be written") from error
        if primary in _BUSY:
            raise StoreBusy from error
        if primary in _CORRUPT:
            raise Corrupt(what=f"{path} is damaged: {error}") from error
        if primary == sqlite3.SQLITE_READONLY:
            raise StoreReadOnly(what=path.name) from error
        if primary in _FAILED:
            raise StoreFailed(what=path.name, reason=str(error)) from error
    raise error


def _refuse_newer(path: Path, busy_timeout_s: float) -> None:
    """Looks at the schema's number through a connection that cannot write."""
    if not path.exists() or path.stat().st_size == 0:
        return
    probe = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=busy_timeout_s)
    try:
        found = user_version(probe)
    finally:
        probe.close()
    if found > SCHEMA_VERSION:
        raise NewerSchema(found=found, supported=SCHEMA_VERSION)
