"""The database's tables: what each column, sentinel and index is for, and how old ones move on.

Migrations only go forward. A new one is a function below the last, never a change to an older one;
each runs in one transaction with the record that it ran and the number it leaves in ``PRAGMA
user_version``, by which an older Patchwork sees that the database is not for it.

Throughout: a timestamp is an INTEGER of microseconds since 1970 in UTC, a hash is 64 hexadecimal
digits of TEXT, a list or a record inside a column is JSON text, a boolean is 0 or 1, and NULL means
"none" unless a column says otherwise. Sequence numbers are unsigned in the design; SQLite's integers
have 63 bits for them, which at a million operations a second last 292,000 years. References between
tables are kept by the code, not by foreign keys: the log's rows are never deleted.
"""

import sqlite3

from sqlite_utils import Database, Migrations
from sqlite_utils.db import Table

SCHEMA_VERSION = 7
"""The number of migrations below, and the ``user_version`` of an up-to-date database."""

migrations = Migrations("patchwork")


def migrate(connection: sqlite3.Connection) -> None:
    """Brings a database, which may be empty, to `SCHEMA_VERSION`."""
    migrations.apply(Database(connection, execute_plugins=False))


def user_version(connection: sqlite3.Connection) -> int:
    """Reads how many migrations a database went through."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


@migrations()
def m0001_first(db: Database) -> None:
    """Makes the first schema."""
    _create_log(db)
    _create_changes(db)
    _create_derived(db)
    _create_views_and_workspaces(db)
    _create_queue(db)
    db.execute("PRAGMA user_version = 1")


@migrations()
def m0002_moves_by_source(db: Database) -> None:
    """Finds a save through a temporary file, too, by the path from which its content came."""
    # Takes the place of ops_renames_by_source. A copy leaves its source as it was.
    db.execute(
        "CREATE INDEX ops_moves_by_source ON ops (old_path, change_id) "
        "WHERE op_type <> 'copy' AND old_path IS NOT NULL"
    )
    db.execute("DROP INDEX ops_renames_by_source")
    db.execute("PRAGMA user_version = 2")


@migrations()
def m0003_certificates(db: Database) -> None:
    """Keeps what was tested before each landing of the queue."""
    _create(
        db,
        "certificates",
        {
            "number": int,  # from 1, without gaps
            "attempt_id": int,  # the one that landed; landings.attempt_id
            "content": str,  # JSON of pwfs.model.queue.Certificate
            "digest": str,  # SHA-256 of content, which the next certificate names
        },
        pk="number",
    )
    db.table("certificates").create_index(["attempt_id"], "certificates_by_attempt", unique=True)
    _append_only(db, "certificates")
    db.execute("PRAGMA user_version = 3")


@migrations()
def m0004_ejections(db: Database) -> None:
    """Keeps what a program can do about an item that left, and whether to submit it again."""
    # JSON of pwfs.model.ejection.Ejection; NULL unless ejected.
    db.execute("ALTER TABLE queue_items ADD COLUMN ejection TEXT")
    db.execute("ALTER TABLE queue_items ADD COLUMN resubmits INTEGER NOT NULL DEFAULT 0")
    db.execute("PRAGMA user_version = 4")


@migrations()
def m0005_control(db: Database) -> None:
    """Keeps who goes first for another reason than a priority, and who closed the tree, and why."""
    db.execute("ALTER TABLE queue_items ADD COLUMN share INTEGER NOT NULL DEFAULT 0")
    # JSON of pwfs.model.queue.Jump; NULL unless it jumped.
    db.execute("ALTER TABLE queue_items ADD COLUMN jump TEXT")
    # JSON of pwfs.model.queue.Closing of the flag 'closed', '' of others.
    db.execute("ALTER TABLE queue_flags ADD COLUMN detail TEXT NOT NULL DEFAULT ''")
    # What waits grows older with each of these.
    db.execute(
        "CREATE INDEX queue_items_landed ON queue_items (finished_at) WHERE state = 'landed'"
    )
    db.execute("PRAGMA user_version = 5")


@migrations()
def m0006_targets(db: Database) -> None:
    """Keeps what a declared rule told of versions, and which results rest on it."""
    _create(
        db,
        "targets",
        {
            "change_id": str,
            "version": int,
            "rule": str,  # pwfs.model.targets.Rule.digest
            "base_seq": int,  # what main was when the rule was asked
            "targets": str,  # JSON list; NULL: not known
            "detail": str,  # why not; else ''
            "declared_at": int,
        },
        pk=("change_id", "version", "rule"),
        nullable=("targets",),
    )
    _append_only(db, "targets")
    # The attempt of another tree whose result this is, by independence; NULL: it is of this tree.
    db.execute("ALTER TABLE attempts ADD COLUMN rests_on INTEGER")
    db.execute("PRAGMA user_version = 6")


@migrations()
def m0007_controls(db: Database) -> None:
    """Finds the tests of main itself."""
    db.execute("CREATE INDEX attempts_of_main ON attempts (root) WHERE stack = '[]'")
    db.execute("PRAGMA user_version = 7")


def _create(
    db: Database,
    name: str,
    columns: dict[str, type],
    *,
    pk: str | tuple[str, ...],
    nullable: tuple[str, ...] = (),
) -> Table:
    """Makes a table whose columns hold exactly their type, and no NULL but where allowed."""
    not_null = (
        set(columns) - set(nullable) - {pk if isinstance(pk, str) and columns[pk] is int else ""}
    )
    return db.table(name).create(columns, pk=pk, not_null=not_null, strict=True)


def _append_only(db: Database, table: str) -> None:
    """Refuses to change or remove rows, whoever asks (promise 1).

    Deleting by ``INSERT OR REPLACE`` fires the trigger too, as every connection of ours has
    ``recursive_triggers`` on.
    """
    for action in ("UPDATE", "DELETE"):
        db.execute(
            f"CREATE TRIGGER {table}_refuse_{action.lower()} BEFORE {action} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )


def _create_log(db: Database) -> None:
    """Makes the log: operations, landings and the events that tell of them."""
    _create(
        db,
        "ops",
        {
            "id": int,  # the sequence number; shares its counter with landings.seq
            "timestamp": int,  # when it was appended
            "agent_id": str,  # who acted
            "change_id": str,  # the change it belongs to
            "version": int,  # the version it is collected for
            "op_type": str,  # create, modify, delete, rename or copy
            "path": str,  # what was acted on; the target of a rename or copy
            "content_hash": str,  # the content afterwards; NULL after a deletion
            "diff_hash": str,  # a stored diff that somebody sent along; usually NULL
            "old_path": str,  # where a rename or copy came from; else usually NULL
            "parent_seq": int,  # the operation before it on its path; 0: there is none
            "metadata": str,  # pwfs.store.codec.OpMetadata: mode, base, provenance
        },
        pk="id",
        nullable=("content_hash", "diff_hash", "old_path"),
    )
    # The parent of a new operation, and the history of a path.
    db.table("ops").create_index(["path", "change_id"], "ops_by_path")
    # A change's operations in order; `version` picks the drafts without reading the rows.
    db.table("ops").create_index(["change_id", "id", "version"], "ops_by_change")
    # The same as ops_by_path for the path that a rename left.
    db.execute(
        "CREATE INDEX ops_renames_by_source ON ops (old_path, change_id) WHERE op_type = 'rename'"
    )
    # The few renames among the many operations of what landed.
    db.execute("CREATE INDEX ops_renames ON ops (id) WHERE op_type = 'rename'")
    _append_only(db, "ops")

    _create(
        db,
        "landings",
        {
            "seq": int,  # the sequence number; shares its counter with ops.id
            "timestamp": int,  # when it landed
            "change_id": str,  # what landed
            "version": int,  # and which version of it
            "agent_id": str,  # who landed it
            "root": str,  # the tree that main is from then on
            "previous_seq": int,  # the landing before; 0 for the first
            "verified": int,  # 1: the queue tested exactly this root; 0: an explicit land
            "attempt_id": int,  # the queue's attempt that tested it
        },
        pk="seq",
        nullable=("attempt_id",),
    )
    # Main has one history: no two landings follow the same one.
    db.table("landings").create_index(["previous_seq"], "landings_by_previous", unique=True)
    # Whether and where a change landed.
    db.table("landings").create_index(["change_id"], "landings_by_change")
    _append_only(db, "landings")

    _create(
        db,
        "events",
        {
            "id": int,  # the event's number, of the first one where the row stands for several
            "count": int,  # how many; above 1 only where operations were appended together
            "type": str,  # pwfs.model.events.EventType
            "timestamp": int,  # when it happened
            "payload": str,  # JSON; NULL for op_appended, whose payloads are the operations
            "first_seq": int,  # the first of `count` consecutive operations; else NULL
        },
        pk="id",
        nullable=("payload", "first_seq"),
    )
    # Somebody who asks for rare events does not read past all the operations.
    db.execute("CREATE INDEX events_but_ops ON events (id) WHERE type <> 'op_appended'")
    _append_only(db, "events")


def _create_changes(db: Database) -> None:
    """Makes changes and their versions."""
    _create(
        db,
        "changes",
        {
            "number": int,  # counts up: the order in which changes were created
            "id": str,  # the slug everybody uses
            "title": str,
            "author": str,  # the agent that created it
            "target": str,  # where it is meant to land: main
            "status": str,  # pwfs.model.changes.ChangeStatus
            "current_version": int,  # the newest version; 0: none yet
            "dependencies": str,  # JSON list of change ids that must land first
            "metadata": str,  # JSON object, the users' own
            "created_at": int,
            "updated_at": int,
        },
        pk="number",
    )
    # Names are unique; also finds the slugs that begin alike.
    db.table("changes").create_index(["id"], "changes_by_id", unique=True)
    # The open changes among all that ever landed.
    db.table("changes").create_index(["status"], "changes_by_status")

    _create(
        db,
        "versions",
        {
            "change_id": str,
            "number": int,  # from 1
            "operations": str,  # JSON list of [first, last] runs of operation numbers, in order
            "base_seq": int,  # the main that the operations are against
            "created_at": int,
            "message": str,
            "test_result": str,  # JSON of the latest pwfs.model.changes.TestResult
        },
        pk=("change_id", "number"),
        nullable=("test_result",),
    )
    # Frozen but for the outcome of its tests.
    db.execute(
        "CREATE TRIGGER versions_refuse_update "
        "BEFORE UPDATE OF change_id, number, operations, base_seq, created_at, message ON versions "
        "BEGIN SELECT RAISE(ABORT, 'a version is frozen'); END"
    )
    db.execute(
        "CREATE TRIGGER versions_refuse_delete BEFORE DELETE ON versions "
        "BEGIN SELECT RAISE(ABORT, 'a version is frozen'); END"
    )


def _create_derived(db: Database) -> None:
    """Makes what can be recomputed from the log and the blobs."""
    # One row per path and landing that touched it. sqlite-utils knows no WITHOUT ROWID, which
    # makes the key the table: a directory's names lie side by side, and nothing is stored twice.
    #   directory  the path without its last name; '' for the top
    #   name       the last name
    #   landing    landings.seq
    #   op         ops.id of the operation behind it
    db.execute(
        "CREATE TABLE touched (directory TEXT NOT NULL, name TEXT NOT NULL, "
        "landing INTEGER NOT NULL, op INTEGER NOT NULL, "
        "PRIMARY KEY (directory, name, landing)) STRICT, WITHOUT ROWID"
    )
    _create(
        db,
        "trees",
        {
            "hash": str,  # SHA-256 of content
            "content": bytes,  # pwfs.views.trees' canonical encoding
        },
        pk="hash",
    )
    _create(
        db,
        "merges",
        {
            "base": str,  # the three contents' hashes; base '': both sides are new
            "theirs": str,
            "yours": str,
            "result": bytes,  # the caller's own encoding
        },
        pk=("base", "theirs", "yours"),
    )


def _create_views_and_workspaces(db: Database) -> None:
    """Makes views, workspaces and what a workspace has to itself."""
    _create(
        db,
        "views",
        {
            "number": int,  # counts up: the order in which views were created
            "id": str,
            "owner": str,  # the agent
            "base_type": str,  # pwfs.model.views.BaseType
            "base_seq": int,  # 0 unless base_type is main_at_seq
            "overlays": str,  # JSON list of pwfs.model.views.Overlay, lowest first
            "conflict_policy": str,  # pwfs.model.views.ConflictPolicy
            "created_at": int,
        },
        pk="number",
    )
    db.table("views").create_index(["id"], "views_by_id", unique=True)

    _create(
        db,
        "workspaces",
        {
            "number": int,  # counts up: the order in which workspaces were created
            "id": str,
            "view_id": str,  # NULL, like change_id, in a throw-away workspace of the queue
            "change_id": str,  # the change that writing adds to
            "agent_id": str,  # the owner
            "directory": str,  # where the user asked for it
            "created_at": int,
            "last_scan_seq": int,  # the newest operation that `workspace scan` told of
            "read_only": int,  # 1: its change is final
            "test_root": str,  # the tree that a throw-away workspace shows
        },
        pk="number",
        nullable=("view_id", "change_id", "directory", "test_root"),
    )
    db.table("workspaces").create_index(["id"], "workspaces_by_id", unique=True)

    _create(
        db,
        "attrs",
        {
            "workspace_id": str,
            "path": str,
            "attrs": bytes,  # owner, full mode, times, xattrs: the mount's own encoding
        },
        pk=("workspace_id", "path"),
    )


def _create_queue(db: Database) -> None:
    """Makes the submit queue."""
    _create(
        db,
        "queue_items",
        {
            "id": int,
            "members": str,  # JSON list of pwfs.model.queue.Member
            "state": str,  # pwfs.model.queue.ItemState
            "priority": int,  # higher goes first
            "agent_id": str,  # who submitted
            "entered_at": int,
            "finished_at": int,  # NULL while it is queued
            "retries": int,  # attempts that did not pass
            "reason": str,  # pwfs.model.queue.EjectReason; NULL unless ejected
            "detail": str,  # for people; '' when there is nothing to say
        },
        pk="id",
        nullable=("finished_at", "reason"),
    )
    # The few items that wait, among all that ever did.
    db.table("queue_items").create_index(["state"], "queue_items_by_state")

    _create(
        db,
        "attempts",
        {
            "id": int,
            "item_id": int,  # queue_items.id
            "base_seq": int,  # the main below the stack
            "stack": str,  # JSON list of Member on top of it, the item's own last
            "root": str,  # what was tested; with the next two the key of the result
            "command": str,
            "environment_hash": str,
            "state": str,  # pwfs.model.queue.AttemptState
            "started_at": int,
            "ended_at": int,  # NULL while it runs
            "exit_code": int,  # NULL while it runs and where there is none
            "output_hash": str,  # the blob with the kept output
            "detail": str,  # for people; '' when there is nothing to say
        },
        pk="id",
        nullable=("ended_at", "exit_code", "output_hash"),
    )
    db.table("attempts").create_index(["item_id"], "attempts_by_item")
    # Those that were running when the daemon died.
    db.table("attempts").create_index(["state"], "attempts_by_state")
    # A tree that passed is not tested again.
    db.execute(
        "CREATE INDEX attempts_passed ON attempts (root, command, environment_hash) "
        "WHERE state = 'passed'"
    )

    _create(
        db,
        "queue_flags",
        {
            "name": str,  # such as 'paused'
            "is_on": int,
        },
        pk="name",
    )
