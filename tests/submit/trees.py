"""The trees of the queue's small world: files of one line each, and how edits are laid on them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from pwfs.model.ids import Seq, TreeHash
from pwfs.model.paths import RepoPath
from pwfs.model.queue import Member
from pwfs.model.views import ConflictEvent, ConflictType

Tree = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Edit:
    """Writes ``new`` where the writer saw ``base`` (None: no file)."""

    path: str
    base: str | None
    new: str


@dataclass(frozen=True)
class Composed:
    """What the repository's ``candidate`` answers."""

    root: TreeHash | None
    conflicts: tuple[ConflictEvent, ...] = ()


def root_of(tree: Tree) -> TreeHash:
    """A tree's hash."""
    return TreeHash(hashlib.sha256(repr(tree).encode()).hexdigest())


def lay(tree: Tree, edits: Sequence[Edit]) -> Tree | str:
    """Merges edits strictly; a conflict is answered with its path."""
    files = dict(tree)
    for edit in edits:
        theirs = files.get(edit.path)
        if theirs not in (edit.base, edit.new):
            return edit.path
        files[edit.path] = edit.new
    return tuple(sorted(files.items()))


def conflict(path: str, member: Member) -> ConflictEvent:
    """How the repository tells of a file that a change and main disagree about."""
    return ConflictEvent(
        type=ConflictType.CONTENT,
        path=RepoPath(path),
        your_change=member.change_id,
        your_version=member.version,
        their_change=None,
        conflicting_op=Seq(0),
        base_content="",
        your_content="",
        their_content="",
        conflict_markers="",
    )
