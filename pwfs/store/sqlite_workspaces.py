"""Views, workspaces and what a workspace has to itself, in SQLite."""

import sqlite3
from collections.abc import Mapping

from pwfs.model.errors import AlreadyExists, NotFound
from pwfs.model.ids import AgentId, ViewId, WorkspaceId
from pwfs.model.paths import RepoPath
from pwfs.model.views import BaseType, ConflictPolicy, View, ViewBase, Workspace
from pwfs.store.codec import (
    decode_overlays,
    decode_time,
    encode_json,
    encode_time,
)
from pwfs.store.sqlite_connection import Row, SqliteConnection, Value

_VIEW = "owner, base_type, base_seq, overlays, conflict_policy, created_at, id"
_WORKSPACE = (
    "view_id, change_id, agent_id, directory, created_at, last_scan_seq, read_only, test_root, id"
)
# Everything below `d` lies between `d/` and `d0`: "0" is the character behind "/".
_BELOW = "workspace_id = ? AND path >= ? AND path < ?"


class _NamedRows:
    """A table whose rows have an ``id`` that somebody chose; the id is the last of ``columns``."""

    def __init__(self, connection: SqliteConnection, table: str, kind: str, columns: str) -> None:
        self._connection = connection
        self._kind = kind
        names = columns.split(", ")
        self._insert = f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(names))})"
        settings = ", ".join(f"{name} = ?" for name in names[:-1])
        self._update = f"UPDATE {table} SET {settings} WHERE id = ?"
        self._delete = f"DELETE FROM {table} WHERE id = ?"

    def insert(self, values: tuple[Value, ...]) -> None:
        try:
            self._connection.execute(self._insert, values)
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_UNIQUE:
                raise
            raise AlreadyExists(kind=self._kind, id=str(values[-1])) from None

    def update(self, values: tuple[Value, ...]) -> None:
        if not self._connection.execute(self._update, values).rowcount:
            raise NotFound(kind=self._kind, id=str(values[-1]))

    def delete(self, row_id: str) -> bool:
        return self._connection.execute(self._delete, (row_id,)).rowcount > 0


class ViewTable:
    """Implements `pwfs.store.records.ViewStore`."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection
        self._rows = _NamedRows(connection, "views", "view", _VIEW)

    def insert_view(self, view: View) -> None:
        self._rows.insert(_view_values(view))

    def view(self, view_id: ViewId) -> View | None:
        row = self._connection.row(f"SELECT {_VIEW} FROM views WHERE id = ?", (view_id,))
        return None if row is None else _view(row)

    def views(self, owner: AgentId | None = None) -> list[View]:
        condition, values = ("", ()) if owner is None else ("WHERE owner = ?", (owner,))
        rows = self._connection.rows(
            f"SELECT {_VIEW} FROM views {condition} ORDER BY number", values
        )
        return [_view(row) for row in rows]

    def update_view(self, view: View) -> None:
        self._rows.update(_view_values(view))

    def delete_view(self, view_id: ViewId) -> None:
        if not self._rows.delete(view_id):
            raise NotFound(kind="view", id=view_id)


class WorkspaceTable:
    """Implements `pwfs.store.records.WorkspaceStore`."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection
        self._workspaces = _NamedRows(connection, "workspaces", "workspace", _WORKSPACE)

    def insert_workspace(self, workspace: Workspace) -> None:
        self._workspaces.insert(_workspace_values(workspace))

    def workspace(self, workspace_id: WorkspaceId) -> Workspace | None:
        row = self._connection.row(
            f"SELECT {_WORKSPACE} FROM workspaces WHERE id = ?", (workspace_id,)
        )
        return None if row is None else _workspace(row)

    def workspaces(self) -> list[Workspace]:
        rows = self._connection.rows(f"SELECT {_WORKSPACE} FROM workspaces ORDER BY number")
        return [_workspace(row) for row in rows]

    def update_workspace(self, workspace: Workspace) -> None:
        self._workspaces.update(_workspace_values(workspace))

    def delete_workspace(self, workspace_id: WorkspaceId) -> None:
        with self._connection.transaction():
            if not self._workspaces.delete(workspace_id):
                raise NotFound(kind="workspace", id=workspace_id)
            self._connection.execute("DELETE FROM attrs WHERE workspace_id = ?", (workspace_id,))

    def attr_rows(self, workspace_id: WorkspaceId) -> dict[RepoPath, bytes]:
        rows = self._connection.rows(
            "SELECT path, attrs FROM attrs WHERE workspace_id = ?", (workspace_id,)
        )
        return {RepoPath(path): attrs for path, attrs in rows}

    def put_attr(self, workspace_id: WorkspaceId, path: RepoPath, attrs: bytes) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO attrs (workspace_id, path, attrs) VALUES (?, ?, ?)",
            (workspace_id, path, attrs),
        )

    def put_attrs(self, workspace_id: WorkspaceId, rows: Mapping[RepoPath, bytes]) -> None:
        with self._connection.transaction():
            self._connection.execute_many(
                "INSERT OR REPLACE INTO attrs (workspace_id, path, attrs) VALUES (?, ?, ?)",
                [(workspace_id, path, attrs) for path, attrs in rows.items()],
            )

    def move_attrs(self, workspace_id: WorkspaceId, old: RepoPath, new: RepoPath) -> None:
        if old == new:
            return
        with self._connection.transaction():
            self.delete_attr(workspace_id, new)
            self._connection.execute(f"DELETE FROM attrs WHERE {_BELOW}", _below(workspace_id, new))
            # Both count characters, not bytes; SQLite from 1.
            moved = "UPDATE attrs SET path = ? || substr(path, ?)"
            self._connection.execute(
                f"{moved} WHERE workspace_id = ? AND path = ?",
                (new, len(old) + 1, workspace_id, old),
            )
            self._connection.execute(
                f"{moved} WHERE {_BELOW}", (new, len(old) + 1, *_below(workspace_id, old))
            )

    def delete_attr(self, workspace_id: WorkspaceId, path: RepoPath) -> None:
        self._connection.execute(
            "DELETE FROM attrs WHERE workspace_id = ? AND path = ?", (workspace_id, path)
        )


def _below(workspace_id: WorkspaceId, directory: RepoPath) -> tuple[str, str, str]:
    return workspace_id, directory + "/", directory + "0"


def _view_values(view: View) -> tuple[Value, ...]:
    return (
        view.owner,
        view.base.type.value,
        view.base.seq,
        encode_json(view.overlays),
        view.conflict_policy.value,
        encode_time(view.created_at),
        view.id,
    )


def _view(row: Row) -> View:
    owner, base_type, base_seq, overlays, conflict_policy, created_at, view_id = row
    return View(
        id=view_id,
        owner=owner,
        base=ViewBase(BaseType(base_type), base_seq),
        overlays=decode_overlays(overlays),
        conflict_policy=ConflictPolicy(conflict_policy),
        created_at=decode_time(created_at),
    )


def _workspace_values(workspace: Workspace) -> tuple[Value, ...]:
    return (
        workspace.view_id,
        workspace.change_id,
        workspace.agent_id,
        workspace.directory,
        encode_time(workspace.created_at),
        workspace.last_scan_seq,
        int(workspace.read_only),
        workspace.test_root,
        workspace.id,
    )


def _workspace(row: Row) -> Workspace:
    (
        view_id,
        change_id,
        agent_id,
        directory,
        created_at,
        last_scan_seq,
        read_only,
        test_root,
        workspace_id,
    ) = row
    return Workspace(
        id=workspace_id,
        view_id=view_id,
        change_id=change_id,
        agent_id=agent_id,
        directory=directory,
        created_at=decode_time(created_at),
        last_scan_seq=last_scan_seq,
        read_only=bool(read_only),
        test_root=test_root,
    )
