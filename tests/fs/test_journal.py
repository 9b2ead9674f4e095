"""The journal of a workspace tells the next daemon what is not logged, whatever happened to it."""

from pathlib import Path

import pytest

from pwfs.fs.journal import COMPACT_BYTES, HeldName, Journal, OpenFile
from pwfs.model.entries import FileEntry, Mode
from pwfs.model.ids import Seq, hash_blob
from pwfs.model.ops import Provenance
from pwfs.model.paths import RepoPath
from pwfs.repo.live import Seen

SEEN = Seen(FileEntry(hash_blob(b"below"), Mode.FILE, 5), Seq(3), None)
SH = Provenance(pid=4, command="sh", uid=1000)


def nothing(seq: Seq) -> bool:
    """A log that has lost every operation."""
    return False


def held(id_: str, path: str = "new", content: bytes | None = b"x") -> HeldName:
    """What became of a name."""
    entry = None if content is None else FileEntry(hash_blob(content), Mode.FILE, len(content))
    other = RepoPath("o")
    return HeldName(
        id_, RepoPath(path), entry, SEEN, SH, is_tracked=False, other=other, noted_at=Seq(5)
    )


def opened(id_: str, *paths: str) -> OpenFile:
    """A working file."""
    return OpenFile(id_, tuple(map(RepoPath, paths)), SEEN, SH, Mode.EXECUTABLE)


@pytest.fixture
def synced() -> list[str]:
    """Notes each time that the log is synced."""
    return []


@pytest.fixture
def journal(tmp_path: Path, synced: list[str]) -> Journal:
    """An empty journal."""
    return Journal(tmp_path / "journal", lambda: synced.append("log"))


def test_it_tells_what_was_noted(journal: Journal) -> None:
    """Files and names, as they were last noted, in their order."""
    journal.began(opened("1", "a"))
    journal.holds(held("2"), durable=False)
    journal.began(opened("3", "b", "c"))
    journal.holds(held("4", "gone", None), durable=False)
    journal.changed(opened("1", "d"))
    journal.held_changed(held("2", content=b"y"))
    journal.ended("3")
    left = journal.left_behind(nothing)
    assert left.files == [opened("1", "d")]
    assert left.names == [held("4", "gone", None), held("2", content=b"y")]
    journal.clear()
    assert journal.left_behind(nothing).names == []


def test_a_held_name_takes_the_place_of_its_working_file(journal: Journal) -> None:
    """By one row, so that there is no moment at which both count."""
    journal.began(opened("1", "new"))
    journal.holds(held("1"), durable=False)
    left = journal.left_behind(nothing)
    assert (left.files, left.names) == ([], [held("1")])


def test_rows_that_were_noted_together_count_together(journal: Journal, tmp_path: Path) -> None:
    """Torn anywhere, none of them counts, and what was noted before does."""
    journal.holds(held("1"), durable=False)
    size = (tmp_path / "journal").stat().st_size
    moved, gone = held("1", "there"), held("2", "new", None)
    journal.holds(gone, moved, durable=False)
    assert journal.left_behind(nothing).names == [gone, moved]
    whole = (tmp_path / "journal").read_bytes()
    for cut in range(size, len(whole)):
        (tmp_path / "journal").write_bytes(whole[:cut])
        assert journal.left_behind(nothing).names == [held("1")]


def test_a_synced_name_counts_until_the_log_has_it(journal: Journal) -> None:
    """A power failure may take the operation, and leave the row that says that it was logged."""
    journal.holds(held("1"), durable=True)
    journal.holds(held("2"), durable=False)
    journal.sync()
    journal.ended("1", Seq(7))
    journal.ended("2", Seq(8))
    assert journal.left_behind(nothing).names == [held("1")]
    assert journal.left_behind(lambda seq: seq == Seq(7)).names == []


def test_writing_it_anew_keeps_that_promise(journal: Journal, synced: list[str]) -> None:
    """Rows of what was logged are only left out once the log is on disk."""
    journal.holds(held("1"), durable=True)
    journal.ended("1", Seq(7))
    journal.holds(held("2"), durable=True)
    assert synced == []
    while not synced:
        journal.began(opened("f", "x" * 1000))
        journal.ended("f")
    left = journal.left_behind(nothing)
    assert left.names == [held("2")]
    assert left.files == []


def test_it_stays_small(journal: Journal, tmp_path: Path, synced: list[str]) -> None:
    """However much is noted; without anything synced in it the log need not be."""
    for number in range(6000):
        journal.holds(held(str(number), "p" * 200), durable=False)
        journal.ended(str(number))
    assert (tmp_path / "journal").stat().st_size < 2 * COMPACT_BYTES
    assert synced == []


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_a_torn_row_ends_it(journal: Journal, tmp_path: Path, cut: int) -> None:
    """What was noted before counts."""
    journal.holds(held("1"), durable=False)
    size = (tmp_path / "journal").stat().st_size
    journal.holds(held("2"), durable=False)
    with (tmp_path / "journal").open("r+b") as file:
        file.truncate(size + cut)
    assert journal.left_behind(nothing).names == [held("1")]
