# The system calls and their errno are what is tested.
# ruff: noqa: PT011
"""Directories as POSIX has them: large ones, changing ones, positions in them, long names."""

import ctypes
import errno
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.fs.conftest import Mounted
from tests.support import inotify
from tests.support.inotify import watching

pytestmark = pytest.mark.timeout(60)

MANY = 100_000
_libc = ctypes.CDLL(None, use_errno=True)
_libc.opendir.restype = ctypes.c_void_p
_libc.readdir.argtypes = _libc.telldir.argtypes = _libc.closedir.argtypes = [ctypes.c_void_p]
_libc.readdir.restype = ctypes.c_void_p
_libc.telldir.restype = ctypes.c_long
_libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
_libc.rewinddir.argtypes = [ctypes.c_void_p]
_NAME_OFFSET = 19


class Listing:
    """An open directory, read name by name."""

    def __init__(self, path: Path) -> None:
        self._stream = _libc.opendir(os.fsencode(path))
        assert self._stream

    def next(self) -> str | None:
        """The next name; None at the end."""
        entry = _libc.readdir(self._stream)
        if not entry:
            return None
        return ctypes.string_at(entry + _NAME_OFFSET).decode()

    def rest(self) -> list[str]:
        """All names to the end."""
        names = []
        while (name := self.next()) is not None:
            names.append(name)
        return names

    def tell(self) -> int:
        """The present position."""
        return int(_libc.telldir(self._stream))

    def seek(self, position: int) -> None:
        """Goes back, or on, to a position that `tell` gave."""
        _libc.seekdir(self._stream, position)

    def rewind(self) -> None:
        """Begins anew."""
        _libc.rewinddir(self._stream)

    def close(self) -> None:
        """Ends it."""
        _libc.closedir(self._stream)


def test_positions_in_a_directory(place: Path) -> None:
    """telldir and seekdir lead back to the same names; rewinddir shows what is there by then."""
    for number in range(500):
        (place / f"name-{number:03}").touch()
    listing = Listing(place)
    seen: list[tuple[int, str]] = []
    while True:
        position = listing.tell()
        name = listing.next()
        if name is None:
            break
        seen.append((position, name))
    assert sorted(name for _, name in seen) == sorted([".", "..", *os.listdir(place)])
    for position, name in [seen[400], seen[2], seen[250], seen[0]]:
        listing.seek(position)
        assert listing.next() == name
    listing.seek(seen[300][0])
    assert listing.rest() == [name for _, name in seen[300:]]
    (place / "late").touch()
    (place / "name-007").unlink()
    listing.rewind()
    names = listing.rest()
    assert "late" in names
    assert "name-007" not in names
    listing.close()


def test_a_directory_that_is_emptied_while_it_is_read(place: Path) -> None:
    """What `rm -r` does: each name comes once, and in the end none is left."""
    for number in range(1000):
        (place / f"f{number}").touch()
    removed = []
    with os.scandir(place) as entries:
        for entry in entries:
            os.unlink(entry.path)
            removed.append(entry.name)
    assert sorted(removed) == sorted(f"f{number}" for number in range(1000))
    assert os.listdir(place) == []
    place.rmdir()


@pytest.mark.timeout(180)
def test_a_hundred_thousand_ignored_names(mounted: Mounted) -> None:
    """All are listed, once, while others come and go; one is found and made as ever."""
    ws = mounted.workspace()
    (ws / "build/many").mkdir(parents=True)
    mounted.stop()
    below = mounted.repository / ".patchwork/work/ws-work/tree/build/many"
    for number in range(MANY):
        os.close(os.open(below / f"file-{number}", os.O_CREAT | os.O_WRONLY, 0o644))
    mounted.start()
    many = ws / "build/many"
    seen = []
    with os.scandir(many) as entries:
        for position, entry in enumerate(entries):
            seen.append(entry.name)
            if position % 10_000 == 5_000:
                (many / f"new-{position}").touch()
                (many / f"file-{position}").unlink()
    assert len(seen) == len(set(seen))
    gone = {f"file-{position}" for position in range(5_000, MANY, 10_000)}
    assert {f"file-{number}" for number in range(MANY)} - gone <= set(seen)
    assert (many / "file-99999").stat().st_size == 0
    (many / "file-99999").rename(many / "renamed")
    assert not (many / "file-99999").exists()
    # What is looked at after every test shall not be all of these.
    mounted.stop()
    shutil.rmtree(below)
    mounted.start()


def test_names_of_255_bytes(mounted: Mounted, place: Path) -> None:
    """In ASCII or not, for files, directories and links; a byte more is ENAMETOOLONG."""
    for letter in ("n", "é"):
        name = letter * (255 // len(letter.encode()))
        (place / name).write_text("x")
        assert name in os.listdir(place)
        (place / "d").mkdir()
        (place / "d" / name).mkdir()
        (place / "d" / name / name).symlink_to(name)
        (place / "d" / name / "hard").hardlink_to(place / name)
        too_long = place / f"{name}xx"
        attempts: list[Callable[[], object]] = [
            too_long.stat,
            too_long.touch,
            too_long.mkdir,
            too_long.unlink,
            too_long.rmdir,
            partial(too_long.symlink_to, "x"),
            partial(too_long.hardlink_to, place / name),
            partial((place / name).rename, too_long),
            partial(os.mkfifo, too_long),
        ]
        for attempt in attempts:
            with pytest.raises(OSError) as refused:
                attempt()
            assert refused.value.errno == errno.ENAMETOOLONG
        mounted.restart()
        assert (place / "d" / name / "hard").read_text() == "x"
        (place / "d").rename(place / f"{len(name)}")
        (place / name).unlink()


def test_links_of_full_length(place: Path) -> None:
    """A symbolic link may have 4,095 bytes."""
    target = "/".join(["t" * 255] * 15 + ["t" * 255])
    (place / "link").symlink_to(target)
    assert os.readlink(place / "link") == target
    assert (place / "link").lstat().st_size == len(target) == 4095
    with pytest.raises(OSError) as refused:
        (place / "longer").symlink_to(f"{target}t")
    assert refused.value.errno == errno.ENAMETOOLONG


def test_watchers_see_what_is_done_here(place: Path) -> None:
    """inotify for local events: made, written, closed, its mode, moved and removed."""
    wanted = inotify.CHANGES | inotify.CLOSE_WRITE | inotify.ATTRIB
    with watching(place, mask=wanted) as watch:
        with (place / "f").open("w") as file:
            file.write("x")
        watch.until(inotify.CREATE, "f")
        watch.until(inotify.MODIFY, "f")
        watch.until(inotify.CLOSE_WRITE, "f")
        watch.rest()
        (place / "f").chmod(0o600)
        watch.until(inotify.ATTRIB, "f")
        (place / "f").rename(place / "g")
        watch.until(inotify.MOVED_FROM, "f")
        watch.until(inotify.MOVED_TO, "g")
        (place / "d").mkdir()
        watch.until(inotify.CREATE, "d")
        (place / "g").unlink()
        watch.until(inotify.DELETE, "g")
        (place / "d").rmdir()
        watch.until(inotify.DELETE, "d")


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_versioned_names(mounted: Mounted) -> None:
    """Made one by one, each logged, and listed whole; what is logged is what is shown."""
    many = mounted.workspace() / "many"
    many.mkdir()
    for number in range(MANY):
        os.close(os.open(many / f"file-{number}", os.O_CREAT | os.O_WRONLY, 0o644))
    names = {f"file-{number}" for number in range(MANY)}
    assert set(os.listdir(many)) == names
    for number in range(0, MANY, 2):
        (many / f"file-{number}").unlink()
    assert set(os.listdir(many)) == {f"file-{number}" for number in range(1, MANY, 2)}
