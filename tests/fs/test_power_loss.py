"""Promises 2 and 4 under power loss: what was fsynced is there, and everything shown is readable."""

import contextlib
import io
import json
import os
import random
import re
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pwfs.repo.durable import line as line_of
from pwfs.repo.durable import parse
from tests.fs.conftest import ROOT, Mounted, lazily_unmount, make_repository
from tests.fs.power import Disk, write_pages_of
from tests.fs.syncer import LINE_BYTES, bytes_of, line, state_of, sync_directory

pytestmark = pytest.mark.timeout(120)


class Machine:
    """A disk, a repository on it, its mount, and programs at work."""

    def __init__(self, directory: Path, size_bytes: int = 1 << 30) -> None:
        self.directory = directory
        self.disk = Disk(directory / "image", directory / "disk", size_bytes)
        make_repository(self.disk.place / "repo")
        self.mounted = Mounted(self.disk.place / "repo", directory / "mnt")
        self.mounted.log = directory / "mount.log"
        self.program: subprocess.Popen[bytes] | None = None
        self.notes = directory / "notes"
        self.noted_bytes = 0

    @property
    def state_dir(self) -> Path:
        """The repository's own directory."""
        return self.mounted.repository / ".patchwork"

    def start_programs(self, workspace: Path, seed: int) -> None:
        """Lets programs write into a workspace."""
        self.notes.unlink(missing_ok=True)
        self.program = subprocess.Popen(
            [sys.executable, "-m", "tests.fs.syncer", str(workspace), str(self.notes), str(seed)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        assert self.program.stdout is not None
        assert self.program.stdout.readline() == b"at work\n"

    def lose_power(self) -> None:
        """Cuts the power and ends whatever ran."""
        # What programs are told after it is no promise: SQLite passes over some errors.
        self.noted_bytes = self.notes.stat().st_size if self.notes.exists() else 0
        self.disk.cut_power()
        if self.mounted.process is not None:
            self.mounted.kill()
        lazily_unmount(self.mounted.mountpoint)
        self.end_programs()
        self.disk.unmount()

    def end_programs(self) -> None:
        """Ends the programs."""
        if self.program is not None:
            self.program.kill()
            self.program.communicate()
            self.program = None

    def come_back(self) -> None:
        """Starts the machine and the daemon; it must find its way, and say nothing untoward."""
        self.disk.mount()
        self._boot_anew()
        self.mounted.log.unlink(missing_ok=True)
        self.mounted.start()
        complaints = [
            text
            for text in self.mounted.log.read_text().splitlines()
            if re.match("(WARNING|ERROR|CRITICAL|Traceback)", text)
            and not re.search("that was not fsynced is lost|without fsync when power failed", text)
        ]
        assert not complaints, complaints

    def _boot_anew(self) -> None:
        """This machine was not started again: the repository's note of its boot says so instead."""
        note = self.state_dir / "durable"
        found = parse(note.read_bytes())
        if not found.is_clean:
            note.write_bytes(line_of(replace(found, boot=str(uuid.uuid4()))))

    def check(self, workspace: Path, view: str = "ws-work") -> int:
        """Holds the notes against the mount and the log; tells how many promises were kept."""
        noted = self.notes.read_bytes()
        rows = [json.loads(row) for row in noted[: self.noted_bytes].splitlines()]
        later = [json.loads(row) for row in noted[self.noted_bytes :].splitlines()]
        rows += [row for row in later if row[0] in ("will", "cuts")]
        logged = self.mounted.files(view)
        for path in logged:
            state_of(workspace / path)  # whatever is shown can be read
        count = check_states(rows, workspace, logged)
        count += check_lines(rows, workspace)
        check_databases(rows, workspace)
        report = self.mounted.call("fsck")
        assert report["problems"] == []
        return count

    def end(self) -> None:
        """Leaves nothing behind."""
        self.end_programs()
        lazily_unmount(self.mounted.mountpoint)
        if self.mounted.process is not None:
            self.mounted.kill()
        if os.path.ismount(self.disk.place):
            self.disk.unmount()


def check_states(rows: list[Any], workspace: Path, logged: dict[str, list[str]]) -> int:
    """A path is as it was last made durable, or as something that was begun later made it."""
    may_be: defaultdict[str, list[Any]] = defaultdict(list)
    cuts: dict[str, bytes] = {}
    durable: set[str] = set()
    for row in rows:
        kind, path = row[0], row[1]
        if kind == "is":
            durable.add(path)
            may_be[path] = [row[2]]
            cuts.pop(path, None)
        elif kind == "will":
            may_be[path].append(row[2])
        elif kind == "cuts":
            cuts[path] = bytes_of(row[2], row[3])
    for path, states in may_be.items():
        found = state_of(workspace / path)
        if found is not None and found not in states and path in cuts:
            assert is_cut((workspace / path).read_bytes(), cuts[path]), path
        elif path in durable:
            assert found in states, (path, found, states)
            if found is not None and found[0] != "link" and path in logged:
                assert logged[path][0] == found[0], path
        else:
            assert found in [None, *states] or "careless" not in path, (path, found, states)
    return len(durable)


def is_cut(found: bytes, whole: bytes) -> bool:
    """Whether a file that was being written in place is what the disk had of it.

    A beginning, at the end of which pages that were not written read as zeros.
    """
    end = len(found.rstrip(b"\0"))
    return len(found) <= len(whole) and whole.startswith(found[:end])


def check_lines(rows: list[Any], workspace: Path) -> int:
    """A file that was appended to has at least the lines that were synced, and no other bytes.

    One that is ignored is the disk's own: of a line that was not synced, its length may be there and
    its bytes not yet.
    """
    counts = {row[1]: row[2] for row in rows if row[0] == "lines"}
    for path, count in counts.items():
        found = (workspace / path).read_bytes()
        assert len(found) >= count * LINE_BYTES, (path, len(found), count)
        whole = b"".join(line(path, n) for n in range(len(found) // LINE_BYTES + 1))
        synced = count * LINE_BYTES
        assert found[:synced] == whole[:synced], (path, count)
        if path.endswith(".log"):
            assert is_cut(found, whole), (path, count)
        else:
            lines = len(found) // LINE_BYTES
            assert found[: lines * LINE_BYTES] == whole[: lines * LINE_BYTES], (path, count)
    return len(counts)


def check_databases(rows: list[Any], workspace: Path) -> None:
    """Every transaction that was committed is there, and the database is sound."""
    counts = {row[1]: row[2] for row in rows if row[0] == "rows"}
    for path, count in counts.items():
        directory = (workspace / path).parent
        beside = sorted(other.name for other in directory.glob(f"{Path(path).name}*"))
        done = subprocess.run(
            ["sqlite3", str(workspace / path), "PRAGMA integrity_check; SELECT count(*) FROM t"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        ok, _, found = done.stdout.strip().partition("\n")
        assert ok == "ok", (path, done, beside)
        assert int(found) >= count, (path, found, count, beside)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine of its own."""
    made = Machine(tmp_path)
    try:
        yield made
    finally:
        made.end()


def cut_again_and_again(machine: Machine, *, times: int, seed: int) -> int:
    """Cuts the power under programs at work; how many durable states were found again."""
    chance = random.Random(seed)
    machine.mounted.start()
    workspace = machine.mounted.workspace()
    (workspace / ".gitignore").write_text("*.log\nbuild/\n")
    machine.mounted.call("put_on_disk", machine.mounted.call("head_seq"))
    kept = 0
    for number in range(times):
        machine.start_programs(workspace, seed * 1000 + number)
        time.sleep(chance.uniform(0.2, 2.0))
        if chance.random() < 0.3:
            machine.mounted.call("put_on_disk", machine.mounted.call("head_seq"))
        if chance.random() < 0.7:
            machine.disk.write_back(machine.state_dir, chance)
        machine.lose_power()
        machine.come_back()
        kept += machine.check(workspace)
    return kept


def test_what_was_fsynced_survives_power_loss(
    machine: Machine, request: pytest.FixtureRequest
) -> None:
    """Files, names, links, modes, logs, databases, tracked and ignored; three cuts."""
    seed = int(request.config.getoption("hypothesis_seed"))
    assert cut_again_and_again(machine, times=3, seed=seed) > 5


@pytest.fixture
def workspace(machine: Machine) -> Path:
    """A workspace that is on disk."""
    machine.mounted.start()
    made = machine.mounted.workspace()
    machine.mounted.call("put_on_disk", machine.mounted.call("head_seq"))
    return made


def test_a_log_without_its_contents_is_made_good(machine: Machine, workspace: Path) -> None:
    """Nobody called fsync, and the kernel wrote the log's pages first: every file is readable."""
    with (workspace / "README.md").open("wb") as file:
        file.write(b"synced\n")
        file.flush()
        os.fsync(file.fileno())
    with (workspace / "README.md").open("r+b") as file:
        file.write(b"not synced\n" * 500)
    (workspace / "new").write_bytes(b"not synced either\n" * 500)
    logged = machine.mounted.ops()
    write_pages_of(machine.state_dir / "oplog.db-wal")
    machine.lose_power()
    machine.come_back()
    assert (workspace / "README.md").read_bytes() == b"synced\n"
    assert not (workspace / "new").exists()
    assert machine.mounted.ops() == [*logged, ("modify", "README.md"), ("delete", "new")]
    report = machine.mounted.call("fsck")
    assert report["problems"] == []
    assert len(report["lost"]) == 2
    (workspace / "new").write_bytes(b"not synced either\n" * 500)
    assert (workspace / "new").read_bytes() == b"not synced either\n" * 500
    assert len(machine.mounted.call("fsck")["lost"]) == 1


@pytest.mark.parametrize(
    ("name", "mode"), [("README.md", "r+b"), ("new", "w+b")], ids=["logged", "held"]
)
def test_a_half_written_file_does_not_replace_a_synced_one(
    machine: Machine, workspace: Path, name: str, mode: str
) -> None:
    """What is left of a working file lies beside the file, which is as it was last synced.

    What is new is not in the log yet then: its content and the journal are what was synced.
    """
    with (workspace / name).open(mode, buffering=0) as file:
        assert isinstance(file, io.FileIO)
        file.write(b"SYNCED")
        os.fsync(file.fileno())
        file.write(b"and more" * 1000)
        write_pages_of(machine.state_dir / "work/ws-work/journal")
        (working,) = (machine.state_dir / "work/ws-work/files").iterdir()
        write_pages_of(working)
        machine.disk.cut_power()
        machine.mounted.kill()
        with contextlib.suppress(OSError):
            file.close()
    machine.lose_power()
    machine.come_back()
    assert (workspace / name).read_bytes() == b"SYNCED"
    (beside,) = workspace.glob(f"{name}~unsynced-*")
    assert beside.read_bytes() == b"SYNCED" + b"and more" * 1000
    assert machine.mounted.ops() == [("create" if name == "new" else "modify", name)]


@pytest.mark.parametrize("flag", [os.O_SYNC, os.O_DSYNC], ids=["O_SYNC", "O_DSYNC"])
@pytest.mark.parametrize("name", ["f", "f.log"], ids=["tracked", "ignored"])
def test_a_synchronous_write_is_durable(
    machine: Machine, workspace: Path, flag: int, name: str
) -> None:
    """As soon as write(2) returns; the file is still open when the power goes."""
    descriptor = os.open(workspace / name, os.O_WRONLY | os.O_CREAT | flag, 0o644)
    os.write(descriptor, b"written")
    machine.disk.cut_power()
    machine.mounted.kill()
    with contextlib.suppress(OSError):
        os.close(descriptor)
    machine.lose_power()
    machine.come_back()
    assert (workspace / name).read_bytes() == b"written"


@pytest.mark.parametrize("name", ["f", "f.log"], ids=["tracked", "ignored"])
def test_who_only_reads_may_sync(machine: Machine, workspace: Path, name: str) -> None:
    """As sync(1) does with a name: whoever wrote it has closed it, and a reader is answered for."""
    (workspace / name).write_bytes(b"written\n" * 1000)
    assert (workspace / name).read_bytes() == b"written\n" * 1000
    subprocess.run(["sync", workspace / name, workspace], check=True, timeout=20)
    machine.disk.cut_power()
    machine.mounted.kill()
    machine.lose_power()
    machine.come_back()
    assert (workspace / name).read_bytes() == b"written\n" * 1000


def test_sync_makes_everything_durable(machine: Machine, workspace: Path) -> None:
    """sync(2) reaches the disk below, where the log and the contents are; no fsync needed."""
    (workspace / "f").write_bytes(b"closed\n" * 1000)
    (workspace / "f.log").write_bytes(b"ignored\n" * 1000)
    (workspace / "d").mkdir()
    os.sync()
    machine.lose_power()
    machine.come_back()
    assert (workspace / "f").read_bytes() == b"closed\n" * 1000
    assert (workspace / "f.log").read_bytes() == b"ignored\n" * 1000
    assert (workspace / "d").is_dir()
    assert machine.mounted.call("fsck")["lost"] == []


def test_names_are_durable_after_an_fsync_of_their_directory(
    machine: Machine, workspace: Path
) -> None:
    """Empty directories, ignored names, removed ones, and attributes that the log does not have."""
    (workspace / "src/kept").mkdir()
    (workspace / "src/app.log").write_bytes(b"")
    (workspace / "src/lib/util.py").unlink()
    (workspace / "src/app.py").chmod(0o600)
    os.setxattr(workspace / "src/app.py", "user.note", b"kept")
    sync_directory(workspace / "src")
    sync_directory(workspace / "src/lib")
    machine.lose_power()
    machine.come_back()
    assert (workspace / "src/kept").is_dir()
    assert (workspace / "src/app.log").exists()
    assert not (workspace / "src/lib/util.py").exists()
    assert (workspace / "src/app.py").stat().st_mode & 0o777 == 0o600
    assert os.getxattr(workspace / "src/app.py", "user.note") == b"kept"


def test_a_file_that_was_synced_and_removed_stays_removed(
    machine: Machine, workspace: Path
) -> None:
    """As a database's journal, whose return would undo what was committed."""
    with (workspace / "README.md-journal").open("wb") as file:
        # A content that is there, whatever becomes of this file.
        file.write((workspace / "README.md").read_bytes())
        file.flush()
        os.fsync(file.fileno())
    (workspace / "README.md-journal").unlink()
    sync_directory(workspace)
    machine.lose_power()
    machine.come_back()
    assert not (workspace / "README.md-journal").exists()
