# The system calls and their errno are what is tested.
# ruff: noqa: PT011
"""A stored content that is missing or damaged: never shown, never passed on, told by name."""

import errno
import os
import random
from hashlib import sha256
from pathlib import Path

import pytest

from tests.fs.conftest import MAIN_FILES, Mounted
from tests.support.damage import damage

pytestmark = pytest.mark.timeout(60)
README = MAIN_FILES["README.md"]
LARGE = random.Random(1).randbytes(3 << 20)


def place_of(mounted: Mounted, content: bytes) -> Path:
    """Where a content is stored."""
    name = sha256(content).hexdigest()
    return mounted.repository / ".patchwork/blobs" / name[:2] / name[2:]


def hurt(mounted: Mounted, content: bytes, kind: str = "flipped") -> str:
    """Damages a stored content and says so to the fixture; gives its name."""
    mounted.is_damaged = True
    mounted.expected_log.append("a stored content is damaged")
    damage(kind, place_of(mounted, content))
    return sha256(content).hexdigest()


def errno_of_reading(path: Path) -> int | None:
    """What reading a file fails with."""
    try:
        path.read_bytes()
    except OSError as error:
        return error.errno
    return None


@pytest.mark.parametrize("kind", ["flipped", "directory", "fifo", "gone"])
def test_reading_it_is_eio(mounted: Mounted, kind: str) -> None:
    """Wherever it is shown; everything beside it can be read, and its directory listed.

    The log, an event and fsck name the blob, the file and what has it; once, however often it is
    read.
    """
    ws = mounted.workspace()
    name = hurt(mounted, README, kind)
    for directory in (mounted.main, ws, mounted.main):
        assert errno_of_reading(directory / "README.md") == errno.EIO
        assert (directory / "README.md").stat().st_size == len(README)
        assert "README.md" in [path.name for path in directory.iterdir()]
        assert (directory / "run.sh").read_bytes() == MAIN_FILES["run.sh"]
    (event,) = [each for each in mounted.call("events") if each["type"] == "blob_damaged"]
    assert event["payload"]["content_hash"] == name
    assert event["payload"]["path"] == "README.md"
    assert event["payload"]["view_id"] == "main"
    assert mounted.log.read_text().count(name) == 1
    (problem,) = mounted.call("fsck")["problems"]
    assert problem.startswith(f"blob {name} is {'missing' if kind == 'gone' else 'damaged'}")
    assert "(README.md in initial-import) names it; landing" in problem
    assert "main/README.md shows it; ws-work/README.md shows it" in problem


@pytest.mark.parametrize("kind", ["flipped", "gone"])
def test_a_large_one_is_found_too(mounted: Mounted, kind: str) -> None:
    """It is read beforehand in a thread, by the first of many requests."""
    ws = mounted.workspace()
    (ws / "large").write_bytes(LARGE)
    mounted.call("land", "work", agent="tester")
    hurt(mounted, LARGE, kind)
    assert errno_of_reading(mounted.main / "large") == errno.EIO
    place_of(mounted, LARGE).unlink(missing_ok=True)
    other = mounted.workspace("other")
    (other / "again").write_bytes(LARGE)
    assert (mounted.main / "large").read_bytes() == LARGE


@pytest.mark.parametrize("kind", ["flipped", "directory", "fifo", "gone"])
def test_damage_after_it_was_found_good_is_found(mounted: Mounted, kind: str) -> None:
    """Who opened it before, and who does afterwards in another place, get no other bytes."""
    early = os.open(mounted.main / "README.md", os.O_RDONLY)
    assert os.read(early, 1 << 20) == README
    first, second = (mounted.workspace(name) for name in ("first", "second"))
    assert (first / "README.md").read_bytes() == README
    assert (second / "README.md").stat().st_size == len(README)
    hurt(mounted, README, kind)
    assert errno_of_reading(second / "README.md") == errno.EIO
    os.posix_fadvise(early, 0, 0, os.POSIX_FADV_DONTNEED)
    with pytest.raises(OSError) as refused:
        os.pread(early, 1 << 20, 0)
    assert refused.value.errno == errno.EIO
    os.close(early)


def test_it_is_not_copied_on_writing(mounted: Mounted) -> None:
    """Opening it to change a part is EIO and logs nothing; so are link and copy of its bytes."""
    ws = mounted.workspace()
    hurt(mounted, README)
    for flags in (os.O_RDWR, os.O_WRONLY, os.O_WRONLY | os.O_APPEND):
        with pytest.raises(OSError) as refused:
            os.open(ws / "README.md", flags)
        assert refused.value.errno == errno.EIO
    with pytest.raises(OSError) as refused:
        os.truncate(ws / "README.md", 3)
    assert refused.value.errno == errno.EIO
    with pytest.raises(OSError) as refused:
        (ws / "README.md").rename(ws / "readme.log")
    assert refused.value.errno == errno.EIO
    assert mounted.ops() == []
    assert (ws / "README.md").stat().st_size == len(README)


def test_a_damaged_file_can_be_saved_anew(mounted: Mounted) -> None:
    """By cutting it, or over it; what had the old content goes on saying so."""
    ws = mounted.workspace()
    hurt(mounted, README)
    hurt(mounted, MAIN_FILES["run.sh"])
    (ws / "README.md").write_bytes(b"new\n")
    assert (ws / "README.md").read_bytes() == b"new\n"
    (ws / "run.sh~").write_bytes(b"new\n")
    (ws / "run.sh~").rename(ws / "run.sh")
    assert (ws / "run.sh").read_bytes() == b"new\n"
    assert errno_of_reading(mounted.main / "README.md") == errno.EIO
    mounted.call("land", "work", agent="tester")
    assert (mounted.main / "README.md").read_bytes() == b"new\n"


@pytest.mark.parametrize("kind", ["zeros", "link"])
def test_saving_the_same_content_mends_it(mounted: Mounted, kind: str) -> None:
    """Whoever has the bytes saves them, and every view that shows them is whole again."""
    ws = mounted.workspace()
    hurt(mounted, README, kind)
    assert errno_of_reading(mounted.main / "README.md") == errno.EIO
    (ws / "elsewhere").write_bytes(README)
    assert (mounted.main / "README.md").read_bytes() == README
    assert mounted.call("fsck")["problems"] == []


def test_a_merge_with_it_is_eio_and_is_not_landed(mounted: Mounted) -> None:
    """The view that has to merge it shows the file and lists the directory, but reads no bytes."""
    lines = MAIN_FILES["src/app.py"]
    first = mounted.call("landings")[0]["seq"]
    one, two = mounted.workspace("One"), mounted.workspace("Two")
    for ws, line in ((one, b"one"), (two, b"seven")):
        (ws / "src/app.py").write_bytes(lines.replace(line, line.upper()))
    hurt(mounted, lines)
    mounted.expected_log.append("request failed")
    mounted.call("create_view", "both", owner="t", base="latest", overlays=["one", "two"])
    both = mounted.mountpoint / "views/both/src"
    assert sorted(path.name for path in both.iterdir()) == ["app.py", "lib"]
    assert errno_of_reading(both / "app.py") == errno.EIO
    assert (both / "lib/util.py").read_bytes() == MAIN_FILES["src/lib/util.py"]
    mounted.call("land", "one", agent="tester")
    with pytest.raises(Exception, match="blob_damaged"):
        mounted.call("land", "two", agent="tester")
    assert (mounted.main / "src/app.py").read_bytes() == lines.replace(b"one", b"ONE")
    with pytest.raises(Exception, match="blob_damaged"):
        mounted.call("diff", "two")
    with pytest.raises(Exception, match="blob_damaged"):
        mounted.call("read_file", f"at-{first}", "src/app.py")
    (mounted.workspace("mend") / "copy").write_bytes(lines)
    mounted.call("land", "two", agent="tester")
    merged = lines.replace(b"one", b"ONE").replace(b"seven", b"SEVEN")
    assert (mounted.main / "src/app.py").read_bytes() == merged


def test_an_open_file_goes_on(mounted: Mounted) -> None:
    """What was verified and is open stays so for its readers, as on any disk."""
    with (mounted.main / "README.md").open("rb", buffering=0) as file:
        assert file.read(2) == README[:2]
        hurt(mounted, README, "gone")
        assert file.read() == README[2:]


def test_a_damaged_link_is_eio(mounted: Mounted) -> None:
    """A symbolic link's target is a content like any other."""
    hurt(mounted, b"README.md")
    with pytest.raises(OSError) as refused:
        (mounted.main / "link").readlink()
    assert refused.value.errno == errno.EIO
