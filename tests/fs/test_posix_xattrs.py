# The system calls and their errno are what is tested.
# ruff: noqa: PT011
"""Extended attributes as on the disk, and the errno for ACLs, which are not kept."""

import ctypes
import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fs.conftest import Mounted, is_tracked

pytestmark = pytest.mark.timeout(60)

_libc = ctypes.CDLL(None, use_errno=True)


def test_attributes_are_set_listed_and_removed(mounted: Mounted, place: Path) -> None:
    """In each namespace, of files and directories; kept across a rename and a restart."""
    (place / "f").write_text("x")
    (place / "d").mkdir()
    names = ["security.note", "trusted.note", "user.note"] if os.geteuid() == 0 else ["user.note"]
    for path in (place / "f", place / "d"):
        for name in names:
            os.setxattr(path, name, name.encode())
        os.setxattr(path, "user.empty", b"")
        os.setxattr(path, "user.gone", b"x")
        os.removexattr(path, "user.gone")
        os.setxattr(path, "user.changed", b"one")
        os.setxattr(path, "user.changed", b"two\0three")
    (place / "f").rename(place / "g")
    (place / "d").rename(place / "e")
    for _ in range(2):
        for path in (place / "g", place / "e"):
            assert sorted(os.listxattr(path)) == sorted([*names, "user.changed", "user.empty"])
            assert all(os.getxattr(path, name) == name.encode() for name in names)
            assert os.getxattr(path, "user.empty") == b""
            assert os.getxattr(path, "user.changed") == b"two\0three"
        mounted.restart()
    if is_tracked(place):
        assert mounted.ops() == [("create", "kept/g")] or mounted.ops() == [
            ("create", "kept/f"),
            ("rename", "kept/g"),
        ]


def test_what_attributes_refuse(mounted: Mounted, place: Path) -> None:
    """Flags that do not fit, buffers too small, names and values too long, links, main."""
    file = place / "f"
    file.write_text("x")
    os.setxattr(file, "user.a", b"value")
    (place / "link").symlink_to("f")
    cases: list[tuple[Callable[[], object], int]] = [
        (lambda: os.setxattr(file, "user.a", b"", os.XATTR_CREATE), errno.EEXIST),
        (lambda: os.setxattr(file, "user.b", b"", os.XATTR_REPLACE), errno.ENODATA),
        (lambda: os.getxattr(file, "user.b"), errno.ENODATA),
        (lambda: os.removexattr(file, "user.b"), errno.ENODATA),
        (lambda: os.setxattr(file, "user." + "n" * 251, b""), errno.ERANGE),
        (lambda: os.setxattr(file, "user.big", b"x" * 65537), errno.E2BIG),
        (lambda: os.setxattr(file, "other.name", b""), errno.EOPNOTSUPP),
        (lambda: os.setxattr(place / "link", "user.a", b"", 0, follow_symlinks=False), errno.EPERM),
        (lambda: os.setxattr(mounted.main / "README.md", "user.a", b""), errno.EROFS),
        (lambda: os.getxattr(file, "system.posix_acl_access"), errno.EOPNOTSUPP),
    ]
    for attempt, number in cases:
        with pytest.raises(OSError) as refused:
            attempt()
        assert refused.value.errno == number, refused.value
    os.setxattr(file, "user.a", b"new", os.XATTR_REPLACE)
    os.setxattr(file, "user.c", b"new", os.XATTR_CREATE)
    assert os.getxattr(file, "user.a") == os.getxattr(file, "user.c") == b"new"
    buffer = ctypes.create_string_buffer(2)
    assert _libc.getxattr(os.fsencode(file), b"user.a", buffer, 2) == -1
    assert ctypes.get_errno() == errno.ERANGE
    assert _libc.getxattr(os.fsencode(file), b"user.a", None, 0) == 3
    assert _libc.listxattr(os.fsencode(file), buffer, 2) == -1
    assert ctypes.get_errno() == errno.ERANGE


def test_values_of_full_length(mounted: Mounted) -> None:
    """A versioned file may have as much as the kernel takes; names of 255 bytes too."""
    ws = mounted.workspace()
    name = "user." + "n" * 250
    os.setxattr(ws / "README.md", name, b"v" * 65536)
    mounted.restart()
    assert os.getxattr(ws / "README.md", name) == b"v" * 65536
    assert os.listxattr(ws / "README.md") == [name]
    assert mounted.ops() == []


def test_hard_links_share_attributes(mounted: Mounted, place: Path) -> None:
    """They are the file's, whichever of its names is used."""
    (place / "a").write_text("x")
    (place / "b").hardlink_to(place / "a")
    os.setxattr(place / "b", "user.note", b"shared")
    assert os.getxattr(place / "a", "user.note") == b"shared"
    mounted.restart()
    os.removexattr(place / "a", "user.note")
    assert os.listxattr(place / "b") == []


def test_access_lists_are_not_supported(place: Path) -> None:
    """setfacl says so and changes nothing, getfacl shows the mode; `cp -a` does without."""
    file = place / "f"
    file.write_text("x")
    file.chmod(0o640)
    done = subprocess.run(
        ["setfacl", "-m", "u:1000:rw", file], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Operation not supported" in done.stderr
    shown = subprocess.run(
        ["getfacl", "-p", "--omit-header", file], check=True, capture_output=True, text=True
    ).stdout
    assert shown.split() == ["user::rw-", "group::r--", "other::---"]
    subprocess.run(["cp", "-a", file, place / "copy"], check=True)
    assert (place / "copy").stat().st_mode == file.stat().st_mode
