"""Short ways to drive a repository in tests."""

from pathlib import Path

from pwfs.model.entries import FileEntry, Mode
from pwfs.model.ops import Op, OpType
from pwfs.model.paths import RepoPath
from pwfs.repo.edits import Edit
from pwfs.repo.importing import init
from pwfs.repo.repository import Repository


def make_repository(directory: Path, files: dict[str, str] | None = None) -> Repository:
    """Initialises a directory with some files and opens it."""
    for name, text in (files or {}).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    init(directory, agent="tester")
    return Repository.open(directory)


def entry(repo: Repository, text: str, mode: Mode = Mode.FILE) -> FileEntry:
    """Stores a text and returns it as a tree lists it."""
    return FileEntry(repo.blobs.put(text.encode()), mode, len(text.encode()))


def write(
    repo: Repository, workspace: str, path: str, text: str, mode: Mode = Mode.FILE
) -> list[Op]:
    """Saves a file in a workspace, the way the mount does."""
    name = RepoPath(path)
    seen = repo.live(workspace).seen(name)
    return repo.record(workspace, [Edit(OpType.MODIFY, name, entry(repo, text, mode), seen=seen)])


def delete(repo: Repository, workspace: str, path: str) -> list[Op]:
    """Deletes a file in a workspace."""
    return repo.record(workspace, [Edit(OpType.DELETE, RepoPath(path), None)])


def rename(repo: Repository, workspace: str, old: str, new: str) -> list[Op]:
    """Renames a file in a workspace."""
    shown = repo.live(workspace).file(RepoPath(old))
    edit = Edit(OpType.RENAME, RepoPath(new), shown, old_path=RepoPath(old))
    return repo.record(workspace, [edit])


def shown(repo: Repository, view: str = "main") -> dict[str, str]:
    """A view's files with their texts."""
    return {
        path: repo.blobs.get(file.content_hash).decode() for path, file in repo.live(view).files()
    }


def workspace_on(repo: Repository, title: str, *, agent: str = "agent-1") -> str:
    """Creates a change and a workspace on it; returns the workspace's id."""
    change = repo.create_change(title, author=agent)
    return repo.create_workspace(change.id, agent=agent).id
