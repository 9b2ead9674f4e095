"""Listings of directories, which need not be opened.

A position in a listing means the same whatever came or went meanwhile, as with ext4's htree: names
are listed by a hash of each, and a listing goes on behind the hash that it had come to. So a name
that stays is given exactly once, and nothing need be remembered of who lists what. Beside its place
a position has a tag, for what the kernel keeps of listings (see `pwfs.fs.gathering`).
"""

import enum
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from zlib import crc32

import pyfuse3
from pyfuse3 import ReaddirToken

from pwfs.fs.gathering import TAG_BITS, TAG_MASK, Ending, Gathering, fills_last_page
from pwfs.fs.invalidate import Invalidator
from pwfs.fs.native import library
from pwfs.fs.nodes import Node, NodeTable

_PLACE_BITS = 63 - TAG_BITS
_ROOM_BITS = 10
_FIRST = 1 << 41
"""The lowest place of a name; below are ``.`` and ``..``, and names that collide."""
_END = (1 << _PLACE_BITS) - 2
"""The place behind the last name, whichever that is; no position is the largest off_t."""
_LISTINGS_MAX = 16
_LISTED_NAMES_MAX = 500_000


def place_of(name: str) -> int:
    """The place of a name: the hash by which it is listed, with room below it."""
    return _FIRST + (crc32(name.encode()) << _ROOM_BITS)


def arrange(names: Collection[str], displaced: dict[str, int]) -> list[tuple[int, str]]:
    """Gives each name a place of its own, in order.

    Of names that collide the last one has the place, the others the next free ones below: who has
    come to that place already is not given a name again. ``displaced`` remembers them, so that they
    stay where they are when others come or go, and is brought up to date.
    """
    taken = {} if displaced else {place_of(name): name for name in names}
    if len(taken) < len(names):
        taken = _arrange_colliding(names, displaced)
    return sorted(taken.items())


def _arrange_colliding(names: Collection[str], displaced: dict[str, int]) -> dict[int, str]:
    before = {name: displaced[name] for name in names if name in displaced}
    displaced.clear()
    displaced.update(before)
    taken = {place: name for name, place in before.items()}
    free: dict[int, int] = {}
    for name in sorted(set(names) - before.keys(), reverse=True):
        natural = place_of(name)
        place = free.get(natural, natural)
        while place in taken:
            place -= 1
        taken[place] = name
        free[natural] = place - 1
        if place != natural:
            displaced[name] = place
    return taken


class _Listing:
    """A directory's names in order, as they were at one version of it."""

    __slots__ = ("_stamp", "_version", "hints", "names", "node", "places", "times")

    def __init__(self, node: Node, displaced: dict[str, int]) -> None:
        space = node.space
        self.node = node
        self._version = node.version
        self._stamp = space.stamp()
        self.hints: Mapping[str, object] = space.scan(node)
        self.times: Mapping[str, int] | None = space.times(node)
        arranged = arrange(self.hints, displaced)
        self.names = [".", "..", *(name for _, name in arranged)]
        self.places = [1, 2, *(place for place, _ in arranged)]

    @property
    def knows_contents(self) -> bool:
        """Whether the names, hints and times are right still."""
        return self._version == self.node.version and self._stamp is self.node.space.stamp()

    def behind(self, place: int, tag: int, ends: Iterable[int]) -> Iterator[tuple[str, int]]:
        """The names behind a place, each with the position behind it.

        They have the ``tag`` until they are led by one of the ``ends``, then that end's.
        """
        led = {bisect_right(self.places, end >> TAG_BITS) - 1: end for end in sorted(ends)}
        last = len(self.names) - 1
        for index in range(bisect_right(self.places, place), last + 1):
            position = led.get(index)
            if position is None:
                position = (self.places[index] if index < last else _END) << TAG_BITS | tag
            tag = position & TAG_MASK
            yield self.names[index], position


class _Told(enum.Enum):
    """What became of a name that a program lists."""

    GIVEN = enum.auto()
    GONE = enum.auto()
    NO_ROOM = enum.auto()


class Lister:
    """Answers who lists directories; ``on_shown`` is told of each node that the kernel is told of."""

    def __init__(
        self,
        table: NodeTable,
        *,
        parent_of: Callable[[Node], Node],
        on_shown: Callable[[Node], None],
    ) -> None:
        self._table = table
        self._parent_of = parent_of
        self._on_shown = on_shown
        self._listings: dict[Node, _Listing] = {}
        self.invalidator: Invalidator | None = None

    async def answer(
        self, node: Node, position: int, token: ReaddirToken, *, is_kept: bool
    ) -> None:
        """Lists a directory from a position on (0: the beginning), as far as there is room.

        ``is_kept`` says whether the kernel keeps the listing.
        """
        gathering = node.gathering
        if gathering is None:
            gathering = node.gathering = Gathering()
        if is_kept:
            gathering.came_by(position)
        begun = position or node.version & TAG_MASK
        if self._give(node, gathering if is_kept else None, begun, token) or not is_kept:
            return
        match gathering.end(begun, node.version):
            case Ending.UNKEPT:
                assert library is not None
                library.leave_listing()
            case Ending.DROPPED:
                assert self.invalidator is not None
                await self.invalidator.drop_listing(node.ino)
            case Ending.KEPT:
                # Who lists it again asks for its attributes first, and then no more.
                node.space.grant_shown(node)

    def times_set(self, node: Node) -> None:
        """Takes note that a program sets a directory's times, perhaps to what they were before.

        The kernel holds the directory meanwhile, so that nobody lists it.
        """
        if node.gathering is not None and self.invalidator is not None:
            self.invalidator.forget_listing(node.ino)

    async def moved(self, node: Node) -> None:
        """Takes note that a directory is in another one now, which its listing tells of."""
        node.version += 1
        if node.gathering is not None and self.invalidator is not None:
            await self.invalidator.drop_listing(node.ino)

    def _give(
        self, node: Node, gathering: Gathering | None, begun: int, token: ReaddirToken
    ) -> bool:
        """Gives the names behind a position; False if there are none."""
        listing = self._listing_from(node, begun >> TAG_BITS)
        # A listing that was begun before must not come to have the present tag.
        ends = gathering.older_ends(node.version) if gathering is not None else ()
        last = 0
        for name, position in listing.behind(begun >> TAG_BITS, begun & TAG_MASK, ends):
            told = self._give_name(listing, name, position, token)
            if told is _Told.NO_ROOM:
                self._keep(listing)
                break
            if told is _Told.GIVEN:
                last = position
                if gathering is not None and position in gathering.ends:
                    gathering.came_by(position)
        if last and gathering is not None:
            gathering.answered(last)
        return last > 0

    def _listing_from(self, node: Node, place: int) -> _Listing:
        """The names at present for who begins; for who goes on, perhaps those of a while ago.

        All that were there when he began, and stayed, are among them: whoever began since had them
        listed anew.
        """
        listing = self._listings.pop(node, None)
        if listing is None or place == 0:
            assert node.gathering is not None
            listing = _Listing(node, node.gathering.displaced)
            node.gathering.fills_last_page = fills_last_page(listing.names)
        return listing

    def _give_name(self, listing: _Listing, name: str, position: int, token: ReaddirToken) -> _Told:
        """Gives one name, if it still leads anywhere."""
        node = listing.node
        space = node.space
        if name in (".", ".."):
            shown = node if name == "." else self._parent_of(node)
            attributes = shown.space.attributes(shown)
            is_given = pyfuse3.readdir_reply(token, name.encode(), attributes, position)
            return _Told.GIVEN if is_given else _Told.NO_ROOM
        is_known = listing.knows_contents
        if is_known:
            child = space.child_hinted(node, name, listing.hints[name])
        else:
            child = space.child(node, name)
        if child is None:
            return _Told.GONE
        attributes = child.space.attributes(child, listing.times if is_known else None)
        if not pyfuse3.readdir_reply(token, name.encode(), attributes, position):
            self._table.drop_unused(child)
            return _Told.NO_ROOM
        self._on_shown(child)
        return _Told.GIVEN

    def _keep(self, listing: _Listing) -> None:
        """Keeps a listing for who goes on with it; it is made anew where it is not kept."""
        self._listings[listing.node] = listing
        names = sum(len(kept.names) for kept in self._listings.values())
        while len(self._listings) > 1 and (
            len(self._listings) > _LISTINGS_MAX or names > _LISTED_NAMES_MAX
        ):
            oldest = next(iter(self._listings))
            names -= len(self._listings.pop(oldest).names)
