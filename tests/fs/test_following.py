# The system calls and their errno are what is tested.
# ruff: noqa: PT011, PT012, PTH208
"""What moves elsewhere is seen at the next read, exactly, and what is being written is not lost."""

import errno
import os
import random
import threading
from pathlib import Path

import pytest

from tests.fs.conftest import Mounted

pytestmark = pytest.mark.timeout(60)


def test_a_landing_is_seen_at_the_next_read(mounted: Mounted) -> None:
    """Contents, listings and names that were known not to exist, in main and other workspaces."""
    ws = mounted.workspace()
    other = mounted.workspace("other")
    places = [mounted.main, other]
    for place in places:
        assert (place / "README.md").read_text() == "hello\n"
        assert not (place / "new.txt").exists()
        assert not (place / "deep/er/x").exists()
        assert (place / "run.sh").exists()
        os.listdir(place)
    (ws / "README.md").write_text("landed\n")
    (ws / "new.txt").write_text("new")
    (ws / "deep/er").mkdir(parents=True)
    (ws / "deep/er/x").write_text("x")
    (ws / "run.sh").unlink()
    (ws / "src/lib").rename(ws / "src/kit")
    mounted.call("land", "work", agent="tester")
    for place in places:
        assert (place / "README.md").read_text() == "landed\n"
        assert (place / "new.txt").read_text() == "new"
        assert (place / "deep/er/x").read_text() == "x"
        assert not (place / "run.sh").exists()
        assert sorted(os.listdir(place / "src")) == ["app.py", "kit"]
        assert not (place / "src/lib").exists()
        assert "deep" in os.listdir(place)
        assert "run.sh" not in os.listdir(place)


def test_a_change_elsewhere_gives_a_new_inode(mounted: Mounted) -> None:
    """The name leads to the new file; who has the old one open goes on reading it whole."""
    ws = mounted.workspace()
    path = mounted.main / "src/app.py"
    untouched = (mounted.main / "README.md").stat()
    before = path.stat()
    with path.open("rb", buffering=0) as old:
        start = old.read(4)
        (ws / "src/app.py").write_bytes(b"n" * 4000)
        mounted.call("land", "work", agent="tester")
        assert path.read_bytes() == b"n" * 4000
        assert start + old.read() == b"one\ntwo\nthree\nfour\nfive\nsix\nseven\n"
        assert os.fstat(old.fileno()).st_ino == before.st_ino
    assert path.stat().st_ino != before.st_ino
    assert path.stat().st_size == 4000
    after = (mounted.main / "README.md").stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
        untouched.st_ino,
        untouched.st_mtime_ns,
        untouched.st_ctime_ns,
    )


def test_co_workers_on_one_change_see_each_other(mounted: Mounted) -> None:
    """Two workspaces of one change: every operation of one is seen in the other at once."""
    first = mounted.workspace()
    second = mounted.workspace_on("work")
    assert not (second / "a").exists()
    (first / "a").write_text("1")
    assert (second / "a").read_text() == "1"
    (second / "a").write_text("2")
    assert (first / "a").read_text() == "2"
    (first / "a").rename(first / "b")
    assert not (second / "a").exists()
    assert (second / "b").read_text() == "2"
    (first / "l").symlink_to("b")
    assert (second / "l").read_text() == "2"
    (first / "b").unlink()
    assert not (second / "b").exists()
    assert "b" not in os.listdir(second)
    (first / "src").rename(first / "code")
    assert sorted(os.listdir(second / "code")) == ["app.py", "lib"]
    assert not (second / "src").exists()
    (second / "code/app.py").chmod(0o755)
    assert (first / "code/app.py").stat().st_mode & 0o777 == 0o755


def test_own_writes_keep_the_inode(mounted: Mounted) -> None:
    """A program that watches its own file sees one file."""
    ws = mounted.workspace()
    before = (ws / "README.md").stat().st_ino
    (ws / "README.md").write_text("own")
    assert (ws / "README.md").stat().st_ino == before
    (ws / "README.md").rename(ws / "R")
    assert (ws / "R").stat().st_ino == before


def test_edits_merge_and_conflicts_show_markers(mounted: Mounted) -> None:
    """A clean merge appears by itself; a conflict shows markers until the file is written."""
    ws = mounted.workspace()
    other = mounted.workspace("other")
    text = (ws / "src/app.py").read_text()
    (other / "src/app.py").write_text(text.replace("seven", "SEVEN"))
    (ws / "src/app.py").write_text(text.replace("one", "ONE"))
    mounted.call("land", "other", agent="tester")
    merged = text.replace("one", "ONE").replace("seven", "SEVEN")
    assert (ws / "src/app.py").read_text() == merged
    assert (ws / "src/app.py").stat().st_size == len(merged)
    third = mounted.workspace("third")
    (third / "src/app.py").write_text(merged.replace("four", "4 of third").replace("ONE", "one"))
    (ws / "src/app.py").write_text(merged.replace("four", "4 of work"))
    mounted.call("land", "third", agent="tester")
    shown = (ws / "src/app.py").read_text()
    assert "<<<<<<<" in shown
    assert "4 of third" in shown
    assert "4 of work" in shown
    (ws / "src/app.py").write_text("resolved\n")
    assert (ws / "src/app.py").read_text() == "resolved\n"
    mounted.call("land", "work", agent="tester")
    assert (mounted.main / "src/app.py").read_text() == "resolved\n"


def test_a_manual_view_refuses_the_conflicted_file_only(mounted: Mounted) -> None:
    """Opening it is EIO; the rest works."""
    ws = mounted.workspace(policy="manual")
    other = mounted.workspace("other")
    (ws / "README.md").write_text("mine\n")
    (other / "README.md").write_text("theirs\n")
    mounted.call("land", "other", agent="tester")
    with pytest.raises(OSError) as refused:
        (ws / "README.md").read_text()
    assert refused.value.errno == errno.EIO
    assert (ws / "run.sh").read_text().startswith("#!")
    (ws / "README.md").write_text("resolved\n")
    assert (ws / "README.md").read_text() == "resolved\n"


def test_a_file_open_for_writing_survives_a_landing(mounted: Mounted) -> None:
    """What goes on through an old handle is merged with what landed, not lost."""
    ws = mounted.workspace()
    other = mounted.workspace("other")
    text = (ws / "src/app.py").read_text()
    with (ws / "src/app.py").open("r+") as file:
        file.write("ONE")
        file.flush()
        (other / "src/app.py").write_text(text.replace("seven", "SEVEN"))
        mounted.call("land", "other", agent="tester")
        file.seek(4)
        file.write("TWO")
    merged = text.replace("one", "ONE").replace("two", "TWO").replace("seven", "SEVEN")
    assert (ws / "src/app.py").read_text() == merged


def test_moments_views_and_workspaces_come_and_go(mounted: Mounted) -> None:
    """Every number up to the head resolves; names appear and vanish with what they stand for."""
    head = mounted.call("status")["head_seq"]
    at = mounted.mountpoint / "at"
    assert os.listdir(at / "0") == []
    assert (at / str(head) / "README.md").read_text() == "hello\n"
    assert not (at / str(head + 1)).exists()
    assert not (at / f"0{head}").exists()
    ws = mounted.workspace()
    (ws / "README.md").write_text("later\n")
    mounted.call("land", "work", agent="tester")
    now = mounted.call("status")["head_seq"]
    assert now > head
    assert (at / str(now) / "README.md").read_text() == "later\n"
    # A number that was asked for before it was given out.
    assert (at / str(head + 1) / "README.md").read_text() == "hello\n"
    assert (at / str(head) / "README.md").read_text() == "hello\n"
    assert {str(now)} <= set(os.listdir(at))

    views = mounted.mountpoint / "views"
    mounted.workspace("draft")
    assert not (views / "v").exists()
    mounted.call("create_view", "v", owner="tester", base="latest", overlays=["draft"])
    assert (views / "v/README.md").read_text() == "later\n"
    assert "v" in os.listdir(views)
    (mounted.mountpoint / "ws/ws-draft/README.md").write_text("draft\n")
    assert (views / "v/README.md").read_text() == "draft\n"
    mounted.call("delete_view", "v")
    assert not (views / "v").exists()

    inside = (mounted.mountpoint / "ws/ws-draft/README.md").open()
    mounted.call("destroy_workspace", "ws-draft")
    assert not (mounted.mountpoint / "ws/ws-draft").exists()
    with inside, pytest.raises(OSError) as stale:
        os.fstat(inside.fileno())
        os.listdir(mounted.mountpoint / "ws/ws-draft")
    assert stale.value.errno in (errno.ESTALE, errno.ENOENT)


def test_a_final_change_is_read_only(mounted: Mounted) -> None:
    """After landing without later edits the workspace refuses to write, until switched."""
    ws = mounted.workspace()
    (ws / "README.md").write_text("landed\n")
    mounted.call("land", "work", agent="tester")
    with pytest.raises(OSError) as refused:
        (ws / "README.md").write_text("again\n")
    assert refused.value.errno == errno.EROFS
    mounted.call("create_change", "next", author="tester")
    mounted.call("switch_workspace", "ws-work", "next")
    (ws / "README.md").write_text("again\n")
    assert mounted.ops("next") == [("modify", "README.md")]


def test_a_reader_sees_the_old_file_or_the_new_one(mounted: Mounted) -> None:
    """While a file is replaced over and over nobody reads a mixture or a cut."""
    first = mounted.workspace()
    second = mounted.workspace_on("work")
    contents = [bytes([65 + n]) * (3000 + 5000 * n) for n in range(6)]
    (first / "f").write_bytes(contents[0])
    wrong: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                found = (second / "f").read_bytes()
            except OSError as error:
                wrong.append(repr(error))
                continue
            if found not in contents:
                wrong.append(f"{len(found)} bytes, {set(found)}")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for turn in range(60):
        (first / "tmp").write_bytes(contents[turn % 6])
        (first / "tmp").rename(first / "f")
        assert (second / "f").read_bytes() == contents[turn % 6]
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_a_workspace_shown_elsewhere(mounted: Mounted, tmp_path: Path) -> None:
    """The user's own directory shows the workspace, also after a restart; a full one is refused."""
    place = tmp_path / "mine"
    mounted.workspace(directory=str(place))
    workspace = mounted.call("workspace", "ws-work")
    mounted.call("attach", workspace["id"])
    try:
        (place / "README.md").write_text("here\n")
        assert mounted.ops() == [("modify", "README.md")]
        mounted.kill()
        with pytest.raises(OSError, match="not connected"):
            os.listdir(place)
        mounted.start()
        assert (place / "README.md").read_text() == "here\n"
        mounted.stop()
        assert list(place.iterdir()) == []
    finally:
        os.system(f"umount -l {place} 2>/dev/null")


def test_a_write_into_a_directory_that_moved_away_is_kept(mounted: Mounted) -> None:
    """A co-worker renames the directory of a file that is open: what is written goes to the log."""
    first = mounted.workspace()
    second = mounted.workspace_on("work")
    dirty = (first / "src/app.py").open("ab", buffering=0)
    dirty.write(b"dirty\n")
    clean = (first / "src/lib/util.py").open("ab", buffering=0)
    (second / "src").rename(second / "code")
    clean.write(b"clean\n")
    clean.close()
    dirty.close()
    contents = {name: mounted.read("ws-work", name) for name in mounted.files()}
    assert any(b"dirty\n" in content for content in contents.values())
    assert any(b"clean\n" in content for content in contents.values())
    contents.pop("link")
    assert {n: (first / n).read_bytes() for n in contents} == contents


def test_co_workers_at_once(mounted: Mounted) -> None:
    """Threads in two workspaces of a change and readers of a view end with one tree, all of them.

    A wait in the wrong place shows here as a deadlock in the kernel.
    """
    first = mounted.workspace()
    second = mounted.workspace_on("work")
    mounted.call("create_view", "v", owner="tester", base="latest", overlays=["work"])
    view = mounted.mountpoint / "views/v"
    # EEXIST: mkdir of pathlib, when the directory is renamed before it looks again.
    expected = {errno.ENOENT, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR, errno.EEXIST}
    wrong: list[OSError] = []

    def work(seed: int) -> None:
        choose = random.Random(seed)
        for _ in range(120):
            top = choose.choice([first, second])
            directory = top / choose.choice(["p", "q", "src", "r/s"])
            path = directory / f"f{choose.randrange(5)}"
            try:
                match choose.randrange(8):
                    case 0:
                        directory.mkdir(parents=True, exist_ok=True)
                    case 1 | 2:
                        path.write_bytes(bytes([65 + choose.randrange(20)]) * 5000)
                    case 3:
                        path.unlink()
                    case 4:
                        path.rename(directory / f"f{choose.randrange(5)}")
                    case 5:
                        (top / choose.choice("pq")).rename(top / choose.choice("pqr"))
                    case 6:
                        for file in view.rglob("f*"):
                            file.lstat()
                    case _:
                        with path.open("r+b") as opened:
                            opened.write(b"z" * 10)
                            os.fsync(opened.fileno())
            except OSError as error:
                if error.errno not in expected:
                    wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=45)
    if any(thread.is_alive() for thread in threads):
        mounted.kill()
        pytest.fail("deadlock")
    assert wrong == []
    logged = {
        name: mounted.read("ws-work", name)
        for name, (_, mode) in mounted.files().items()
        if mode != "120000"
    }
    for top in (first, second, view):
        found = {
            str(path.relative_to(top)): path.read_bytes()
            for path in top.rglob("*")
            if path.is_file() and not path.is_symlink()
        }
        assert found == logged
