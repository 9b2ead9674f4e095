"""What is held of one name (see `pwfs.fs.holding`)."""

import secrets
import time
from dataclasses import dataclass, field

from pwfs.fs.nodes import Node
from pwfs.model.entries import FileEntry
from pwfs.model.ops import Provenance
from pwfs.model.paths import RepoPath
from pwfs.repo.live import Seen


@dataclass(slots=True)
class Held:
    """What became of one name.

    ``entry`` is the file that came (None: the name is free), ``node`` the node that shows it.
    ``is_tracked`` says that the log still has a file there. ``other`` is the name that a file was
    moved aside to, or the one that it came from.
    """

    path: RepoPath
    entry: FileEntry | None
    seen: Seen
    process: Provenance | None
    is_tracked: bool
    node: Node | None = None
    other: RepoPath | None = None
    is_durable: bool = False
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    since: float = field(default_factory=time.monotonic)

    def gone(self, id_: str) -> "Held":
        """What is held of a tracked name once the file that came there is gone from it."""
        return Held(self.path, None, self.seen, self.process, is_tracked=True, id=id_)
