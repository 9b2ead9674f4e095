"""The disk below the repository fills up: who writes is told, and what was acknowledged stays."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.people import Refused, System, files_below, system_in


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of eight megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def system(disk: Path) -> Iterator[System]:
    """A repository on that disk."""
    with system_in(disk / "repo", {"README.md": "hello\n"}) as found:
        # A capture that fails for want of room is logged, and told to whoever wrote.
        found.project.expected_log.append("an open file is not captured")
        found.project.expected_log.append("(?i)no space|no_space|disk.*full")
        yield found


def fill(ws: Path, size: int) -> tuple[dict[str, bytes], OSError]:
    """Writes files until there is no room; those whose close returned, and what the last got."""
    kept: dict[str, bytes] = {}
    for number in range(10_000):
        data = os.urandom(size)
        name = f"{size}-{number}"
        try:
            with (ws / name).open("wb") as file:
                file.write(data)
        except OSError as error:
            return kept, error
        kept[name] = data
    raise AssertionError("there is no end of room")


def test_a_full_disk_loses_nothing_that_was_acknowledged(system: System, disk: Path) -> None:
    """Large files, then smaller ones until nothing fits; a restart in between; then room again."""
    change = system.change("Full")
    ws = system.workspace(change)
    (ws / "first.txt").write_text("first")
    kept = {"first.txt": b"first", "README.md": b"hello\n"}
    for size in (700_000, 20_000, 1_000):
        more, error = fill(ws, size)
        assert error.errno == errno.ENOSPC
        kept |= more
        for name, data in kept.items():
            assert (ws / name).read_bytes() == data
    with pytest.raises(Refused) as refused:
        system.request("POST", "blobs", content=os.urandom(2_000_000))
    assert refused.value.problem["code"] == "no_space"
    shown = files_below(ws)
    assert {name: shown.get(name) for name in kept} == kept
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
    (ws / "after.txt").write_text("after")
    assert system.read(ws.name, "after.txt") == b"after"
    kept["after.txt"] = b"after"
    for name, data in kept.items():
        assert (ws / name).read_bytes() == data
        assert system.read(ws.name, name) == data
    system.check_sound()
    system.project.kill()
    system.start()
    for name, data in kept.items():
        assert (ws / name).read_bytes() == data
    system.land(change)
    main = files_below(system.main)
    assert {name: main.get(name) for name in kept} == kept
    cut = [
        name
        for name in main
        if name not in kept and not name.startswith(("1000-", "20000-", "700000-"))
    ]
    assert cut == []
