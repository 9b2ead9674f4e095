# The system calls and their errno are what is tested, with names that are bytes.
# ruff: noqa: PTH102, PTH104, PTH211, PTH208
"""Names and sizes at the edges of what is versioned."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from tests.system.people import System, files_below, system_in

ODD = (
    "with space",
    "tab\there",
    "new\nline",
    "quote'\"back\\slash",
    "-rf",
    "*?[x]",
    "#comment",
    "é",  # composed
    "e\u0301x",  # decomposed
    "日本語 😀",
    "\u202eright to left",
    "trailing.",
    " leading",
    "x" * 255,
    "é" * 127,
    "...",
    "%2e%2e",
    "&<b>",
)


def test_odd_names_are_names(system: System) -> None:
    """Each is written, listed, renamed, logged and landed as it is, and read through every door."""
    change = system.change("Odd")
    ws = system.workspace(change)
    for name in ODD:
        (ws / name).write_text(name)
        (ws / "odd").mkdir(exist_ok=True)
        (ws / name).rename(ws / "odd" / name)
    assert sorted(os.listdir(ws / "odd")) == sorted(ODD)
    tree = system.tree(ws.name)
    for name in ODD:
        assert tree[f"odd/{name}"] == hashlib.sha256(name.encode()).hexdigest()
    assert system.read(ws.name, "odd/日本語 😀") == "日本語 😀".encode()
    patchwork = system.project.patchwork
    assert patchwork("cat", ws.name, "odd/new\nline").stdout == "new\nline"
    assert len(system.ops(change)) == 2 * len(ODD)
    system.land(change)
    assert sorted(os.listdir(system.main / "odd")) == sorted(ODD)
    assert {path.name: path.read_text() for path in (system.main / "odd").iterdir()} == {
        name: name for name in ODD
    }


def test_names_that_cannot_be_versioned_are_refused(system: System) -> None:
    """EILSEQ, ENAMETOOLONG, and the reserved name; nothing of it is in the log."""
    change = system.change("Bad")
    ws = os.fsencode(system.workspace(change))
    os.mkdir(ws + b"/d")
    for name, code in (
        (b"bad-\xff", errno.EILSEQ),
        (b"d/\xc3(", errno.EILSEQ),
        (b"\xed\xa0\x80", errno.EILSEQ),
        (b"x" * 256, errno.ENAMETOOLONG),
    ):
        for make in (
            lambda path: os.close(os.open(path, os.O_CREAT | os.O_WRONLY)),
            os.mkdir,
            lambda path: os.symlink(b"target", path),
            lambda path: os.rename(ws + b"/README.md", path),
            lambda path: os.link(ws + b"/README.md", path),
        ):
            with pytest.raises(OSError) as refused:  # noqa: PT011
                make(ws + b"/" + name)
            assert refused.value.errno == code, (name, refused.value)
    for name in (b".patchwork", b"d/.patchwork"):
        for make in (
            lambda path: os.close(os.open(path, os.O_CREAT | os.O_WRONLY)),
            os.mkdir,
            lambda path: os.rename(ws + b"/README.md", path),
        ):
            with pytest.raises(OSError):  # noqa: PT011
                make(ws + b"/" + name)
        assert not os.path.exists(ws + b"/" + name)  # noqa: PTH110
    assert Path(os.fsdecode(ws), "README.md").read_text() == "hello\n"
    assert system.ops(change) == []
    (Path(os.fsdecode(ws)) / ".patchworkignore").write_text("x\n")
    (Path(os.fsdecode(ws)) / ".patchwork2").write_text("fine")
    assert [op["path"] for op in system.ops(change)] == [".patchworkignore", ".patchwork2"]


def test_many_files_in_a_directory(tmp_path: Path) -> None:
    """Five thousand in one: each is listed once, and the directory moves and lands as a whole."""
    names = {f"file-{number:04}" for number in range(5000)}
    with system_in(tmp_path / "repo", {f"many/{name}": name for name in names}) as system:
        change = system.change("Many")
        ws = system.workspace(change)
        for place in (ws, system.main):
            assert len(os.listdir(place / "many")) == len(names)
            assert set(os.listdir(place / "many")) == names
        (ws / "many").rename(ws / "moved")
        for number in range(0, 5000, 500):
            (ws / "moved" / f"new-{number}").write_text(f"{number}")
            (ws / "moved" / f"file-{number:04}").unlink()
        known = names - {f"file-{number:04}" for number in range(0, 5000, 500)}
        known |= {f"new-{number}" for number in range(0, 5000, 500)}
        assert sorted(os.listdir(ws / "moved")) == sorted(known)
        seq = system.land(change)
        for place in (system.main, system.mount / f"at/{seq}", ws):
            assert sorted(os.listdir(place / "moved")) == sorted(known)
            assert not (place / "many").exists()
            for name in ("file-0001", "file-2501", "file-4999"):
                assert (place / "moved" / name).read_text() == name
        assert set(os.listdir(system.mount / f"at/{seq - 1}/many")) == names


def test_a_deep_path(system: System) -> None:
    """A file under as many directories as a path has room for, and none under one more."""
    change = system.change("Deep")
    ws = system.workspace(change)
    deep = ws
    for _ in range(60):
        deep /= "d" * 60
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    system.land(change)
    path = deep.relative_to(ws) / "file"
    assert (system.main / path).read_text() == "deep"
    assert system.read("main", str(path)) == b"deep"


def test_a_file_above_the_limit_stays_with_its_workspace(system: System) -> None:
    """It can be used like any file, is told as skipped, survives a restart, and is never landed."""
    system.request("PUT", "config/max-blob-mb", json={"value": 1})
    change = system.change("Large")
    ws = system.workspace(change)
    large, small = os.urandom(1_200_000), os.urandom(1_000_000)
    (ws / "large.bin").write_bytes(large)
    (ws / "small.bin").write_bytes(small)
    (ws / "grows.bin").write_bytes(small)
    with (ws / "grows.bin").open("ab") as file:
        file.write(large)
    assert (ws / "large.bin").read_bytes() == large
    assert (ws / "grows.bin").read_bytes() == small + large
    skipped = [event for event in system.events() if event["type"] == "file_skipped"]
    assert {(event["payload"]["path"], event["payload"]["size"]) for event in skipped} == {
        ("large.bin", len(large)),
        ("grows.bin", len(small + large)),
    }
    system.project.kill()
    system.start()
    assert (ws / "large.bin").read_bytes() == large
    assert (ws / "grows.bin").read_bytes() == small + large
    system.land(change)
    assert not (system.main / "large.bin").exists()
    assert (system.main / "small.bin").read_bytes() == small
    shown = files_below(ws)
    assert shown["large.bin"] == large
    assert (system.main / "grows.bin").read_bytes() == small


def test_an_ignore_file_may_hold_anything(system: System) -> None:
    """Lines that are no pattern ignore nothing, as for git; the others still do."""
    change = system.change("Ignore")
    ws = system.workspace(change)
    (ws / ".gitignore").write_bytes(b"foo\\\n*.o\r\n!\n[+-*:\n\xff\x00\xfe\n\x0cbuild/\nout/\n")
    for name in ("foo", "a.o", "x", "out/y", "build/z"):
        (ws / name).parent.mkdir(exist_ok=True)
        (ws / name).write_text("text")
    logged = [op["path"] for op in system.ops(change)]
    assert logged == [".gitignore", "foo", "x", "build/z"]
    assert (ws / "a.o").read_text() == "text"
