"""Files that are open and written to, before what they hold is an operation."""

from dataclasses import dataclass

from pwfs.model.entries import FileEntry
from pwfs.model.ids import Seq, WorkspaceId
from pwfs.model.ops import Provenance
from pwfs.model.paths import RepoPath


@dataclass(frozen=True, slots=True)
class WorkingFile:
    """An open file with bytes that no operation holds yet, kept so that a crash loses nothing.

    ``id`` names the private file with the bytes. ``base``, ``base_seq`` and ``current`` are what
    the writer started from: the content below its change, main's position, and what the workspace
    showed (None: the file did not exist). ``process`` is the first writer.
    """

    id: str
    workspace_id: WorkspaceId
    path: RepoPath
    base: FileEntry | None
    base_seq: Seq
    current: FileEntry | None
    process: Provenance | None
