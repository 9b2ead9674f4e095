"""What nobody fsyncs gets to the disk all the same, in seconds, and a close in order says so."""

import time
from pathlib import Path

from pwfs.repo.durable import Note, parse
from tests.support.project import Project


def note_of(project: Project) -> Note:
    """How far everything is known to be on disk."""
    return parse((project.state_dir / "durable").read_bytes())


def test_everything_is_on_disk_within_seconds(project: Project) -> None:
    """A save that was only closed; the next start after a crash need not look at it."""
    project.json("change", "create", "Work")
    place = project.json("workspace", "create", "work")["path"]
    before = note_of(project)
    assert not before.is_clean
    Path(place, "saved").write_text("saved\n")
    head = project.json("status")["head_seq"]
    assert head > before.seq
    deadline = time.monotonic() + 20
    while note_of(project).seq < head:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not note_of(project).is_clean
    project.patchwork("serve", "--stop")
    assert note_of(project) == Note(head, is_clean=True, boot=before.boot)
