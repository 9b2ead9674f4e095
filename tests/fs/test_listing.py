# The system calls and their errno are what is tested.
# ruff: noqa: PTH208
"""Listings of directories that are not opened: kept by the kernel, and exact all the same."""

import contextlib
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pwfs.fs.gathering import fills_last_page
from tests.fs.conftest import Mounted
from tests.support.dirents import OpenDirectory

pytestmark = pytest.mark.timeout(60)

MANY = 500
STOPPED_S = 0.3


@pytest.fixture(params=["kept", "opened"])
def listed(request: pytest.FixtureRequest, mounted: Mounted) -> Mounted:
    """A mount whose kernel keeps listings, and one whose kernel opens directories."""
    if request.param == "opened":
        mounted.stop()
        mounted.arguments = ["--opendir"]
        mounted.start()
    return mounted


@contextmanager
def opened(path: Path) -> Iterator[OpenDirectory]:
    """A directory to be read by hand."""
    directory = OpenDirectory(path)
    try:
        yield directory
    finally:
        directory.close()


def is_kept(mounted: Mounted, directory: OpenDirectory) -> bool:
    """Whether the kernel lists a directory without asking: while nobody could answer."""
    assert mounted.process is not None
    mounted.process.send_signal(signal.SIGSTOP)
    asking = threading.Thread(target=directory.names)
    try:
        asking.start()
        asking.join(STOPPED_S)
        return not asking.is_alive()
    finally:
        mounted.process.send_signal(signal.SIGCONT)
        asking.join()


def fill(directory: Path, count: int) -> set[str]:
    """Makes a directory with empty files."""
    directory.mkdir()
    names = {f"name-{number:03}" for number in range(count)}
    for name in names:
        (directory / name).touch()
    return names


@pytest.mark.parametrize("count", [1, 40, MANY])
def test_listings_are_kept(mounted: Mounted, place: Path, count: int) -> None:
    """What was listed once is not asked for again, until it changes."""
    names = fill(place / "d", count)
    with opened(place / "d") as directory:
        assert set(directory.names()) == names
        assert is_kept(mounted, directory)
        (place / "d/new").touch()
        assert set(directory.names()) == {*names, "new"}
        assert is_kept(mounted, directory)


def test_listings_that_were_left_are_in_nobodys_way(mounted: Mounted) -> None:
    """Begun, left, and overtaken by changes elsewhere: after a few others one is kept again."""
    first, second = mounted.workspace(), mounted.workspace_on("work")
    names = fill(first / "d", MANY)
    for turn in range(3):
        with opened(second / "d") as directory:
            directory.some()
        (first / f"d/new-{turn}").touch()
        names.add(f"new-{turn}")
    with opened(second / "d") as directory:
        for _ in range(5):
            assert set(directory.names()) == names
        assert is_kept(mounted, directory)


def test_directories_are_opened_where_the_kernel_wants_it(mounted: Mounted) -> None:
    """A kernel before 5.1, or a mount without the library, keeps no listing."""
    mounted.stop()
    mounted.arguments = ["--opendir"]
    mounted.start()
    names = fill(mounted.workspace() / "d", 40)
    with opened(mounted.mountpoint / "ws/ws-work/d") as directory:
        assert set(directory.names()) == names
        assert not is_kept(mounted, directory)


def test_what_changes_elsewhere_is_listed_at_once(listed: Mounted) -> None:
    """A co-worker, the API and a landing: after the answer each listing is exact, and kept again."""
    first, second = listed.workspace(), listed.workspace_on("work")
    names = fill(first / "d", 100)
    listed.call("create_view", "v", owner="tester", base="latest", overlays=["work"])
    view = listed.mountpoint / "views/v"
    blob = listed.call("read", "ws-work", "d/name-000")
    assert blob == ""
    hash_ = listed.files()["d/name-000"][0]
    changes: list[tuple[Callable[[], object], set[str]]] = [
        ((second / "d/made").touch, names | {"made"}),
        ((second / "d/made").unlink, names),
        (
            lambda: (second / "d/name-001").rename(second / "d/moved"),
            names - {"name-001"} | {"moved"},
        ),
        ((second / "d/below").mkdir, names - {"name-001"} | {"moved"}),
        (lambda: listed.call("append", "work", "create", "d/appended", hash_), set()),
    ]
    with opened(first / "d") as in_first, opened(view / "d") as in_view:
        for change, expected in changes:
            in_first.names(), in_view.names()
            change()
            expected = expected or {*names, "moved", "appended"} - {"name-001"}
            for directory in (in_first, in_view):
                assert sorted(directory.names()) == sorted(expected)
            for path in (first / "d", view / "d"):
                assert sorted(os.listdir(path)) == sorted(expected)
            assert sorted(os.listdir(second / "d")) in (
                sorted(expected),
                sorted({*expected, "below"}),
            )
    assert "d" not in os.listdir(listed.main)
    listed.call("land", "work", agent="tester")
    assert "d" in os.listdir(listed.main)
    assert sorted(os.listdir(listed.main / "d")) == sorted(expected)


def test_collections_are_listed_exactly(listed: Mounted) -> None:
    """``views``, ``ws`` and ``at`` show what came and went when the request was answered."""
    top = listed.mountpoint
    assert os.listdir(top / "views") == os.listdir(top / "ws") == []
    moments = os.listdir(top / "at")
    listed.workspace()
    assert os.listdir(top / "views") == os.listdir(top / "ws") == ["ws-work"]
    listed.call("create_view", "v", owner="tester", base="latest", overlays=["work"])
    assert sorted(os.listdir(top / "views")) == ["v", "ws-work"]
    (top / "ws/ws-work/new").touch()
    listed.call("land", "work", agent="tester")
    assert len(os.listdir(top / "at")) == len(moments) + 1
    listed.call("delete_view", "v")
    assert os.listdir(top / "views") == ["ws-work"]
    listed.call("destroy_workspace", "ws-work")
    assert os.listdir(top / "views") == os.listdir(top / "ws") == []


def test_positions_hold_while_names_change(listed: Mounted) -> None:
    """A position leads to the names that it led to, whoever made and removed others meanwhile."""
    first, second = listed.workspace(), listed.workspace_on("work")
    fill(first / "d", MANY)
    with opened(second / "d") as directory:
        seen = directory.rest()
        assert len(seen) == MANY + 2
        for number in range(0, MANY, 3):
            (first / f"d/name-{number:03}").unlink()
            (second / f"d/later-{number}").touch()
        for index in (400, 2, 250, 499, 1):
            directory.seek(seen[index].position)
            names = [entry.name for entry in directory.rest(1024)]
            behind = [entry.name for entry in seen[index + 1 :]]
            stay = [name for name in behind if int(name[5:]) % 3]
            assert [name for name in names if name in stay] == stay
            assert {name for name in names if not name.startswith("later-")} <= set(behind)
            assert len(names) == len(set(names))


def test_names_that_stay_come_once(listed: Mounted) -> None:
    """Read a few names at a time, while others read it whole and names come and go elsewhere."""
    first, second = listed.workspace(), listed.workspace_on("work")
    stay = fill(first / "d", MANY)
    with opened(second / "d") as directory:
        for turn in range(20):
            directory.seek(0)
            (first / f"d/gone-{turn}").touch()
            seen = [entry.name for entry in directory.some(600)]
            for change in range(4):
                (first / f"d/new-{turn}-{change}").touch()
                assert f"new-{turn}-{change}" in os.listdir(second / "d")
                seen += [entry.name for entry in directory.some(600 * change)] if change else []
            (first / f"d/gone-{turn}").unlink()
            seen += [entry.name for entry in directory.rest()]
            assert len(seen) == len(set(seen))
            assert stay <= set(seen)


def test_who_goes_on_sees_the_rest(listed: Mounted) -> None:
    """Also if what the kernel keeps by then ends where a page ends."""
    first, second = listed.workspace(), listed.workspace_on("work")
    names = fill(first / "d", 126)
    assert fills_last_page([".", "..", *("x" * 8 for _ in range(126))])
    with opened(second / "d") as directory:
        seen = [entry.name for entry in directory.some(140)]
        (first / "d/name-125").rename(first / "d/name-xyz")
        for _ in range(3):
            assert set(os.listdir(second / "d")) == names - {"name-125"} | {"name-xyz"}
        seen += [entry.name for entry in directory.rest()]
    assert names - {"name-125"} <= set(seen)
    assert len(seen) == len(set(seen))


def test_open_directories_that_are_removed(listed: Mounted) -> None:
    """Elsewhere or here: nothing is listed any more, and nothing of what has the name by then."""
    first, second = listed.workspace(), listed.workspace_on("work")
    for remover in (first, second):
        (first / "d").mkdir(exist_ok=True)
        (first / "d/f").touch()
        with opened(second / "d") as directory:
            assert directory.names() == ["f"]
            (remover / "d/f").unlink()
            assert os.listdir(directory.fd) == []
            for place in (first, second):
                with contextlib.suppress(FileNotFoundError):
                    (place / "d").rmdir()
            (first / "d").mkdir()
            (first / "d/g").touch()
            assert os.listdir(directory.fd) == []
        assert os.listdir(second / "d") == ["g"]
        (first / "d/g").unlink()


def test_times_that_are_set_hide_no_change(listed: Mounted) -> None:
    """A directory that is given back the time it had is listed as it is."""
    first, second = listed.workspace(), listed.workspace_on("work")
    names = fill(first / "d", 10)
    with opened(second / "d") as directory:
        for turn in range(5):
            assert set(directory.names()) == names
            status = (second / "d").stat()
            (first / f"d/new-{turn}").touch()
            names.add(f"new-{turn}")
            os.utime(second / "d", ns=(status.st_atime_ns, status.st_mtime_ns))
            assert (second / "d").stat().st_mtime_ns == status.st_mtime_ns
            assert set(directory.names()) == names


def test_a_moved_directory_lists_its_new_parent(listed: Mounted) -> None:
    """Its ``..`` is the directory that it is in, also after it was exchanged."""
    ws = listed.workspace()
    (ws / "a/d").mkdir(parents=True)
    (ws / "b").mkdir()
    with opened(ws / "a/d") as directory:
        for parent, target in (("a", "b/d"), ("b", "a/d"), ("a", None)):
            directory.seek(0)
            found = {entry.name: entry.ino for entry in directory.rest()}
            assert found[".."] == (ws / parent).stat().st_ino
            if target is not None:
                (ws / parent / "d").rename(ws / target)


def test_a_large_directory_that_is_emptied_while_it_is_read(listed: Mounted) -> None:
    """Removing what was listed so far takes no longer the more is still to come."""
    build = listed.workspace() / "build"
    names = fill(build, 4000)
    removed = []
    with os.scandir(build) as entries:
        for entry in entries:
            (build / entry.name).unlink()
            removed.append(entry.name)
    assert sorted(removed) == sorted(names)
    assert os.listdir(build) == []


def test_numbers_are_those_of_the_files(listed: Mounted) -> None:
    """What a listing says of a name is what ``stat`` says, after changes elsewhere too."""
    first, second = listed.workspace(), listed.workspace_on("work")
    fill(first / "d", 20)
    chance = random.Random(7)
    with opened(second / "d") as directory:
        for turn in range(10):
            (first / f"d/name-{chance.randrange(20):03}").write_text(f"{turn}\n")
            directory.seek(0)
            for entry in directory.rest():
                if entry.name not in (".", ".."):
                    assert entry.ino == (second / "d" / entry.name).stat().st_ino
