"""What a workspace keeps beside the log stays with its file, whatever becomes of the name."""

import os
import stat

import pytest

from tests.fs.conftest import Mounted


@pytest.mark.timeout(60)
def test_permissions_survive_a_kill(mounted: Mounted) -> None:
    """A file made or renamed a moment before is not open to all after the daemon was killed."""
    ws = mounted.workspace()
    os.close(os.open(ws / "secret", os.O_CREAT | os.O_WRONLY, 0o600))
    (ws / "README.md").chmod(0o640)
    os.chown(ws / "README.md", 1000, 1000)
    (ws / "README.md").rename(ws / "moved")
    (ws / "src/app.py").chmod(0o600)
    os.setxattr(ws / "src/app.py", "user.a", b"b")
    (ws / "src").rename(ws / "source")
    mounted.kill()
    mounted.start()
    assert stat.S_IMODE((ws / "secret").stat().st_mode) == 0o600
    status = (ws / "moved").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o640, 1000, 1000)
    assert stat.S_IMODE((ws / "source/app.py").stat().st_mode) == 0o600
    assert os.getxattr(ws / "source/app.py", "user.a") == b"b"


def test_extended_attributes_cross_the_border_to_scratch(mounted: Mounted) -> None:
    """A file that a rename makes ignored, and one that it takes into the log, keep theirs."""
    ws = mounted.workspace()
    os.setxattr(ws / "README.md", "user.a", b"b")
    (ws / "README.md").rename(ws / "x.log")
    assert os.getxattr(ws / "x.log", "user.a") == b"b"
    (ws / "x.log").rename(ws / "again")
    assert os.getxattr(ws / "again", "user.a") == b"b"
    (ws / "build").mkdir()
    (ws / "again").rename(ws / "build/again")
    (ws / "build").rename(ws / "built")
    assert os.getxattr(ws / "built/again", "user.a") == b"b"


def test_a_save_leaves_the_time_of_its_directory(mounted: Mounted) -> None:
    """Also in a change that moved a directory."""
    ws = mounted.workspace()
    (ws / "src/lib").rename(ws / "lib")
    os.utime(ws / "src", ns=(1, 2))
    (ws / "src/app.py").write_bytes(b"saved\n")
    assert (ws / "src").stat().st_mtime_ns == 2


@pytest.mark.parametrize("name", ["README.md", "src"])
def test_times_beyond_what_a_disk_holds(mounted: Mounted, name: str) -> None:
    """They become the last that ext4 has, and keep nothing else from being kept."""
    ws = mounted.workspace()
    for seconds, kept in ((9 * 10**18, 15_032_385_535), (-9 * 10**18, -(2**31)), (-5, -5)):
        os.utime(ws / name, times=(seconds, seconds))
        (ws / "README.md").chmod(0o755)
        for path in (ws / name, ws):
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        mounted.stop()
        mounted.start()
        status = (ws / name).stat()
        assert (status.st_mtime, status.st_atime) == (kept, kept)
        assert (ws / "README.md").stat().st_mode & 0o777 == 0o755
