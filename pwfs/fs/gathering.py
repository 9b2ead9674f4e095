"""What the kernel may be gathering of a directory's listing, to keep it.

Where directories are not opened (see `pwfs.fs.native`) the kernel gathers one listing of each from
the answers of all who list it, each answer where the one before ended, and keeps it from the answer
with nothing more in it on. Who begins to list compares the directory's modification time, and the
kernel's own count of changes, with those that there were when the gathering began; they may be newer
than an answer that was still on its way then. Who goes on compares nothing. So a position has a tag
beside its place, the directory's version when the listing was begun, and only a listing whose end is
reached while the directory has that version still may be kept.

What was gathered of any other is in the way of all later ones. It is dropped when somebody comes by
where it ended, so everybody is led by the positions at which answers ended lately, also by those with
older tags, which these listings then have. Dropping takes the first page away. From a listing of
which the kernel is just reading the first answers it would take what the rest is to be put behind:
then none would ever be kept. So while that may be, a listing ends without being kept or dropped.
"""

import enum
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import monotonic

TAG_BITS = 20
TAG_MASK = (1 << TAG_BITS) - 1
_ENDS_MAX = 256
_WHOLE_MAX = 8
_READING_S = 1.0
"""A program that lists asks on sooner, or not at all: then only something is kept later."""
_DIRENT_BYTES = 24
_DIRENT_ALIGNMENT_BYTES = 8
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Ending(enum.Enum):
    """How a listing is to end that has come to its last name."""

    KEPT = enum.auto()
    UNKEPT = enum.auto()
    DROPPED = enum.auto()


@dataclass(slots=True)
class Gathering:
    """The positions of a directory that the kernel may have come to.

    ``ends`` are those at which answers ended, each with the time (of `time.monotonic`, 0 for long
    ago), ``passed`` those that a listing came by since. ``whole_count`` listings could be kept at the
    version ``whole_at``. ``fills_last_page`` says of the names at present what the function says.
    ``displaced`` are the places of names that have not their own (see `pwfs.fs.listing`).
    """

    fills_last_page: bool = False
    ends: dict[int, float] = field(default_factory=dict)
    passed: list[int] = field(default_factory=list)
    whole_count: int = 0
    whole_at: int = 0
    displaced: dict[str, int] = field(default_factory=dict)

    def answered(self, position: int) -> None:
        """Takes note of where an answer ends."""
        self.ends.pop(position, None)
        self.ends[position] = monotonic()
        if len(self.ends) > _ENDS_MAX:
            del self.ends[next(iter(self.ends))]

    def came_by(self, position: int) -> None:
        """Takes note of a position that a listing is given, or asks on from."""
        if self.ends.pop(position, None) is not None:
            self.passed.append(position)
            del self.passed[:-_ENDS_MAX]

    def older_ends(self, version: int) -> list[int]:
        """The ends that no listing comes by which is begun now, unless it is led there."""
        return [end for end in self.ends if end & TAG_MASK != version & TAG_MASK]

    def end(self, position: int, version: int) -> Ending:
        """Tells how a listing ends that has come to a position behind which there is nothing."""
        if position & TAG_MASK == version & TAG_MASK and not self.fills_last_page:
            self._count_whole(version)
            return Ending.KEPT
        reading_since = monotonic() - _READING_S
        is_read = any(ended > reading_since for ended in self.ends.values())
        if is_read or position & TAG_MASK == version & TAG_MASK:
            self.ends[position] = 0.0
            return Ending.UNKEPT
        return Ending.DROPPED

    def _count_whole(self, version: int) -> None:
        """If listings that may be kept are asked for again and again, something is in the way.

        It may be an answer that the kernel read late. Then all are led by what they passed, too.
        """
        self.whole_count = self.whole_count + 1 if self.whole_at == version else 1
        self.whole_at = version
        if self.whole_count == _WHOLE_MAX:
            self.ends.update(dict.fromkeys(self.passed, 0.0))
            self.passed.clear()
            self.whole_count = 0


def fills_last_page(names: Iterable[str], page_bytes: int = _PAGE_BYTES) -> bool:
    """Whether what the kernel keeps of a listing ends where a page ends.

    Who has come to a position that is not in it is then told that the listing is over (seen up to
    Linux 6.18, `fuse_readdir_cached`); else the kernel asks on.
    """
    end = 0
    for name in names:
        size = -(-(_DIRENT_BYTES + len(name.encode())) // _DIRENT_ALIGNMENT_BYTES)
        size *= _DIRENT_ALIGNMENT_BYTES
        end = size if end + size > page_bytes else end + size
    return end == page_bytes
