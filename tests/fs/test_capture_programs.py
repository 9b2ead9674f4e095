"""What real programs do to a workspace is in the log as what it was: one save, one operation."""

import contextlib
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fs.conftest import MAIN_FILES, Mounted
from tests.fs.running import run

pytestmark = pytest.mark.timeout(60)

Log = list[tuple[str, str]]
RENAMES = "SELECT count(*) FROM ops WHERE op_type = 'rename'"
README = "README.md"
NEW = "hello, saved\n"
PATCH = f"""\
--- a/{README}
+++ b/{README}
@@ -1 +1 @@
-hello
+hello, saved
"""
VIM = "vim.basic -N -u NONE -i NONE -es -c 'set backupskip= {}' -c '%s/$/, saved/' -c wq README.md"

SAVES = {
    "sed": "sed -i s/hello/hello,\\ saved/ README.md",
    "perl": "perl -i -pe s/hello/hello,\\ saved/ README.md",
    "patch": "patch -s -p1 -i {elsewhere}/saved.patch",
    "git apply": "git apply {elsewhere}/saved.patch",
    "cp": "cp {elsewhere}/README.md README.md",
    "cp --remove-destination": "cp --remove-destination {elsewhere}/README.md README.md",
    "install": "install -m 644 {elsewhere}/README.md README.md",
    "mv from another filesystem": "mv {elsewhere}/README.md README.md",
    "tar": "tar xf {elsewhere}/saved.tar",
    "tar --overwrite": "tar xf {elsewhere}/saved.tar --overwrite",
    "unzip": "unzip -oq {elsewhere}/saved.zip",
    "rsync": "rsync -a {elsewhere}/README.md .",
    "rsync --inplace": "rsync -a --inplace {elsewhere}/README.md .",
    "rsync with fsync": "rsync -a --fsync {elsewhere}/README.md .",
    "a shell": "cat {elsewhere}/README.md > README.md",
    "dd": "dd if={elsewhere}/README.md of=README.md bs=1 status=none",
    "vim, backupcopy=auto": VIM.format("backupcopy=auto"),
    "vim, backupcopy=yes": VIM.format("backupcopy=yes"),
    "vim, backupcopy=no": VIM.format("backupcopy=no"),
    "vim without a swap file": VIM.format("noswapfile nowritebackup"),
}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A directory on disk with the saved file, packed in several ways."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    (place / README).write_text(NEW)
    (place / README).chmod(0o644)
    (place / "saved.patch").write_text(PATCH)
    run("tar", "cf", "saved.tar", README, cwd=place)
    run("zip", "-q", "saved.zip", README, cwd=place)
    return place


def shell(command: str, cwd: Path, elsewhere: Path) -> None:
    """Runs a line of shell."""
    run("sh", "-ec", command.replace("{elsewhere}", shlex.quote(str(elsewhere))), cwd=cwd)


def test_a_save_is_one_modification(mounted: Mounted, elsewhere: Path) -> None:
    """One `modify` that follows the file's last operation, and no trace of another name."""
    ws = mounted.workspace()
    names = {path.name for path in mounted.main.iterdir()}
    wrong = {}
    for title, command in SAVES.items():
        (ws / README).write_text(f"before {title}\n")
        (ws / README).write_bytes(MAIN_FILES[README])
        (elsewhere / README).write_text(NEW)
        before = mounted.call("ops", change_id="work")
        shell(command, ws, elsewhere)
        ops = mounted.call("ops", change_id="work")[len(before) :]
        logged = [(op["new"]["op_type"], op["new"]["path"], op["parent_seq"]) for op in ops]
        if logged != [("modify", README, before[-1]["id"])]:
            wrong[title] = logged
        assert mounted.read("ws-work", README) == NEW.encode(), title
        assert {path.name for path in ws.iterdir()} == names, title
    assert wrong == {}


BACKUPS = {
    "sed": ("sed -i.bak s/hello/hello,\\ saved/ README.md", "README.md.bak"),
    "perl": ("perl -i.bak -pe s/hello/hello,\\ saved/ README.md", "README.md.bak"),
    "patch": ("patch -s -b -p1 -i {elsewhere}/saved.patch", "README.md.orig"),
    "cp": ("cp --backup=simple {elsewhere}/README.md README.md", "README.md~"),
    "install": ("install -m 644 --backup {elsewhere}/README.md README.md", "README.md~"),
    "rsync": ("rsync -a --backup {elsewhere}/README.md .", "README.md~"),
    "vim, by renaming": (VIM.format("backup backupcopy=no"), "README.md~"),
    "vim, by copying": (VIM.format("backup backupcopy=yes"), "README.md~"),
}


def test_a_backup_that_stays_is_a_new_file(mounted: Mounted, elsewhere: Path) -> None:
    """The file is modified, once; its backup is a file of its own."""
    ws = mounted.workspace()
    wrong = {}
    for title, (command, backup) in BACKUPS.items():
        (ws / backup).unlink(missing_ok=True)
        (ws / README).write_bytes(MAIN_FILES[README])
        count = len(mounted.ops())
        shell(command, ws, elsewhere)
        logged = {path: op_type for op_type, path in mounted.ops()[count:]}
        is_whole = len(mounted.ops()) == count + 2 and logged.get(README) == "modify"
        if not is_whole or logged.get(backup) not in ("create", "copy"):
            wrong[title] = mounted.ops()[count:]
        assert mounted.read("ws-work", backup) == MAIN_FILES[README], title
        assert (ws / backup).read_bytes() == MAIN_FILES[README], title
        assert mounted.read("ws-work", README) == NEW.encode(), title
    assert wrong == {}


def test_a_backup_over_an_older_one_modifies_it(mounted: Mounted, elsewhere: Path) -> None:
    """Saved twice by way of a backup, both files have been modified by the second save."""
    ws = mounted.workspace()
    shell("sed -i.bak s/hello/first/ README.md", ws, elsewhere)
    count = len(mounted.ops())
    shell("sed -i.bak s/first/second/ README.md", ws, elsewhere)
    assert sorted(mounted.ops()[count:]) == [("modify", README), ("modify", "README.md.bak")]
    assert mounted.read("ws-work", "README.md.bak") == b"first\n"


def test_moves_are_renames(mounted: Mounted) -> None:
    """mv and git mv, of files and of directories; a changed file that moves keeps its history."""
    ws = mounted.workspace()
    run("git", "init", "-q", cwd=ws)
    run("git", "add", ".", cwd=ws)
    run("mv", README, "READ.md", cwd=ws)
    run("git", "mv", "run.sh", "src/run.sh", cwd=ws)
    run("mv", "link", "src/lib/link", cwd=ws)
    run("git", "mv", "src/lib", "lib", cwd=ws)
    run("mv", "READ.md", "READ.md.txt", cwd=ws)
    ops = mounted.ops()
    assert ops[:3] == [("rename", "READ.md"), ("rename", "src/run.sh"), ("rename", "src/lib/link")]
    assert sorted(ops[3:5]) == [("rename", "lib/link"), ("rename", "lib/util.py")]
    assert ops[5:] == [("rename", "READ.md.txt")]
    rows = mounted.call("ops", change_id="work")
    assert rows[5]["parent_seq"] == rows[0]["id"]


def test_git_changes_files_as_a_person_would(mounted: Mounted) -> None:
    """checkout, stash, reset, revert: a modification, creation or deletion for each file."""
    ws = mounted.workspace()
    run("git", "init", "-q", "-b", "main", cwd=ws)
    run("git", "add", ".", cwd=ws)
    run("git", "commit", "-qm", "first", cwd=ws)
    run("git", "checkout", "-q", "-b", "side", cwd=ws)
    (ws / README).write_text(NEW)
    (ws / ".gitignore").write_text("*.log\nbuild/\n*.tmp\n")
    (ws / "new.txt").write_text("new\n")
    (ws / "run.sh").unlink()
    run("git", "add", "-A", cwd=ws)
    run("git", "commit", "-qm", "second", cwd=ws)

    def logged(*command: str) -> Log:
        before = len(mounted.ops())
        run("git", *command, cwd=ws)
        return sorted(mounted.ops()[before:])

    modified = [("modify", ".gitignore"), ("modify", README)]
    there = [("create", "run.sh"), ("delete", "new.txt"), *modified]
    back = [("create", "new.txt"), ("delete", "run.sh"), *modified]
    assert logged("checkout", "-q", "main") == there
    assert logged("checkout", "-q", "side") == back
    assert logged("reset", "-q", "--hard", "HEAD~1") == there
    assert logged("merge", "-q", "ORIG_HEAD") == back
    assert logged("revert", "--no-edit", "HEAD") == there
    (ws / README).write_text("in the middle of it\n")
    assert mounted.ops()[-1] == ("modify", README)
    assert logged("stash", "-q") == [("modify", README)]
    assert logged("stash", "pop", "-q") == [("modify", README)]
    assert logged("checkout", "-q", README) == [("modify", README)]
    assert run("git", "status", "--porcelain", cwd=ws) == ""


def test_a_tree_comes_by_one_operation_a_file(mounted: Mounted, tmp_path: Path) -> None:
    """rsync, tar, unzip and cp of a tree over another version of it; again it is nothing."""
    source = tmp_path / "source"
    (source / "pkg/deep").mkdir(parents=True)
    for number in range(20):
        (source / f"pkg/f{number}").write_text(f"{number}\n")
    (source / "pkg/deep/tool").write_text("#!/bin/sh\n")
    (source / "pkg/deep/tool").chmod(0o755)
    (source / "pkg/link").symlink_to("f0")
    ws = mounted.workspace()
    run("rsync", "-a", f"{source}/", ".", cwd=ws)
    names = sorted(str(path.relative_to(source)) for path in source.rglob("*") if path.is_file())
    assert sorted(mounted.ops()) == [("create", name) for name in names]
    for number in range(0, 20, 2):
        (source / f"pkg/f{number}").write_text(f"{number} and more\n")
    (source / "pkg/f19").unlink()
    expected = sorted(("modify", f"pkg/f{number}") for number in range(0, 20, 2))
    count = len(mounted.ops())
    run("rsync", "-a", "--delete-after", f"{source}/pkg", ".", cwd=ws)
    assert sorted(mounted.ops()[count:]) == [("delete", "pkg/f19"), *expected]
    count = len(mounted.ops())
    run("tar", "cf", f"{tmp_path}/all.tar", "pkg", cwd=source)
    # Without the link: unzip makes a file of one first.
    run("zip", "-qr", f"{tmp_path}/all.zip", "pkg", "-x", "pkg/link", cwd=source)
    for command in (
        ("rsync", "-a", "--checksum", "--ignore-times", f"{source}/pkg", "."),
        ("tar", "xf", f"{tmp_path}/all.tar"),
        ("unzip", "-oq", f"{tmp_path}/all.zip"),
        ("cp", "-a", f"{source}/pkg", "."),
        ("cp", "-a", "--remove-destination", f"{source}/pkg", "."),
    ):
        run(*command, cwd=ws)
        assert mounted.ops()[count:] == [], command
    run("diff", "-r", f"{source}/pkg", "pkg", cwd=ws)


def test_a_formatter_saves_once(mounted: Mounted) -> None:
    """ruff format changes what it must, and leaves what is formatted alone."""
    ws = mounted.workspace()
    (ws / "messy.py").write_text("x=1\n")
    (ws / "tidy.py").write_text("x = 1\n")
    count = len(mounted.ops())
    ruff = [sys.executable, "-m", "ruff", "format", "--no-cache", "--isolated", "."]
    run(*ruff, cwd=ws)
    assert (ws / "messy.py").read_text() == "x = 1\n"
    assert ("modify", "messy.py") in mounted.ops()[count:]
    assert ("modify", "tidy.py") not in mounted.ops()[count:]
    count = len(mounted.ops())
    run(*ruff, cwd=ws)
    assert len(mounted.ops()) == count


def test_a_directory_of_hundreds_is_renamed_at_once(mounted: Mounted) -> None:
    """One rename a file, all in one transaction."""
    ws = mounted.workspace()
    (ws / "many/sub").mkdir(parents=True)
    for number in range(150):
        (ws / f"many/f{number:03}").write_text(str(number))
        (ws / f"many/sub/f{number:03}").write_text(str(number))
    created = mounted.call("ops", change_id="work")
    assert [row["new"]["op_type"] for row in created] == ["create"] * 300
    with subprocess.Popen(["mv", "many", "few"], cwd=ws) as moving:
        counts = set()
        database = f"file:{mounted.repository}/.patchwork/oplog.db?mode=ro"
        with contextlib.closing(sqlite3.connect(database, uri=True)) as log:
            while moving.poll() is None:
                counts.add(log.execute(RENAMES).fetchone()[0])
    assert counts <= {0, 300}
    rows = mounted.call("ops", change_id="work")[300:]
    assert [row["new"]["op_type"] for row in rows] == ["rename"] * 300
    numbers = {row["new"]["path"]: row["id"] for row in created}
    assert all(row["parent_seq"] == numbers[row["new"]["old_path"]] for row in rows)
    assert run("cat", "few/f000", "few/sub/f149", cwd=ws) == "0149"
