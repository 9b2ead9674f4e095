"""However a program saves a file, the log has one operation of it, of the right type."""

import os
from pathlib import Path

import pytest

from tests.fs.conftest import MAIN_FILES, Mounted

pytestmark = pytest.mark.timeout(60)

NAME = "README.md"
OLD = MAIN_FILES[NAME]
NEW = b"hello, saved\n"


def write(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Writes a file whole, and closes it."""
    with path.open("wb") as file:
        file.write(content)
        if sync:
            file.flush()
            os.fsync(file.fileno())


def in_place(target: Path) -> None:
    """Open with O_TRUNC, write (VS Code, nano)."""
    write(target, NEW)


def in_place_without_truncating(target: Path) -> None:
    """Write over the bytes, then cut (vim with backupcopy=yes, rsync --inplace)."""
    with target.open("r+b") as file:
        file.write(NEW)
        file.truncate()


def in_pieces(target: Path) -> None:
    """Many writes through one descriptor."""
    with target.open("wb", buffering=0) as file:
        for position in range(len(NEW)):
            file.write(NEW[position : position + 1])


def temporary(target: Path) -> None:
    """A temporary file, renamed over (sed, perl -i, patch, most programs)."""
    write(target.with_name("tmpXXXX"), NEW)
    target.with_name("tmpXXXX").rename(target)


def temporary_synced(target: Path) -> None:
    """The same with fsync, as atomicwrites, GLib and npm do it."""
    name = target.with_name(f".{target.name}.0AB1")
    write(name, NEW, sync=True)
    name.replace(target)


def temporary_synced_with_directory(target: Path) -> None:
    """The same, and the directory is synced at the end."""
    temporary_synced(target)
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(directory)
    os.close(directory)


def temporary_with_mode(target: Path) -> None:
    """The temporary gets its mode and times before it is renamed (rsync, GLib)."""
    name = target.with_name(".tmp")
    write(name, NEW)
    name.chmod(0o644)
    os.utime(name, ns=(1, 1))
    name.rename(target)


def temporary_renamed_open(target: Path) -> None:
    """The temporary is renamed before it is closed."""
    name = target.with_name("tmp")
    with name.open("wb") as file:
        file.write(NEW)
        file.flush()
        name.rename(target)


def backup_by_rename(target: Path) -> None:
    """The old file moved aside, the new one written, the old one removed (vim)."""
    backup = target.with_name(f"{target.name}~")
    target.rename(backup)
    write(target, NEW, sync=True)
    backup.unlink()


def backup_by_rename_with_probe(target: Path) -> None:
    """The same after a look whether a file can be made, as vim takes it."""
    probe = target.with_name("4913")
    os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    probe.unlink()
    backup_by_rename(target)


def backup_by_copy(target: Path) -> None:
    """The old content copied aside, the file written, the copy removed (backupcopy=yes)."""
    backup = target.with_name(f"{target.name}~")
    write(backup, target.read_bytes())
    in_place(target)
    backup.unlink()


def two_renames(target: Path) -> None:
    """A temporary written, the old file moved aside, both renamed on (JetBrains)."""
    fresh = target.with_name(f"{target.name}___jb_tmp___")
    aside = target.with_name(f"{target.name}___jb_old___")
    write(fresh, NEW)
    target.rename(aside)
    fresh.rename(target)
    aside.unlink()


def removed_and_made_again(target: Path) -> None:
    """The old file removed, a new one made (git checkout, tar, unzip, install)."""
    target.unlink()
    descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    os.write(descriptor, NEW)
    os.close(descriptor)
    target.chmod(0o644)


def with_a_swap_file(target: Path) -> None:
    """A swap file made, synced and removed beside a save in place (vim)."""
    swap = target.with_name(f".{target.name}.swp")
    write(swap, b"swap" * 100, sync=True)
    in_place(target)
    swap.unlink()


def linked_into_place(target: Path) -> None:
    """A temporary file linked to the name, which was removed before (old mailers)."""
    fresh = target.with_name("linked")
    write(fresh, NEW)
    target.unlink()
    os.link(fresh, target)
    fresh.unlink()


ONE_OP = [
    in_place,
    in_place_without_truncating,
    in_pieces,
    temporary,
    temporary_synced,
    temporary_synced_with_directory,
    temporary_with_mode,
    temporary_renamed_open,
    backup_by_rename,
    backup_by_rename_with_probe,
    backup_by_copy,
    two_renames,
    removed_and_made_again,
    with_a_swap_file,
]


def test_a_save_is_one_modification(mounted: Mounted) -> None:
    """One `modify` of the file, following its last one, and nothing of any other name.

    Saved again with the same bytes, it is nothing.
    """
    ws = mounted.workspace()
    names = {path.name for path in mounted.main.iterdir()}
    wrong = {}
    for save in ONE_OP:
        write(ws / NAME, f"before {save.__name__}\n".encode())
        before = mounted.call("ops", change_id="work")
        save(ws / NAME)
        ops = mounted.call("ops", change_id="work")[len(before) :]
        logged = [
            (op["new"]["op_type"], op["new"]["path"], op["new"]["old_path"], op["parent_seq"])
            for op in ops
        ]
        if logged != [("modify", NAME, None, before[-1]["id"])]:
            wrong[save.__name__] = logged
        assert mounted.read("ws-work", NAME) == NEW, save
        assert (ws / NAME).read_bytes() == NEW, save
        assert {path.name for path in ws.iterdir()} == names, save
        save(ws / NAME)
        assert len(mounted.ops()) == len(before) + 1, save
    assert wrong == {}


def test_the_same_while_others_look(mounted: Mounted) -> None:
    """With a second view of the change nothing is held: more operations, and a chain all the same."""
    ws = mounted.workspace()
    other = mounted.workspace_on("work")
    assert (other / NAME).read_bytes() == OLD
    temporary(ws / NAME)
    assert (other / NAME).read_bytes() == NEW
    assert mounted.ops() == [("create", "tmpXXXX"), ("modify", NAME)]
    created, saved = mounted.call("ops", change_id="work")
    assert saved["new"]["old_path"] == "tmpXXXX"
    assert saved["parent_seq"] not in (0, created["id"])
    backup_by_rename(ws / NAME)
    assert (other / NAME).read_bytes() == NEW
    assert {path.name for path in other.iterdir()} == {path.name for path in mounted.main.iterdir()}


def test_a_new_file_by_way_of_a_temporary_one(mounted: Mounted) -> None:
    """Made from the file's name, the temporary is no other file; any other name is one."""
    ws = mounted.workspace()
    for made in (".new.txt.a8Xk2c", "new.txt.tmp", "new.txt~"):
        write(ws / made, NEW)
        (ws / made).rename(ws / "new.txt")
        assert mounted.ops()[-1][1] == "new.txt"
    assert mounted.ops() == [("create", "new.txt")]
    write(ws / "draft", NEW)
    (ws / "draft").rename(ws / "letter")
    assert mounted.ops()[1:] == [("create", "draft"), ("rename", "letter")]


def test_what_happens_in_between_does_not_leave_the_old_name(mounted: Mounted) -> None:
    """A new file is renamed over another; something else was removed since it was closed."""
    ws = mounted.workspace()
    (ws / "new").write_bytes(b"new")
    (ws / "run.sh").unlink()
    (ws / "new").rename(ws / "README.md")
    assert not (ws / "new").exists()
    mounted.call("barrier")
    assert "new" not in mounted.files()
    assert mounted.read("ws-work", "README.md") == b"new"
    assert ("create", "new") not in mounted.ops()
