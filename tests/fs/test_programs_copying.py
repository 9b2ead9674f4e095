# The system calls and their errno are what is tested.
"""Programs that copy trees, and many at once: what comes out is what went in."""

import os
import shutil
import threading
from pathlib import Path

import pytest

from tests.fs.conftest import Mounted
from tests.fs.running import run

pytestmark = pytest.mark.timeout(60)


def test_sed_cp_tar_and_mv(mounted: Mounted) -> None:
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


def make_tree(top: Path) -> None:
    """Files of several modes, sizes and times, links and empty directories."""
    for number in range(30):
        path = top / f"d{number % 4}/e{number % 3}/f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number * 997))
        path.chmod(0o600 | (number % 2) * 0o111 | (number % 3) * 0o022)
        os.utime(path, ns=(1_600_000_000_000_000_000 + number, 1_500_000_000_123_456_789 + number))
    (top / "d0/hard").hardlink_to(top / "d0/e0/f0")
    (top / "d1/link").symlink_to("e1/f1")
    (top / "d1/dangling").symlink_to("nowhere/at all")
    (top / "empty/er").mkdir(parents=True)
    (top / "with space, ünicode and 'quotes'").write_text("name\n")
    for directory in ("d0", "empty", "d1/e1"):
        os.utime(top / directory, ns=(1_400_000_000_000_000_001, 1_400_000_000_000_000_002))


def test_rsync_there_and_back(mounted: Mounted, tmp_path: Path) -> None:
    """Bytes, modes, times, owners, links and hard links: rsync finds no difference, either way."""
    source, back = tmp_path / "source", tmp_path / "back"
    source.mkdir()
    make_tree(source)
    ws = mounted.workspace()
    (ws / "copy").mkdir()
    compare = ("rsync", "-aH", "--delete", "-n", "-i", "--checksum")
    run("rsync", "-aH", f"{source}/", "copy/", cwd=ws)
    assert run(*compare, f"{source}/", "copy/", cwd=ws) == ""
    run("rsync", "-aH", "copy/", f"{back}/", cwd=ws)
    assert run(*compare, f"{source}/", f"{back}/", cwd=ws) == ""
    mounted.stop()
    mounted.start()
    assert run(*compare, f"{source}/", "copy/", cwd=ws) == ""
    (source / "d2/e2/f2").write_text("changed\n")
    (source / "d3/e0/f3").unlink()
    run("rsync", "-aH", "--delete", f"{source}/", "copy/", cwd=ws)
    assert run(*compare, f"{source}/", "copy/", cwd=ws) == ""


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
