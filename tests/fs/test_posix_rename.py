# The system calls and their errno are what is tested.
# ruff: noqa: PT011
"""rename: NOREPLACE, EXCHANGE of anything with anything, WHITEOUT, and the inode numbers."""

import errno
import os
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fs.conftest import Mounted, is_tracked
from tests.support import inotify
from tests.support.inotify import watching
from tests.support.syscalls import (
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    RENAME_WHITEOUT,
    exchange,
    rename,
)

pytestmark = pytest.mark.timeout(60)


def contents(top: Path) -> dict[str, str]:
    """Every name below a directory, with what it is and holds."""
    found: dict[str, str] = {}
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[f"{name}/"] = ""
        elif path.is_file():
            found[name] = path.read_text()
        else:
            found[name] = stat.filemode(path.lstat().st_mode)
    return found


def numbers(top: Path) -> dict[str, int]:
    return {str(path.relative_to(top)): path.lstat().st_ino for path in sorted(top.rglob("*"))}


def snapshot(top: Path) -> dict[str, str]:
    """`contents`, and with a # before each name its inode number."""
    return {**contents(top), **{f"#{name}": str(ino) for name, ino in numbers(top).items()}}


def swapped(before: dict[str, str], one: str, other: str) -> dict[str, str]:
    """What `snapshot` gives after an exchange."""

    def moved(name: str) -> str:
        for old, new in ((one, other), (other, one)):
            for mark in ("", "#"):
                if name.rstrip("/") == mark + old or name.startswith(f"{mark}{old}/"):
                    return mark + new + name[len(mark + old) :]
        return name

    return {moved(name): content for name, content in before.items()}


def test_noreplace(mounted: Mounted, place: Path) -> None:
    """An existing name is EEXIST and stays; a free one is taken."""
    (place / "a").write_text("a")
    (place / "b").write_text("b")
    (place / "d").mkdir()
    for target in ("b", "d"):
        with pytest.raises(OSError) as refused:
            rename(place / "a", place / target, RENAME_NOREPLACE)
        assert refused.value.errno == errno.EEXIST
    rename(place / "a", place / "c", RENAME_NOREPLACE)
    rename(place / "d", place / "e", RENAME_NOREPLACE)
    assert contents(place) == {"b": "b", "c": "a", "e/": ""}


def test_what_rename_refuses(mounted: Mounted, place: Path) -> None:
    """Flags that exclude each other, WHITEOUT, a missing name, a directory into itself."""
    (place / "a").write_text("a")
    (place / "d/e").mkdir(parents=True)
    attempts = [
        (place / "a", place / "b", RENAME_WHITEOUT, errno.EINVAL),
        (place / "a", place / "b", RENAME_EXCHANGE, errno.ENOENT),
        (place / "a", place / "d", RENAME_EXCHANGE | RENAME_NOREPLACE, errno.EINVAL),
        (place / "d", place / "d/e", RENAME_EXCHANGE, errno.EINVAL),
        (place / "d/e", place / "d", RENAME_EXCHANGE, errno.EINVAL),
        (place / "d", place / "d/e/f", 0, errno.EINVAL),
        (place / "a", place / "d", 0, errno.EISDIR),
        (place / "d", place / "a", 0, errno.ENOTDIR),
        (place / "a", mounted.main / "README.md", RENAME_EXCHANGE, errno.EXDEV),
    ]
    for old, new, flags, number in attempts:
        with pytest.raises(OSError) as refused:
            rename(old, new, flags)
        assert refused.value.errno == number
    assert contents(place) == {"a": "a", "d/": "", "d/e/": ""}


def fill(place: Path) -> None:
    """Makes one of everything."""
    (place / "file").write_text("file")
    (place / "other").write_text("other")
    (place / "link").symlink_to("nowhere")
    os.mkfifo(place / "fifo")
    (place / "empty").mkdir()
    for name, files in {"full": ("same", "one", "sub/x"), "more": ("same", "two", "one/y")}.items():
        for file in files:
            path = place / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name} {file}")
    (place / "more/kept.log").write_text("ignored")


PAIRS = [
    ("file", "other"),
    ("file", "link"),
    ("file", "fifo"),
    ("file", "empty"),
    ("file", "full"),
    ("full", "more"),
    ("full/sub", "more/one"),
    ("full", "more/one"),
    ("link", "more"),
    ("empty", "full"),
    ("full/one", "more/one"),
    ("fifo", "more"),
]


def test_exchange(mounted: Mounted, place: Path) -> None:
    """Anything changes places with anything, with its number, and the log has the same tree."""
    before: list[dict[str, str]] = []
    for index, (one, other) in enumerate(PAIRS):
        top = place / str(index)
        top.mkdir()
        fill(top)
        before.append(snapshot(top))
        exchange(top / one, top / other)
    for _ in range(2):
        for index, (one, other) in enumerate(PAIRS):
            top = place / str(index)
            after = swapped(before[index], one, other)
            assert snapshot(top) == after, (one, other)
            if is_tracked(place):
                logged = {k for k in mounted.files() if k.startswith(f"kept/{index}/")}
                assert logged == {
                    f"kept/{index}/{k}"
                    for k, v in after.items()
                    if k[0] != "#" and k[-1] != "/" and v[0] != "p" and "log" not in k
                }
        mounted.restart()
    for index, (one, other) in enumerate(PAIRS):
        top = place / str(index)
        exchange(top / one, top / other)
        assert snapshot(top) == before[index]


def test_an_exchanged_directory_keeps_its_time(mounted: Mounted, place: Path) -> None:
    """Also where nobody has looked at what is in it."""
    for name in ("a", "b"):
        (place / name).mkdir()
        (place / name / "f").write_text(name)
        os.utime(place / name, ns=(1, ord(name)))
    (place / "c").write_text("c")
    mounted.restart()
    exchange(place / "a", place / "b")
    exchange(place / "a", place / "c")
    assert (place / "c").stat().st_mtime_ns == ord("b")
    assert (place / "b").stat().st_mtime_ns == ord("a")


def test_an_exchange_of_main_files_is_renames(mounted: Mounted) -> None:
    """A name that only one side has is renamed, so its history goes on."""
    ws = mounted.workspace()
    (ws / "code").mkdir()
    (ws / "code/app.py").write_text("new\n")
    exchange(ws / "code", ws / "src")
    assert sorted(mounted.ops()[1:]) == [
        ("modify", "code/app.py"),
        ("modify", "src/app.py"),
        ("rename", "code/lib/util.py"),
    ]
    assert (ws / "src/app.py").read_text() == "new\n"
    assert mounted.read("ws-work", "code/lib/util.py") == b"def f():\n    return 1\n"


def test_an_exchange_of_tracked_and_ignored(mounted: Mounted) -> None:
    """What was logged stays logged, what comes out of the ignored is taken into the log."""
    ws = mounted.workspace()
    (ws / "x.log").write_text("ignored")
    (ws / "build").mkdir()
    (ws / "build/out").write_text("built")
    exchange(ws / "x.log", ws / "README.md")
    assert (ws / "x.log").read_bytes() == b"hello\n"
    assert mounted.read("ws-work", "x.log") == b"hello\n"
    assert mounted.read("ws-work", "README.md") == b"ignored"
    exchange(ws / "build", ws / "src")
    assert mounted.read("ws-work", "src/out") == b"built"
    assert mounted.read("ws-work", "build/lib/util.py") == b"def f():\n    return 1\n"
    assert mounted.files().keys() == {
        *("x.log", "README.md", "src/out", "build/app.py", "build/lib/util.py"),
        *("link", "run.sh", ".gitignore"),
    }


def test_open_files_go_along_with_an_exchange(mounted: Mounted, place: Path) -> None:
    """What is written afterwards through open descriptors is found where the file is now."""
    for name in ("a", "b"):
        (place / name).mkdir()
        (place / name / "f").write_text(name)
    with (
        (place / "a/f").open("ab", buffering=0) as first,
        (place / "b/f").open("ab", buffering=0) as second,
    ):
        first.write(b" before")
        exchange(place / "a", place / "b")
        first.write(b" after")
        second.write(b" after")
        assert os.fstat(first.fileno()).st_nlink == 1
    assert contents(place) == {"a/": "", "b/": "", "a/f": "b after", "b/f": "a before after"}
    if is_tracked(place):
        assert mounted.read("ws-work", "kept/b/f") == b"a before after"
        assert mounted.read("ws-work", "kept/a/f") == b"b after"


def test_numbers_stay_when_a_directory_moves(mounted: Mounted) -> None:
    """Of files and directories, known or never looked up, and across a restart."""
    ws = mounted.workspace()
    (ws / "src/made").mkdir()
    (ws / "src/made/new.log").write_text("x")
    before = numbers(ws / "src")
    top = (ws / "src").stat().st_ino
    times = (ws / "src/app.py").stat().st_mtime_ns
    (ws / "src").rename(ws / "code")
    assert numbers(ws / "code") == before
    (ws / "src").mkdir()
    other = (ws / "src").stat().st_ino
    assert other != top
    mounted.restart()
    assert (ws / "src").stat().st_ino == other
    assert (ws / "code").stat().st_ino == top
    assert numbers(ws / "code") == before
    assert (ws / "code/app.py").stat().st_mtime_ns == times
    (ws / "code").rename(ws / "src")
    mounted.restart()
    assert (ws / "src").stat().st_ino == top
    assert numbers(ws / "src") == before


def test_an_exchange_leaves_no_directory_behind(mounted: Mounted) -> None:
    """Directories that only main had go with their files; those that are emptied otherwise stay."""
    place = mounted.workspace()
    (place / "flat").mkdir()
    (place / "flat" / "file").write_text("file")
    exchange(place / "src", place / "flat")
    assert sorted(contents(place / "src")) == ["file"]
    assert sorted(contents(place / "flat")) == ["app.py", "lib/", "lib/util.py"]
    (place / "flat" / "lib" / "util.py").unlink()
    assert sorted(contents(place / "flat")) == ["app.py", "lib/"]


def test_a_directory_comes_where_a_co_worker_writes_a_file(mounted: Mounted) -> None:
    """The file stays theirs while they write it, and watchers can be told all the same."""
    place = mounted.workspace()
    theirs = mounted.workspace_on("work")
    before = contents(place)
    assert contents(theirs) == before
    with watching(theirs) as watch, (theirs / "README.md").open("ab", buffering=0) as writing:
        writing.write(b"theirs\n")
        exchange(place / "README.md", place / "src")
        (place / "told").touch()
        watch.until(inotify.CREATE, "told")
    shown = contents(place)
    assert "src/lib/util.py" not in shown
    assert contents(theirs) == shown


def test_a_rename_leaves_the_names_that_the_kernel_knows(mounted: Mounted) -> None:
    """Renaming a logged file makes the kernel ask for no other name again."""
    work = mounted.workspace()
    for directory in ("one", "two"):
        (work / directory).mkdir()
        (work / directory / "file").write_text(directory)
    mounted.call("barrier")
    known = work / "two" / "file"
    known.stat()
    (work / "one" / "file").rename(work / "one" / "renamed")
    assert mounted.process is not None
    mounted.process.send_signal(signal.SIGSTOP)
    try:
        subprocess.run(["test", "-f", known], check=True, timeout=10)
    finally:
        mounted.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.mknod(path, stat.S_IFSOCK | 0o600)])
def test_a_file_replaces_what_is_no_file(place: Path, make: Callable[[Path], None]) -> None:
    """A file that is renamed over a FIFO or a socket that programs know stands in its place."""
    (place / "file").write_text("file")
    for name in ("file", "again"):
        make(place / "special")
        (place / "special").lstat()
        (place / name).rename(place / "special")
        assert (place / "special").read_text() == "file"
        assert not (place / name).exists()
        (place / "special").rename(place / "again")
    assert contents(place) == {"again": "file"}


def test_a_new_file_replaces_a_newer_one(place: Path) -> None:
    """A file renamed over another that was made after it leaves its own name."""
    for directory in ("one", "two"):
        (place / directory).mkdir()
    (place / "one" / "file").write_text("older")
    (place / "two" / "file").write_text("newer")
    (place / "one" / "file").rename(place / "two" / "file")
    assert contents(place) == {"one/": "", "two/": "", "two/file": "older"}
