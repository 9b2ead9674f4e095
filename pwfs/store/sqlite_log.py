"""The log in one SQLite database, put together from its tables."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pwfs.store.sqlite_changes import ChangeTable
from pwfs.store.sqlite_connection import BUSY_TIMEOUT_S, SqliteConnection
from pwfs.store.sqlite_events import EventTable
from pwfs.store.sqlite_landings import LandingTable
from pwfs.store.sqlite_ops import OpTable
from pwfs.store.sqlite_queue import QueueTable
from pwfs.store.sqlite_targets import TargetTable
from pwfs.store.sqlite_trees import TreeTable
from pwfs.store.sqlite_workspaces import ViewTable, WorkspaceTable

if TYPE_CHECKING:
    from pwfs.store.protocols import LogStore


def _nothing() -> None:
    """For a log whose operations name nothing that is kept elsewhere."""


class SqliteLog:
    """Implements `pwfs.store.protocols.LogStore` on the database at ``path``, made if missing.

    The tables share one connection, and each implements one of the smaller protocols; their
    methods are the log's own. All of it but `sync` and `checkpoint` is for one thread; another thread, and a long
    computation beside the writer, takes a `reader`. A second writer waits ``busy_timeout_s``
    before it raises StoreBusy: it may be held up by somebody's SQLite shell.
    """

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        before_sync: Callable[[], None] = _nothing,
    ) -> None:
        """Opens the database.

        ``before_sync`` puts on disk what operations name; it is called before anything makes the
        operations durable, from the same thread.

        Raises:
            NewerSchema: a newer Patchwork wrote it; it stays as it is.
        """
        connection = SqliteConnection(
            path, read_only=read_only, busy_timeout_s=busy_timeout_s, before_sync=before_sync
        )
        self._connection = connection
        self.transaction = connection.transaction
        self.sync = connection.sync
        self.checkpoint = connection.checkpoint
        self.close = connection.close

        events = EventTable(connection)
        self.append_event = events.append_event
        self.events = events.events
        self.last_event_id = events.last_event_id

        ops = OpTable(connection, events)
        self.head_seq = ops.head_seq
        self.append_ops = ops.append_ops
        self.op = ops.op
        self.ops = ops.ops
        self.ops_numbered = ops.ops_numbered
        self.draft_ops = ops.draft_ops
        self.last_op_on = ops.last_op_on
        self.renames_landed = ops.renames_landed

        changes = ChangeTable(connection)
        self.insert_change = changes.insert_change
        self.change = changes.change
        self.changes = changes.changes
        self.change_ids_like = changes.change_ids_like
        self.update_change = changes.update_change
        self.insert_version = changes.insert_version
        self.set_test_result = changes.set_test_result

        landings = LandingTable(connection)
        self.append_landing = landings.append_landing
        self.landing_at = landings.landing_at
        self.head_landing = landings.head_landing
        self.landings = landings.landings
        self.landing_of = landings.landing_of
        self.touched = landings.touched
        self.landings_touching = landings.landings_touching
        self.touched_in = landings.touched_in

        trees = TreeTable(connection)
        self.tree = trees.tree
        self.put_trees = trees.put_trees
        self.tree_hashes = trees.tree_hashes
        self.merge_result = trees.merge_result
        self.put_merge_result = trees.put_merge_result

        views = ViewTable(connection)
        self.insert_view = views.insert_view
        self.view = views.view
        self.views = views.views
        self.update_view = views.update_view
        self.delete_view = views.delete_view

        workspaces = WorkspaceTable(connection)
        self.insert_workspace = workspaces.insert_workspace
        self.workspace = workspaces.workspace
        self.workspaces = workspaces.workspaces
        self.update_workspace = workspaces.update_workspace
        self.delete_workspace = workspaces.delete_workspace
        self.attr_rows = workspaces.attr_rows
        self.put_attr = workspaces.put_attr
        self.put_attrs = workspaces.put_attrs
        self.move_attrs = workspaces.move_attrs
        self.delete_attr = workspaces.delete_attr

        queue = QueueTable(connection)
        self.insert_item = queue.insert_item
        self.update_item = queue.update_item
        self.item = queue.item
        self.items = queue.items
        self.insert_attempt = queue.insert_attempt
        self.update_attempt = queue.update_attempt
        self.attempt = queue.attempt
        self.attempts = queue.attempts
        self.decided_items = queue.decided_items
        self.passed_attempt = queue.passed_attempt
        self.queue_flag = queue.queue_flag
        self.set_queue_flag = queue.set_queue_flag
        self.closing = queue.closing
        self.set_closing = queue.set_closing
        self.landed_times = queue.landed_times
        self.controls = queue.controls
        self.passed_durations_s = queue.passed_durations_s
        self.insert_certificate = queue.insert_certificate
        self.certificates = queue.certificates
        self.last_certificate = queue.last_certificate

        targets = TargetTable(connection)
        self.insert_declaration = targets.insert_declaration
        self.declaration = targets.declaration

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.in_transaction

    def reader(self) -> "SqliteLog":
        """Opens a second, read-only log for use in another thread, to be closed before this one.

        Each of its statements sees what was committed when it began.
        """
        return SqliteLog(self._connection.path, read_only=True)

    def integrity_check(self) -> list[str]:
        """Tells what is damaged: SQLite's own findings, then numbers out of order."""
        found = [
            f"{self._connection.path.name}: {message}"
            for (message,) in self._connection.rows("PRAGMA integrity_check")
            if message != "ok"
        ]
        found += [
            f"sequence number {seq} is both an operation's and a landing's"
            for (seq,) in self._connection.rows(
                "SELECT seq FROM landings WHERE seq IN (SELECT id FROM ops) ORDER BY seq"
            )
        ]
        found += [
            f"event {event_id} does not follow event {last_id}"
            for event_id, last_id in self._connection.rows(
                "SELECT id, last FROM (SELECT id, lag(id + count - 1, 1, 0) OVER (ORDER BY id) "
                "AS last FROM events) WHERE id <> last + 1"
            )
        ]
        return found


if TYPE_CHECKING:

    def _implements(log: SqliteLog) -> LogStore:
        return log
