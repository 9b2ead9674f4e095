"""Where listings have come to, and what the kernel may keep of them: without a mount."""

import itertools
import random

import pytest

from pwfs.fs.gathering import TAG_BITS, Ending, Gathering, fills_last_page
from pwfs.fs.listing import arrange, place_of

NAMES = [f"name-{number}" for number in range(300)]


def position(place: int, version: int) -> int:
    """A position as listings have it."""
    return place << TAG_BITS | version


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time by which answers are timed: a list of one number of seconds."""
    now = [1000.0]
    monkeypatch.setattr("pwfs.fs.gathering.monotonic", lambda: now[0])
    return now


def test_places_do_not_depend_on_other_names() -> None:
    """Whatever comes or goes, a name stays where it is, and names have places of their own."""
    displaced: dict[str, int] = {}
    before = {name: place for place, name in arrange(NAMES, displaced)}
    assert len(set(before.values())) == len(NAMES)
    assert all(before[name] == place_of(name) for name in NAMES)
    after = {name: place for place, name in arrange([*NAMES[::2], "new"], displaced)}
    assert all(after[name] == before[name] for name in NAMES[::2])
    assert displaced == {}


def test_names_that_collide_stay_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two with one hash the first comes to stand below the other, and stays there."""
    monkeypatch.setattr("pwfs.fs.listing.place_of", lambda name: 5000 + ord(name[0]) % 2)
    displaced: dict[str, int] = {}
    places = {name: place for place, name in arrange("bdfh", displaced)}
    assert places == {"h": 5000, "f": 4999, "d": 4998, "b": 4997}
    assert displaced == {"f": 4999, "d": 4998, "b": 4997}
    without = {name: place for place, name in arrange("bdf", displaced)}
    assert without == {"f": 4999, "d": 4998, "b": 4997}
    again = {name: place for place, name in arrange("bdfj", displaced)}
    assert again == {**without, "j": 5000}


def test_a_whole_listing_is_kept(clock: list[float]) -> None:
    """Its end is reached while the directory is as it was at its beginning."""
    found = Gathering()
    found.answered(position(7000, 3))
    found.came_by(position(7000, 3))
    assert found.end(position(7000, 3), 3) is Ending.KEPT
    assert found.ends == {}


def test_a_listing_begun_before_a_change_is_not_kept(clock: list[float]) -> None:
    """What was gathered of it is dropped."""
    found = Gathering()
    found.answered(position(7000, 3))
    clock[0] += 5
    found.came_by(position(7000, 3))
    assert found.end(position(7000, 3), 4) is Ending.DROPPED


def test_nothing_is_dropped_while_another_listing_is_read(clock: list[float]) -> None:
    """It ends unkept, and somebody is led there later."""
    found = Gathering()
    old, other = position(7000, 3), position(6000, 4)
    found.answered(old)
    found.answered(other)
    found.came_by(old)
    assert found.end(old, 4) is Ending.UNKEPT
    assert found.older_ends(4) == [old]
    clock[0] += 5
    # Who is led there after that other listing was read, or left, drops it.
    found.came_by(old)
    assert found.end(old, 4) is Ending.DROPPED
    assert found.older_ends(4) == []


def test_what_fills_the_last_page_is_never_kept(clock: list[float]) -> None:
    """The kernel would tell who has come to another position that the listing is over."""
    found = Gathering(fills_last_page=True)
    assert found.end(position(7000, 3), 3) is Ending.UNKEPT


def test_what_is_in_the_way_is_found(clock: list[float]) -> None:
    """Listings that may be kept and are asked for all the same are led by what was passed."""
    found = Gathering()
    late = position(6000, 2)
    found.answered(late)
    found.came_by(late)
    assert found.older_ends(3) == []
    for _ in range(8):
        assert found.end(position(7000, 3), 3) is Ending.KEPT
    assert found.older_ends(3) == [late]


def test_what_is_remembered_is_bounded(clock: list[float]) -> None:
    """Of many ends the newest are remembered."""
    found = Gathering()
    for place in range(5000, 7000):
        found.answered(position(place, 1))
    assert len(found.ends) == 256
    for place in range(5000, 7000):
        found.came_by(position(place, 1))
    assert len(found.passed) == 256
    assert found.passed[-1] == position(6999, 1)


def test_pages_that_are_filled() -> None:
    """A name takes 24 bytes and its own, rounded up to eight; none goes over a page's end."""
    assert not fills_last_page([])
    assert fills_last_page(["n" * 8] * 128)
    assert not fills_last_page(["n" * 8] * 127)
    assert fills_last_page(["n" * 8] * 256)
    chance = random.Random(1)
    for _ in range(50):
        names = ["n" * chance.randint(1, 255) for _ in range(200)]
        ends = list(itertools.accumulate(names, _end_behind, initial=0))
        assert fills_last_page(names) == (ends[-1] % 4096 == 0)


def _end_behind(end: int, name: str) -> int:
    """Where a name ends that is put behind ``end``, by bytes from the first page on."""
    size = (24 + len(name) + 7) // 8 * 8
    if end % 4096 + size > 4096 or (end and end % 4096 == 0):
        end = (end + 4095) // 4096 * 4096
    return end + size
