"""What is kept on disk, of which the native library answers: nothing differs from without it."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fs.conftest import MAIN_FILES, Mounted

pytestmark = pytest.mark.timeout(60)

LARGE = 300_000


def ask_for_nothing(directory: Path) -> None:
    """Looks names up that are not there, and lists; the daemon was asked for the first ones only."""
    for number in range(4):
        assert not (directory / f"nothing-{number}").exists()
    for _ in range(3):
        directory.stat()
        sorted(directory.iterdir())


def seen(path: Path) -> tuple[int, int, int, int, int]:
    """What changes when something happens to a directory."""
    status = path.stat()
    return (
        status.st_nlink,
        status.st_mode,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_atime_ns,
    )


@pytest.fixture(params=["native", "python"])
def either(
    request: pytest.FixtureRequest, unmounted: Mounted, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Mounted]:
    """A small repository, mounted with the library and without."""
    if request.param == "python":
        monkeypatch.setenv("PATCHWORK_NATIVE", "0")
    unmounted.start()
    yield unmounted
    unmounted.check()
    unmounted.stop()


def test_versioned_files_come_into_a_directory_of_ignored_ones(either: Mounted) -> None:
    """In this workspace and in another one, where nobody has asked for them before."""
    ws = either.workspace()
    other = either.workspace_on("work")
    for place in (ws, other):
        (place / "build/deep").mkdir(parents=True)
        (place / "build/deep/ignored").write_bytes(b"ignored")
        for directory in (place / "build", place / "build/deep"):
            ask_for_nothing(directory)
    (ws / "src").rename(ws / "build/deep/src")
    for place in (ws, other):
        assert (place / "build/deep/src/app.py").read_bytes() == MAIN_FILES["src/app.py"]
        assert sorted(path.name for path in (place / "build/deep").iterdir()) == ["ignored", "src"]
    (ws / "build/deep/src").rename(ws / "src")
    for place in (ws, other):
        ask_for_nothing(place / "build/deep")
        assert not (place / "build/deep/src").exists()
        assert (place / "src/app.py").read_bytes() == MAIN_FILES["src/app.py"]


def test_new_versioned_files_in_a_directory_that_only_the_disk_has(either: Mounted) -> None:
    """A directory that is new and empty is on disk only, until something is made in it."""
    ws = either.workspace()
    (ws / "new/below").mkdir(parents=True)
    ask_for_nothing(ws / "new/below")
    fd = os.open(ws / "new/below/file", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.write(fd, b"first")
    ask_for_nothing(ws / "new/below")
    (ws / "new/below/link").symlink_to("file")
    (ws / "new").rename(ws / "newer")
    ask_for_nothing(ws / "newer/below")
    os.close(fd)
    other = either.workspace_on("work")
    for place in (ws, other):
        assert (place / "newer/below/file").read_bytes() == b"first"
        assert (place / "newer/below/link").readlink() == Path("file")
        assert not (place / "new").exists()
    assert "newer/below/file" in either.files()


@pytest.mark.parametrize("name", ["build", "src/lib"])
def test_what_a_directory_shows_follows_what_happens_in_it(either: Mounted, name: str) -> None:
    """Its times with each name, its links with each directory, its mode and set times at once."""
    ws = either.workspace()
    directory = ws / name
    directory.mkdir(exist_ok=True)
    before = seen(directory)
    for change, links in (
        (lambda: (directory / "file").write_bytes(b"x"), 2),
        (lambda: (directory / "below").mkdir(), 3),
        (lambda: (directory / "file").rename(directory / "moved"), 3),
        (lambda: (directory / "below").rename(directory / "beside"), 3),
        (lambda: (directory / "beside").rename(ws / "out"), 2),
        (lambda: (ws / "out").rename(directory / "in"), 3),
        (lambda: (directory / "in").rmdir(), 2),
        (lambda: (directory / "moved").unlink(), 2),
    ):
        ask_for_nothing(directory)
        change()
        now = seen(directory)
        assert now[0] == links
        assert now[2] > before[2]
        assert now[2] == now[3]
        before = now
    ask_for_nothing(directory)
    directory.chmod(0o750)
    os.utime(directory, ns=(1_000_000_001, 2_000_000_002))
    assert stat.S_IMODE(directory.stat().st_mode) == 0o750
    assert (directory.stat().st_atime_ns, directory.stat().st_mtime_ns) == (
        1_000_000_001,
        2_000_000_002,
    )
    ask_for_nothing(directory)
    (directory / "file").touch()
    assert directory.stat().st_atime_ns == 1_000_000_001
    assert directory.stat().st_mtime_ns > before[2]


@pytest.mark.parametrize("view", ["ws", "views"])
def test_what_a_directory_shows_follows_what_others_do(either: Mounted, view: str) -> None:
    """By a co-worker in another workspace, in the directory and to what it is in."""
    theirs = either.workspace()
    if view == "ws":
        mine = either.workspace_on("work")
    else:
        either.call("create_view", "seen", owner="tester", base="latest", overlays=["work"])
        mine = either.mountpoint / "views/seen"
    directory = mine / "src/lib"
    for change, links in (
        (lambda: (theirs / "src/lib/new.py").write_bytes(b"new"), 2),
        (lambda: (theirs / "src/lib/below").mkdir(), None),
        (lambda: (theirs / "src/lib/below/file").write_bytes(b"x"), 3),
        (lambda: (theirs / "src/lib/new.py").unlink(), 3),
        (lambda: (theirs / "src/lib/below").rename(theirs / "out"), 2),
    ):
        ask_for_nothing(directory)
        before = seen(directory)
        change()
        now = seen(directory)
        if links is not None:
            assert now[0] == links
            assert now[2] > before[2]
    ask_for_nothing(directory)
    held = os.open(directory, os.O_RDONLY)
    (theirs / "src/lib").rename(theirs / "src/moved")
    assert not directory.exists()
    assert seen(mine / "src/moved")[0] == 2
    assert os.fstat(held).st_nlink == 0
    os.close(held)


def test_a_directory_that_is_made_again(either: Mounted) -> None:
    """``mkdir -p`` finds what is there, and what was removed is nowhere."""
    ws = either.workspace()
    for _ in range(3):
        for _ in range(3):
            (ws / "build/a/b").mkdir(parents=True, exist_ok=True)
            ask_for_nothing(ws / "build/a/b")
        (ws / "build/a/b/file").write_bytes(b"x")
        (ws / "build/a").rename(ws / "build/c")
        assert not (ws / "build/a").exists()
        assert (ws / "build/c/b/file").read_bytes() == b"x"
        (ws / "build/c/b/file").unlink()
        (ws / "build/c/b").rmdir()
        assert not (ws / "build/c/b").exists()
        (ws / "build/c").rmdir()


def test_a_file_is_logged_while_it_is_being_written(either: Mounted) -> None:
    """Whoever goes on to write it under its new name writes what the log has."""
    ws = either.workspace()
    (ws / "build").mkdir()
    fd = os.open(ws / "build/file", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.write(fd, b"x" * LARGE)
    os.truncate(ws / "build/file", LARGE - 1)
    os.fchmod(fd, 0o755)
    (ws / "build/file").rename(ws / "logged")
    assert either.read("ws-work", "logged") == b"x" * (LARGE - 1)
    os.pwrite(fd, b"after", 0)
    os.close(fd)
    assert either.read("ws-work", "logged") == b"after" + b"x" * (LARGE - 6)
    assert stat.S_IMODE((ws / "logged").stat().st_mode) == 0o755
    (ws / "logged").rename(ws / "build/file")
    with (ws / "build/file").open("r+b", buffering=0) as file:
        file.write(b"again")
    assert (ws / "build/file").read_bytes() == b"again" + b"x" * (LARGE - 6)


def test_a_file_without_a_name_is_written_on(either: Mounted) -> None:
    """Also after it was written, and shown, without asking the daemon."""
    ws = either.workspace()
    (ws / "build").mkdir()
    fd = os.open(ws / "build/file", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.write(fd, b"before")
    os.utime(fd, ns=(3_000_000_003, 4_000_000_004))
    assert os.fstat(fd).st_mtime_ns == 4_000_000_004
    (ws / "build/file").unlink()
    os.pwrite(fd, b"BEF", 0)
    assert os.pread(fd, 100, 0) == b"BEFore"
    assert (os.fstat(fd).st_nlink, os.fstat(fd).st_size) == (0, 6)
    os.ftruncate(fd, 2)
    assert os.fstat(fd).st_size == 2
    os.close(fd)


def test_many_files_written_at_once(either: Mounted) -> None:
    """More than there are descriptors kept for; none of them mixes with another."""
    ws = either.workspace()
    (ws / "build").mkdir()
    fds = [
        os.open(ws / f"build/{number}", os.O_RDWR | os.O_CREAT | os.O_APPEND)
        for number in range(400)
    ]
    for round_ in range(2):
        for number, fd in enumerate(fds):
            os.write(fd, f"{number} {round_}\n".encode())
    for fd in fds:
        os.close(fd)
    for number in range(400):
        assert (ws / f"build/{number}").read_text() == f"{number} 0\n{number} 1\n"
        os.truncate(ws / f"build/{number}", 3)
        assert (ws / f"build/{number}").stat().st_size == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give capabilities")
def test_capabilities_that_come_between_two_writes_are_lost_with_the_second(
    either: Mounted,
) -> None:
    """The kernel asks before each write if a file has any, and takes them away."""
    capability, value = (
        "security.capability",
        bytes.fromhex("0100000200040000000000000000000000000000"),
    )
    file = either.workspace() / "program"
    with file.open("wb", buffering=0) as opened:
        opened.write(b"first")
        os.setxattr(file, capability, value)
        assert os.getxattr(file, capability) == value
        opened.write(b"second")
        assert capability not in os.listxattr(file)
        os.setxattr(file, capability, value)
    assert os.getxattr(file, capability) == value
    with file.open("ab", buffering=0) as opened:
        assert os.getxattr(file, capability) == value
        opened.write(b"third")
    assert capability not in os.listxattr(file)
    assert file.read_bytes() == b"firstsecondthird"
