# What the system call answers is what is tested.
# ruff: noqa: PTH208
"""Landings one after the other under readers that never stop."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.system.people import System, files_below
from tests.system.reader import body

ROOT = Path(__file__).resolve().parents[2]
FILES = 4
START = {f"d/f{file}": body(0, file) for file in range(FILES)}


def land_under_readers(system: System, directory: Path, landings: int) -> int:
    """Lands generation after generation; how many reads saw nothing wrong."""
    other = system.workspace(system.change("Reader"))
    (other / "own.txt").write_text("own")
    # The same file with an edit of its own would merge; these are shown as main has them.
    places = [system.main, other]
    outs = [directory / f"out-{number}" for number in range(2)]
    readers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.system.reader", out, str(FILES), *map(str, places)],
            cwd=ROOT,
        )
        for out in outs
    ]
    past: dict[int, dict[str, bytes]] = {}
    try:
        for generation in range(1, landings + 1):
            _land(system, generation, places, past)
    finally:
        (directory / "stop").touch()
        for reader in readers:
            try:
                reader.wait(20)
            except subprocess.TimeoutExpired:
                reader.kill()
                reader.wait(10)
    for seq, files in past.items():
        assert files_below(system.mount / f"at/{seq}") == files
    found = [json.loads(out.read_text()) for out in outs]
    assert [each["wrong"] for each in found] == [[], []]
    assert all(len(each["generations"]) > landings / 10 for each in found)
    return sum(each["reads"] for each in found)


def _land(
    system: System, generation: int, places: list[Path], past: dict[int, dict[str, bytes]]
) -> None:
    """One landing by an agent in its workspace, and what must be so when it returned."""
    ws = system.workspace(system.change(f"Generation {generation}"))
    for place in places:
        assert not (place / f"d/new-{generation}").exists()
        assert not (place / f"e-{generation}/deep").exists()
        assert (generation == 1) or (place / f"d/new-{generation - 1}").exists()
    for file in range(FILES):
        data = body(generation, file)
        if (generation + file) % 3:
            (ws / f"d/f{file}").write_bytes(data)
        else:
            (ws / f"d/f{file}~").write_bytes(data)
            (ws / f"d/f{file}~").rename(ws / f"d/f{file}")
    (ws / f"d/new-{generation}").write_text("new")
    (ws / f"e-{generation}").mkdir()
    (ws / f"e-{generation}/deep").write_text("deep")
    if generation > 1:
        (ws / f"d/new-{generation - 1}").unlink()
    seq = system.land(ws.name.removeprefix("ws-"))
    for place in places:
        for file in range(FILES):
            assert (place / f"d/f{file}").stat().st_size == len(body(generation, file))
            assert (place / f"d/f{file}").read_bytes() == body(generation, file)
        listed = set(os.listdir(place / "d"))
        assert listed == {*(f"f{file}" for file in range(FILES)), f"new-{generation}"}
        assert (place / f"d/new-{generation}").read_text() == "new"
        assert (place / f"e-{generation}/deep").read_text() == "deep"
        assert not (place / f"d/new-{generation - 1}").exists()
    if generation % 5 == 1:
        past[seq] = files_below(system.mount / f"at/{seq}")
        assert past[seq] == files_below(system.main)
    system.request("DELETE", f"workspaces/{ws.name}")
