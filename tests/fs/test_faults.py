# The system calls and their errno are what is tested.
"""Every step of the daemon on its disk fails in its turn: the program is told, nothing is half done.

For each way of changing something in a workspace, its first step fails, then its second, until there
is none left. A refused call must have changed nothing, in the mount or in the log; what a program
could write before `close` failed stays, and is logged when the disk is well again.
"""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from tests.fs.conftest import Mounted
from tests.fs.syncer import sync_directory
from tests.support.syscalls import exchange

TOLD = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBUSY, errno.EROFS}
OLD, NEW = b"old\n" * 100, b"new\n" * 150
LARGE = bytes(range(256)) * 6000
STEPS_MAX = 80


@dataclass(frozen=True)
class Way:
    """A way of changing a directory that `furnish` has furnished, by calls that succeed or raise.

    ``is_whole``: one call that does all or nothing. Otherwise it writes, and an error may leave
    what was written up to then. ``prepare`` is done just before, so that the daemon still holds it.
    """

    name: str
    act: Callable[[Path], None]
    is_whole: bool = True
    prepare: Callable[[Path], None] = lambda place: None


def furnish(place: Path) -> None:
    """Makes what the ways find: tracked and ignored files, a link, directories."""
    place.mkdir()
    (place / "file").write_bytes(OLD)
    (place / "other").write_bytes(OLD + b"other")
    (place / "file.bak").write_bytes(OLD + b"backup")
    (place / "x.log").write_bytes(OLD)
    (place / "y.log").write_bytes(b"y")
    (place / "sub").mkdir()
    (place / "sub/inner").write_bytes(b"inner")
    (place / "sub/z.log").write_bytes(b"z")
    (place / "empty").mkdir()
    (place / "link").symlink_to("file")
    (place / "twin").write_bytes(OLD + b"twin")
    (place / "sub/twin").hardlink_to(place / "twin")


def shown(place: Path) -> dict[str, object]:
    """Everything that a program can see below a place."""
    found: dict[str, object] = {}
    for path in sorted(place.rglob("*")):
        name = str(path.relative_to(place))
        status = path.lstat()
        if path.is_symlink():
            found[name] = path.readlink()
        elif path.is_dir():
            found[name] = ("directory", status.st_mode, sorted(os.listxattr(path)))
        else:
            # Who opens a FIFO waits for somebody who writes to it.
            content = path.read_bytes() if path.is_file() else b""
            xattrs = sorted(os.listxattr(path))
            found[name] = (content, status.st_mode, xattrs, status.st_nlink)
    return found


def _save_in_place(place: Path) -> None:
    with (place / "file").open("r+b", buffering=0) as file:
        file.write(NEW)


def _save_and_sync(place: Path) -> None:
    with (place / "file").open("r+b", buffering=0) as file:
        file.write(NEW)
        os.fsync(file.fileno())


def _moves(old: str, new: str) -> Callable[[Path], None]:
    return lambda place: _void((place / old).rename(place / new))


def _exchanges(one: str, other: str) -> Callable[[Path], None]:
    return lambda place: exchange(place / one, place / other)


def _restricts(name: str) -> Callable[[Path], None]:
    return lambda place: (place / name).chmod(0o600)


def _removes(name: str) -> Callable[[Path], None]:
    return lambda place: (place / name).unlink()


def _writes(name: str) -> Callable[[Path], None]:
    return lambda place: _write(place / name, NEW)


def _replaces(name: str, content: bytes = NEW) -> Callable[[Path], None]:
    def replace(place: Path) -> None:
        (place / name).unlink()
        _write(place / name, content)

    return replace


def _removes_and_writes(place: Path) -> None:
    (place / "file").unlink()
    _write(place / "tmp.file", NEW)


def _does_much(place: Path) -> None:
    _write(place / "new", NEW)
    (place / "file").rename(place / "file~")
    _write(place / "file", NEW)
    (place / "other").unlink()
    (place / "sub/inner").rename(place / "sub/inner~")


WAYS = [
    Way("create", lambda place: _write(place / "new", NEW), is_whole=False),
    Way("create a large one", lambda place: _write(place / "new", LARGE), is_whole=False),
    Way("save", lambda place: _write(place / "file", NEW), is_whole=False),
    Way("save in place", _save_in_place, is_whole=False),
    Way("save and fsync", _save_and_sync, is_whole=False),
    Way("save an ignored file", lambda place: _write(place / "x.log", NEW), is_whole=False),
    Way("unlink", lambda place: (place / "file").unlink()),
    Way("unlink an ignored file", lambda place: (place / "x.log").unlink()),
    Way("rename", lambda place: _void((place / "file").rename(place / "moved"))),
    Way("rename over", lambda place: _void((place / "file").rename(place / "other"))),
    Way("rename an ignored file", lambda place: _void((place / "x.log").rename(place / "z.log"))),
    Way("rename into the log", lambda place: _void((place / "x.log").rename(place / "logged"))),
    Way("rename out of the log", lambda place: _void((place / "file").rename(place / "n.log"))),
    Way("rename a directory", lambda place: _void((place / "sub").rename(place / "moved"))),
    Way("exchange", _exchanges("file", "other"), prepare=_restricts("file")),
    Way("rename a link", _moves("twin", "moved")),
    Way("rename a link over another file", _moves("twin", "other")),
    Way("link a link", lambda place: os.link(place / "twin", place / "third")),
    Way("link", lambda place: os.link(place / "file", place / "second")),
    Way("symlink", lambda place: (place / "new").symlink_to("there")),
    Way("symlink, ignored", lambda place: (place / "new.log").symlink_to("there")),
    Way("mkdir", lambda place: (place / "new").mkdir(mode=0o700)),
    Way("rmdir", lambda place: (place / "empty").rmdir()),
    Way("mknod", lambda place: os.mknod(place / "new")),
    Way("mkfifo", lambda place: os.mkfifo(place / "fifo")),
    Way("chmod +x", lambda place: (place / "file").chmod(0o755)),
    Way("chmod", lambda place: (place / "file").chmod(0o600)),
    Way("truncate", lambda place: os.truncate(place / "file", 7)),
    Way("setxattr", lambda place: os.setxattr(place / "file", "user.note", b"1")),
    Way("set aside", _moves("file", "file~")),
    Way("set aside over another", _moves("file", "file.bak")),
    Way("put back", _moves("file~", "file"), prepare=_moves("file", "file~")),
    Way("put back, for another", _moves("file.bak", "file"), prepare=_moves("file", "file.bak")),
    Way("save by renaming", _moves("file.tmp", "file"), prepare=_writes("file.tmp")),
    Way("save by renaming a tracked one", _moves("other", "file"), prepare=_replaces("other")),
    Way("create by renaming", _moves("new.tmp", "new"), prepare=_writes("new.tmp")),
    Way("create by renaming a tracked one", _moves("file.bak", "f"), prepare=_replaces("file.bak")),
    Way("create anew by renaming", _moves("tmp.file", "file"), prepare=_removes_and_writes),
    Way("unlink a temporary one", _removes("file~"), prepare=_writes("file~")),
    Way("unlink one made anew", _removes("file"), prepare=_replaces("file", b"")),
    Way("unlink what was set aside", _removes("file~"), prepare=_moves("file", "file~")),
    Way("settle", lambda place: sync_directory(place), prepare=_does_much),
]


def _write(path: Path, content: bytes) -> None:
    with path.open("wb", buffering=0) as file:
        file.write(content)


def _void(_: object) -> None:
    """Lets a call that returns something be a way."""


def attempt(act: Callable[[Path], None], place: Path) -> OSError | None:
    """Carries a way out; what it was told."""
    try:
        act(place)
    except OSError as error:
        return error
    return None


def agree(mounted: Mounted, place: Path, ws: Path) -> None:
    """The log has just what the mount shows of what is not ignored."""
    expected = {}
    for path in place.rglob("*"):
        if path.name.endswith(".log") or (path.is_dir() and not path.is_symlink()):
            continue
        if path.is_fifo():
            continue
        content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        expected[str(path.relative_to(ws))] = sha256(content).hexdigest()
    found = {p: row[0] for p, row in mounted.files().items() if p.startswith(f"{place.name}/")}
    assert found == expected


@pytest.fixture
def failing(mounted: Mounted) -> Iterator[Mounted]:
    """A mount whose complaints about its disk are no surprise."""
    mounted.expected_log += [
        "an open file is not captured",
        "are not saved; trying again",
        "an emptied directory is not kept",
        "files are not taken into the log",
        "what is held is not logged",
        "a file is left under its old name",
    ]
    yield mounted
    assert mounted.call("fsck")["problems"] == []


def fail_each_step(mounted: Mounted, way: Way, kind: str) -> None:
    """Lets each step of a way fail in its turn, in a directory of its own."""
    ws = mounted.workspace()
    for step in range(1, STEPS_MAX):
        place = ws / f"at{step}"
        furnish(place)
        mounted.call("barrier")
        way.prepare(place)
        before = shown(place)
        mounted.call("fail", kind, step)
        told = attempt(way.act, place)
        steps = mounted.call("heal")
        assert told is None or told.errno in TOLD, (steps, told)
        mounted.call("barrier")
        now = shown(place)
        if told is not None and way.is_whole:
            assert now == before, steps
        agree(mounted, place, ws)
        if told is not None:
            again = attempt(way.act, place)
            assert again is None or not way.is_whole or now != before, (steps, again)
            agree(mounted, place, ws)
        if not steps:
            assert told is None
            return
    raise AssertionError("there is no last step")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["full", "io"])
@pytest.mark.parametrize("name", ["save", "rename a directory", "link"])
def test_each_step_may_fail(failing: Mounted, name: str, kind: str) -> None:
    """Refused and unchanged, or done; and done when it is tried again. All ways: `tests/soak`."""
    fail_each_step(failing, next(way for way in WAYS if way.name == name), kind)
