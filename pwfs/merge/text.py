"""A three-way merge of lines whose result is regions, clean or in conflict.

The method is diff3's: Khanna, Kunal and Pierce, "A Formal Investigation of Diff3" (2007), over two
line diffs from the base. What counts as a conflict, and how far it is trimmed, follows xdiff, so
that the outcome is the one of ``git merge-file --zdiff3``.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pwfs.merge.lines import Hunk, diff_hunks, split_lines


@dataclass(frozen=True, slots=True)
class Clean:
    """A stretch of the result that nobody disputes."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Conflict:
    """A stretch that both sides changed, each in its own way.

    Lines at the beginning and at the end that both sides have in common are left out of ``theirs``
    and ``yours`` (they are clean), not of ``base``. Sides that arrived at the same lines by
    different edits may have nothing left. Only where a side ends here can its last line lack the
    newline. ``eol`` ends the lines that a rendering adds: CRLF where the file around uses it.
    """

    base: bytes
    theirs: bytes
    yours: bytes
    eol: bytes = b"\n"


Region = Clean | Conflict


@dataclass(frozen=True, slots=True)
class TextMerge:
    """The outcome of a merge: regions in the order of the text, never two clean ones in a row."""

    regions: tuple[Region, ...]

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """The regions that are left for somebody to resolve."""
        return tuple(region for region in self.regions if isinstance(region, Conflict))

    @property
    def is_clean(self) -> bool:
        """Whether there is nothing to resolve."""
        return all(isinstance(region, Clean) for region in self.regions)

    @property
    def content(self) -> bytes:
        """The merged text.

        Raises:
            ValueError: there are conflicts; `pwfs.merge.render` shows them.
        """
        return b"".join(_undisputed(region) for region in self.regions)


def _undisputed(region: Region) -> bytes:
    if isinstance(region, Conflict):
        raise ValueError("a merge with conflicts has no content")
    return region.content


def merge_text(*, base: bytes, theirs: bytes, yours: bytes) -> TextMerge:
    """Merges the changes that two sides made to a base, line by line.

    Any bytes can be merged, binary ones too; whether that makes sense is the caller's to decide.
    Swapping the sides gives the same verdict and, without conflicts, the same text. The time is
    that of two diffs, which hold the interpreter's lock; `pwfs.merge.limits` bounds it.
    """
    if theirs in (base, yours):
        return _whole(yours)
    if yours == base:
        return _whole(theirs)
    merging = _Merging(split_lines(base), split_lines(theirs), split_lines(yours))
    for theirs_hunks, yours_hunks in _clusters(diff_hunks(base, theirs), diff_hunks(base, yours)):
        merging.settle(theirs_hunks, yours_hunks)
    return merging.finish()


def _whole(content: bytes) -> TextMerge:
    return TextMerge((Clean(content),) if content else ())


def _clusters(theirs: list[Hunk], yours: list[Hunk]) -> Iterator[tuple[list[Hunk], list[Hunk]]]:
    """Gathers hunks that touch in the base, in order; for each cluster, theirs and yours.

    Hunks touch that overlap or meet, without a line of the base between them. Those of one side
    never do by themselves, only by way of the other's.
    """
    tagged = [(hunk, 0) for hunk in theirs] + [(hunk, 1) for hunk in yours]
    tagged.sort(key=lambda pair: pair[0].old_start)
    cluster: tuple[list[Hunk], list[Hunk]] = ([], [])
    end = -1
    for hunk, side in tagged:
        if -1 < end < hunk.old_start:
            yield cluster
            cluster = ([], [])
        cluster[side].append(hunk)
        end = max(end, hunk.old_end)
    if tagged:
        yield cluster


class _Merging:
    """A merge under way: how far the three texts are used up, and what came of it."""

    def __init__(self, base: list[bytes], theirs: list[bytes], yours: list[bytes]) -> None:
        self._base = base
        self._theirs = theirs
        self._yours = yours
        self._base_at = 0
        self._theirs_ahead = 0
        self._yours_ahead = 0
        self._clean: list[bytes] = []
        self._regions: list[Region] = []

    def settle(self, theirs_hunks: list[Hunk], yours_hunks: list[Hunk]) -> None:
        """Decides about one cluster; the lines before it are unchanged and taken over."""
        hunks = theirs_hunks + yours_hunks
        start = min(hunk.old_start for hunk in hunks)
        end = max(hunk.old_end for hunk in hunks)
        theirs_start, yours_start = start + self._theirs_ahead, start + self._yours_ahead
        self._theirs_ahead += sum(hunk.new_count - hunk.old_count for hunk in theirs_hunks)
        self._yours_ahead += sum(hunk.new_count - hunk.old_count for hunk in yours_hunks)
        theirs = self._theirs[theirs_start : end + self._theirs_ahead]
        yours = self._yours[yours_start : end + self._yours_ahead]

        self._clean += self._base[self._base_at : start]
        if not yours_hunks or (_is_same_edit(theirs_hunks, yours_hunks) and theirs == yours):
            self._clean += theirs
        elif not theirs_hunks:
            self._clean += yours
        else:
            head, tail = _common_ends(theirs, yours)
            self._clean += theirs[:head]
            self._end_clean()
            self._regions.append(
                Conflict(
                    base=b"".join(self._base[start:end]),
                    theirs=b"".join(theirs[head : len(theirs) - tail]),
                    yours=b"".join(yours[head : len(yours) - tail]),
                    eol=self._eol(theirs_start + head, yours_start + head),
                )
            )
            self._clean += theirs[len(theirs) - tail :]
        self._base_at = end

    def finish(self) -> TextMerge:
        """Takes the rest over."""
        assert len(self._base) + self._theirs_ahead == len(self._theirs)
        assert len(self._base) + self._yours_ahead == len(self._yours)
        self._clean += self._base[self._base_at :]
        self._end_clean()
        return TextMerge(tuple(self._regions))

    def _end_clean(self) -> None:
        if self._clean:
            self._regions.append(Clean(b"".join(self._clean)))
            self._clean.clear()

    def _eol(self, theirs_start: int, yours_start: int) -> bytes:
        """Chooses CRLF if base begins with it and neither side uses LF just before the conflict.

        This is xdiff's rule; so it is LF where there is no base.
        """
        if (
            _is_crlf(self._base, 0)
            and _is_crlf(self._theirs, max(theirs_start - 1, 0)) is not False
            and _is_crlf(self._yours, max(yours_start - 1, 0)) is not False
        ):
            return b"\r\n"
        return b"\n"


def _is_same_edit(theirs: list[Hunk], yours: list[Hunk]) -> bool:
    """Tells whether both sides have one hunk, over the same lines of the base."""
    return (
        len(theirs) == len(yours) == 1
        and theirs[0].old_start == yours[0].old_start
        and theirs[0].old_count == yours[0].old_count
    )


def _common_ends(theirs: list[bytes], yours: list[bytes]) -> tuple[int, int]:
    """Counts the lines that two lists have in common at the beginning, then at the end."""
    shorter = min(len(theirs), len(yours))
    head = 0
    while head < shorter and theirs[head] == yours[head]:
        head += 1
    tail = 0
    while tail < shorter - head and theirs[-1 - tail] == yours[-1 - tail]:
        tail += 1
    return head, tail


def _is_crlf(lines: list[bytes], number: int) -> bool | None:
    """Tells how a line ends, or the one before if it has no end; None if there is none to ask."""
    if not lines:
        return None
    if lines[number].endswith(b"\n"):
        return lines[number].endswith(b"\r\n")
    return lines[number - 1].endswith(b"\r\n") if number else None
