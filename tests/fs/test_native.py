"""The native library: built at installation, or done without; and its requests' answers."""

import errno
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import cast

import pytest
import trio
import trio.testing

from pwfs.fs.content import Handle
from pwfs.fs.native import Handlers, Library
from pwfs.fs.native.requests import NativeRequests
from pwfs.fs.nodes import Node, NodeTable
from pwfs.fs.operations import MountOperations
from pwfs.fs.spaces import Space

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "pwfs/fs/native/libpatchworkfs.so"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What of the project a wheel is built from."""
    for name in ("pwfs", "daemon", "cli"):
        ignored = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(ROOT / name, tmp_path / "src" / name, ignore=ignored)
    for name in ("pyproject.toml", "hatch_build.py", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / "src" / name)
    return tmp_path / "src"


def build_wheel(checkout: Path, compiler: str) -> tuple[str, list[str], str]:
    """Builds one; returns its file name, what is in it, and what was said."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "out"],
        cwd=checkout,
        env={**os.environ, "CC": compiler},
        check=True,
        capture_output=True,
        text=True,
    )
    (wheel,) = (checkout / "out").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        return wheel.name, archive.namelist(), done.stdout + done.stderr


def test_a_wheel_holds_the_library(checkout: Path) -> None:
    """It is compiled without a warning, and the wheel is for this platform and any Python."""
    name, names, said = build_wheel(checkout, "gcc")
    assert LIBRARY in names, said
    assert "-py3-none-linux_" in name


def test_a_wheel_is_built_where_nothing_compiles(checkout: Path) -> None:
    """Without a compiler there is a warning, and a wheel for every platform without the library."""
    name, names, said = build_wheel(checkout, "false")
    assert LIBRARY not in names
    assert name.endswith("-py3-none-any.whl")
    assert "the native library is not built" in said


class _Library:
    """Stands in for the library: notes the answers."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, int, int | None]] = []

    def answer_by(self, handlers: Handlers) -> None:
        self.handlers = handlers

    def reply_error(self, request: int, number: int) -> None:
        self.answers.append(("error", request, number))

    def reply_done(self, request: int, value: None) -> None:
        self.answers.append(("done", request, value))

    def reply_offset(self, request: int, offset: int) -> None:
        self.answers.append(("offset", request, offset))

    def reply_count(self, request: int, count: int) -> None:
        self.answers.append(("count", request, count))


class _Space(Space):
    """Stands in for a workspace: answers, refuses, or takes for ever."""

    async def fallocate(self, handle: Handle, mode: int, offset: int, length: int) -> None:
        await trio.lowlevel.checkpoint()

    async def seek(self, node: Node, offset: int, whence: int) -> int:
        if offset < 0:
            raise OSError(errno.ENXIO, "no data")
        return offset + 1

    async def copy_range(self, *arguments: object) -> int:
        await trio.sleep_forever()


class _Operations:
    """Stands in for the mount's dispatch: one open file."""

    def __init__(self) -> None:
        self.file = Handle(_Space("space", NodeTable()).root, os.O_RDWR, 1)

    def let_go(self, node: Node) -> None:
        """Nothing is kept open."""

    def handle(self, fh: int) -> Handle:
        assert fh in (7, 8)
        return self.file


async def test_every_request_is_answered_once() -> None:
    """Done, refused, cancelled at the end of the mount, or too late: one answer each."""
    library = _Library()
    async with trio.open_nursery() as nursery:
        requests = NativeRequests(
            cast(Library, library), cast(MountOperations, _Operations()), nursery
        )
        library.handlers.fallocate(1, 7, 0, 0, 10)
        library.handlers.lseek(2, 7, 41, os.SEEK_DATA)
        library.handlers.lseek(3, 7, -1, os.SEEK_HOLE)
        library.handlers.copy_file_range(4, 7, 0, 8, 0, 10)
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(library.answers, key=lambda answer: answer[1]) == [
            ("done", 1, None),
            ("offset", 2, 42),
            ("error", 3, errno.ENXIO),
        ]
        nursery.cancel_scope.cancel()
    assert library.answers[3:] == [("error", 4, errno.EIO)]
    library.handlers.lseek(5, 7, 0, os.SEEK_DATA)
    assert library.answers[4:] == [("error", 5, errno.EIO)]
    requests.close()
    assert not library.handlers.lseek
