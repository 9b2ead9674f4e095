"""Which paths of a workspace may show something else than at an earlier moment."""

from dataclasses import dataclass, replace
from typing import Self

from pwfs.model.errors import InvalidArgument
from pwfs.model.ids import Seq
from pwfs.model.paths import RepoPath, is_under


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of a workspace, as programs keep it: ``SEQ:COUNT:LIFE``.

    ``seq`` is where the repository's counter stood, for people and other programs: every operation
    up to it had been seen. ``count`` is what later moments are compared with, because scratch
    changes without a number and a view moves without a new one. It counts in one ``life`` of the
    workspace, which ends with the daemon.
    """

    seq: Seq
    count: int
    life: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.count}:{self.life}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads what `__str__` wrote.

        Raises:
            InvalidArgument: it is something else.
        """
        seq, _, rest = text.partition(":")
        count, _, life = rest.partition(":")
        is_number = all(part.isascii() and part.isdigit() for part in (seq, count))
        if not (is_number and life.isascii() and life.isalnum()):
            raise InvalidArgument(name="token", reason=f"{text!r} is not one that was given out")
        return cls(Seq(int(seq)), int(count), life)


@dataclass(frozen=True, slots=True)
class Touches:
    """What may differ since a moment, and the moment it is now (ask with ``token`` next time).

    A file's path stands for its content, kind, mode and existence. Where a directory came, went
    or moved, the paths below it are named, too. With ``everything`` no path is: the moment asked
    for is not remembered.
    """

    token: str
    everything: bool
    paths: tuple[RepoPath, ...]

    def below(self, directory: RepoPath) -> Self:
        """The same for one directory, its paths relative to it."""
        if not directory:
            return self
        # A name above that moved took everything along.
        moved = any(path == directory or is_under(directory, path) for path in self.paths)
        start = len(directory) + 1
        paths = tuple(RepoPath(path[start:]) for path in self.paths if is_under(path, directory))
        return replace(self, everything=self.everything or moved, paths=() if moved else paths)
