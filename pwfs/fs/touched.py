"""Remembers which paths of a workspace were touched, so that nobody need scan to find out.

Exact for programs that ask again with the token they got: what happened before a token was given
out is in the answers up to then, what happens after it will be in the next one. For that a path is
noted after its effect and before whoever caused it is told that it is done; between the two a token
may be given out, which the note then follows.
"""

import secrets
from collections.abc import Iterable

from pwfs.model.ids import Seq
from pwfs.model.paths import RepoPath
from pwfs.model.touches import Moment, Touches

PATHS_MAX = 20_000
"""So many paths are remembered; who asks for more is better off looking at everything."""
_GIT = ".git"


class Touched:
    """A workspace's touched paths, each with the count of its last touch; all in memory."""

    def __init__(self) -> None:
        self._life = secrets.token_hex(8)
        self._count = 0
        self._given_out = 0
        self._forgotten = 0
        # Counts rise in the order of the dictionary.
        self._counts: dict[RepoPath, int] = {}

    def note(self, path: RepoPath) -> None:
        """Notes that a path may show something else from now on."""
        if _GIT in path:
            path = _outside_git(path)
        if self._counts.get(path, 0) > self._given_out:
            # Nobody has asked since. Writers write often.
            return
        self._counts.pop(path, None)
        self._count += 1
        self._counts[path] = self._count
        if len(self._counts) > PATHS_MAX:
            self._forgotten = self._counts.pop(next(iter(self._counts)))

    def note_all(self, paths: Iterable[RepoPath]) -> None:
        """Notes several paths."""
        for path in paths:
            self.note(path)

    def note_everything(self) -> None:
        """Notes that more changed than is worth naming."""
        self._count += 1
        self._forgotten = self._count
        self._counts.clear()

    def since(self, moment: Moment | None, seq: Seq, open_now: Iterable[RepoPath]) -> Touches:
        """Tells what was touched after a moment (None: there was none), and which it is now.

        ``open_now`` are files that programs may be writing without our seeing it, through a
        mapping: they are touched at every moment.
        """
        self.note_all(open_now)
        self._given_out = self._count
        token = str(Moment(seq, self._count, self._life))
        if moment is None or not self._remembers(moment):
            return Touches(token, everything=True, paths=())
        found = []
        for path, count in reversed(self._counts.items()):
            if count <= moment.count:
                break
            found.append(path)
        return Touches(token, everything=False, paths=tuple(found))

    def _remembers(self, moment: Moment) -> bool:
        return moment.life == self._life and self._forgotten <= moment.count <= self._count


def _outside_git(path: RepoPath) -> RepoPath:
    """What git keeps in its own directory counts as that directory: git knows what it wrote."""
    if path.startswith(f"{_GIT}/"):
        return RepoPath(_GIT)
    above, found, _ = path.partition(f"/{_GIT}/")
    return RepoPath(f"{above}/{_GIT}") if found else path
