# The system calls and their errno are what is tested.
# ruff: noqa: PTH208
"""Programs that know nothing of Patchwork work in a workspace."""

import os
import shutil
import sqlite3
import subprocess
import threading
from pathlib import Path

import pytest

from tests.fs.conftest import MAIN_FILES, Mounted

pytestmark = pytest.mark.timeout(60)


def run(*command: str, cwd: Path) -> str:
    """Runs a program and returns what it says."""
    environment = {
        **os.environ,
        "GIT_AUTHOR_NAME": "t",
        "GIT_AUTHOR_EMAIL": "t@example.org",
        "GIT_COMMITTER_NAME": "t",
        "GIT_COMMITTER_EMAIL": "t@example.org",
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }
    done = subprocess.run(
        command, cwd=cwd, env=environment, check=False, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def test_git(mounted: Mounted) -> None:
    """init, add, commit, branch, checkout, status, gc."""
    ws = mounted.workspace()
    run("git", "init", "-q", "-b", "main", cwd=ws)
    run("git", "add", ".", cwd=ws)
    run("git", "commit", "-qm", "first", cwd=ws)
    assert run("git", "status", "--porcelain", cwd=ws) == ""
    run("git", "checkout", "-qb", "side", cwd=ws)
    (ws / "README.md").write_text("side\n")
    run("git", "mv", "src", "code", cwd=ws)
    run("git", "commit", "-qam", "second", cwd=ws)
    run("git", "checkout", "-q", "main", cwd=ws)
    assert (ws / "README.md").read_bytes() == MAIN_FILES["README.md"]
    assert run("git", "status", "--porcelain", cwd=ws) == ""
    assert sorted(os.listdir(ws / "src")) == ["app.py", "lib"]
    run("git", "gc", "-q", cwd=ws)
    run("git", "fsck", cwd=ws)
    run("git", "clone", "-q", ".", "clone.log", cwd=ws)
    assert not any(path.startswith((".git/", "clone.log")) for path in mounted.files())


def test_sed_cp_tar_mv_and_rsync_like_tools(mounted: Mounted) -> None:
    """Copies are faithful, in both directions."""
    ws = mounted.workspace()
    run("sed", "-i", "s/two/2/", "src/app.py", cwd=ws)
    assert mounted.ops()[-1] == ("modify", "src/app.py")
    run("cp", "-a", "src", "copy", cwd=ws)
    run("diff", "-r", "src", "copy", cwd=ws)
    times = [(ws / top / "app.py").stat().st_mtime_ns for top in ("src", "copy")]
    assert times[0] == times[1]
    archive = mounted.repository.parent / "all.tar"
    run("tar", "cf", str(archive), ".", cwd=ws)
    (ws / "unpacked").mkdir()
    run("tar", "xf", str(archive), "-C", "unpacked", cwd=ws)
    run("diff", "-r", "src", "unpacked/src", cwd=ws)
    assert (ws / "unpacked/run.sh").stat().st_mode & 0o111
    assert (ws / "unpacked/link").readlink() == Path("README.md")
    run("mv", "copy", "moved", cwd=ws)
    run("rm", "-rf", "unpacked", cwd=ws)
    assert not (ws / "unpacked").exists()
    names = set(mounted.files())
    assert {"moved/app.py", "moved/lib/util.py"} <= names
    assert not any(name.startswith(("copy", "unpacked")) for name in names)


def test_python_imports_and_compiles(mounted: Mounted) -> None:
    """A package in a workspace is imported, with its byte code in ignored directories."""
    ws = mounted.workspace()
    (ws / ".gitignore").write_text("__pycache__/\n")
    (ws / "src/lib/__init__.py").touch()
    say = "import sys; sys.path.insert(0, 'src'); import lib.util; print(lib.util.f())"
    assert run("python3", "-c", say, cwd=ws) == "1\n"
    assert run("python3", "-c", say, cwd=ws) == "1\n"
    assert not any("__pycache__" in name for name in mounted.files())


@pytest.mark.parametrize("name", ["db.log", "db.sqlite"])
@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_sqlite(mounted: Mounted, name: str, journal: str) -> None:
    """A database works in scratch and as a versioned file, in both journal modes."""
    ws = mounted.workspace()
    database = sqlite3.connect(ws / name)
    assert database.execute(f"pragma journal_mode={journal}").fetchone() == (journal,)
    database.execute("create table t (n integer)")
    for number in range(20):
        with database:
            database.execute("insert into t values (?)", (number,))
    other = sqlite3.connect(ws / name)
    assert other.execute("select count(*), sum(n) from t").fetchone() == (20, 190)
    other.close()
    database.close()
    again = sqlite3.connect(ws / name)
    assert again.execute("pragma integrity_check").fetchone() == ("ok",)
    again.close()


def test_many_threads(mounted: Mounted) -> None:
    """Threads that create, replace, read and remove do not disturb each other."""
    ws = mounted.workspace()
    wrong: list[str] = []

    def work(who: int) -> None:
        top = ws / f"t{who}"
        top.mkdir()
        for turn in range(25):
            path = top / f"f{turn % 5}"
            text = f"{who}-{turn}" * (turn + 1)
            temporary = top / "tmp"
            temporary.write_text(text)
            temporary.replace(path)
            if path.read_text() != text:
                wrong.append(f"{path} after {turn}")
            if turn % 7 == 0:
                path.unlink()
        with os.scandir(top) as entries:
            names = sorted(entry.name for entry in entries)
        if names != ["f0", "f2", "f3", "f4"]:
            wrong.append(f"{top}: {names}")

    threads = [threading.Thread(target=work, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    logged = {name: mounted.read("ws-work", name) for name in mounted.files()}
    for name, content in logged.items():
        if name.startswith("t"):
            assert (ws / name).read_bytes() == content


def test_make_a_wide_and_a_deep_tree(mounted: Mounted) -> None:
    """Walking finds everything once; nodes are forgotten with the tree."""
    ws = mounted.workspace()
    for number in range(300):
        directory = ws / f"d{number % 10}" / f"e{number % 30}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number}").write_text(str(number))
    found = {path for path in ws.rglob("f*") if path.is_file()}
    assert len(found) == 300
    shutil.rmtree(ws / "d0")
    assert len([name for name in mounted.files() if "/f" in name]) == 270
