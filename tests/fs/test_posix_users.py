# The system calls and their errno are what is tested.
"""Several users in one workspace: owners, groups and modes decide, and stay as they are."""

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fs.conftest import Mounted, is_tracked, serving
from tests.support.syscalls import fallocate

pytestmark = pytest.mark.timeout(60)


@dataclass(frozen=True)
class User:
    """Whom a system call is made as."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    umask: int = 0o022

    def does(self, action: Callable[[], object]) -> int:
        """Does something in a process of the user's; returns the errno, 0 for success."""
        pid = os.fork()
        if pid == 0:
            number = 255
            try:
                os.setgroups(self.groups)
                os.setresgid(self.gid, self.gid, self.gid)
                os.setresuid(self.uid, self.uid, self.uid)
                os.umask(self.umask)
                action()
                number = 0
            except OSError as error:
                number = error.errno or 255
            finally:
                os._exit(number)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status)


ADA = User(1000, 1000)
BOB = User(1001, 1001)
CAROL = User(1002, 1002, groups=(1000,))
ROOT = User(0, 0)


@pytest.fixture
def mounted() -> Iterator[Mounted]:
    """The mount in a place that every user may pass through; pytest's own are root's."""
    if os.geteuid() != 0:
        pytest.fail("acting as other users takes root; run these tests as root")
    with tempfile.TemporaryDirectory(prefix="patchwork-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        with serving(Path(name)) as mounted:
            yield mounted


@pytest.fixture
def shared(mounted: Mounted, place: Path) -> Path:
    """A directory in which every user may make files."""
    place.chmod(0o777)
    return place


def owner_and_mode(path: Path) -> tuple[int, int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


def everything(top: Path) -> dict[str, tuple[int, int, int]]:
    """Owner, group and mode of each name below a directory, itself among them."""
    return {str(path.relative_to(top)): owner_and_mode(path) for path in [top, *top.rglob("*")]}


def test_what_is_made_is_the_makers(mounted: Mounted, shared: Path) -> None:
    """Owner, group and umask of whoever asks, for each kind; after a restart, too."""
    careful = User(1000, 1000, umask=0o027)
    assert ADA.does(lambda: (shared / "file").write_text("x")) == 0
    assert careful.does(lambda: (shared / "careful").write_text("x")) == 0
    assert careful.does(lambda: (shared / "d").mkdir()) == 0
    assert careful.does(lambda: (shared / "d/below").write_text("x")) == 0
    assert ADA.does(lambda: (shared / "link").symlink_to("file")) == 0
    assert ADA.does(lambda: os.mkfifo(shared / "fifo", 0o666)) == 0
    expected = {
        ".": (0, 0, 0o777),
        "file": (1000, 1000, 0o644),
        "careful": (1000, 1000, 0o640),
        "d": (1000, 1000, 0o750),
        "d/below": (1000, 1000, 0o640),
        "link": (1000, 1000, 0o777),
        "fifo": (1000, 1000, 0o644),
    }
    assert everything(shared) == expected
    mounted.restart()
    assert everything(shared) == expected
    if is_tracked(shared):
        rows = mounted.call("ops", change_id="work")
        assert {row["new"]["process"]["uid"] for row in rows} == {1000}


def test_modes_decide_who_may(shared: Path) -> None:
    """Reading, writing, listing, passing through, running; access(2) says the same."""
    secret, group, public = shared / "secret", shared / "group", shared / "public"
    for path, mode in ((secret, 0o600), (group, 0o660), (public, 0o644)):
        path.write_text("x")
        os.chown(path, 1000, 1000)
        path.chmod(mode)
    expectations = [
        (ADA, secret, True, True),
        (BOB, secret, False, False),
        (CAROL, secret, False, False),
        (CAROL, group, True, True),
        (BOB, group, False, False),
        (BOB, public, True, False),
        (ROOT, secret, True, True),
    ]
    for user, path, may_read, may_write in expectations:

        def reading(path: Path = path) -> None:
            path.read_text()

        def writing(path: Path = path) -> None:
            with path.open("a") as file:
                file.write("y")

        def asking(path: Path = path, want: tuple[bool, bool] = (may_read, may_write)) -> None:
            assert (os.access(path, os.R_OK), os.access(path, os.W_OK)) == want

        assert user.does(reading) == (0 if may_read else errno.EACCES), (user, path)
        assert user.does(writing) == (0 if may_write else errno.EACCES), (user, path)
        assert user.does(asking) == 0, (user, path)
    assert BOB.does(lambda: os.execv(public, ["public"])) == errno.EACCES


def test_directories_decide_too(shared: Path) -> None:
    """Without x nothing inside is reached, without r it is not listed, without w nothing made."""
    closed, passage = shared / "closed", shared / "passage"
    for directory, mode in ((closed, 0o700), (passage, 0o711)):
        directory.mkdir()
        (directory / "inside").write_text("x")
        os.chown(directory, 1000, 1000)
        directory.chmod(mode)
    assert BOB.does(lambda: (closed / "inside").stat()) == errno.EACCES
    assert BOB.does(lambda: os.listdir(closed)) == errno.EACCES
    assert BOB.does(lambda: os.chdir(closed)) == errno.EACCES
    assert BOB.does(lambda: (passage / "inside").read_text()) == 0
    assert BOB.does(lambda: os.listdir(passage)) == errno.EACCES
    assert BOB.does(lambda: (passage / "new").write_text("x")) == errno.EACCES
    assert BOB.does(lambda: (passage / "inside").unlink()) == errno.EACCES
    assert BOB.does(lambda: (passage / "inside").rename(shared / "out")) == errno.EACCES
    assert ADA.does(lambda: (closed / "inside").rename(closed / "renamed")) == 0
    # A directory that one has open is used on after its mode changed, as its owner sees it.
    assert ADA.does(lambda: os.listdir(closed)) == 0


def test_only_owners_change_attributes(shared: Path) -> None:
    """chmod, chown and utime by others are refused; a group of one's own may be given."""
    file = shared / "f"
    file.write_text("x")
    os.chown(file, 1000, 1000)
    assert BOB.does(lambda: file.chmod(0o777)) == errno.EPERM
    assert BOB.does(lambda: os.utime(file, ns=(1, 1))) == errno.EPERM
    assert BOB.does(lambda: os.utime(file)) == errno.EACCES
    assert ADA.does(lambda: os.chown(file, 1001, -1)) == errno.EPERM
    assert ADA.does(lambda: os.chown(file, -1, 1001)) == errno.EPERM
    member = User(1000, 1000, groups=(3000,))
    assert member.does(lambda: os.chown(file, -1, 3000)) == 0
    assert ADA.does(lambda: file.chmod(0o604)) == 0
    assert owner_and_mode(file) == (1000, 3000, 0o604)
    assert ROOT.does(lambda: os.chown(file, 1001, 1001)) == 0
    assert BOB.does(lambda: file.chmod(0o640)) == 0
    assert owner_and_mode(file) == (1001, 1001, 0o640)
    assert BOB.does(lambda: os.setxattr(file, "user.a", b"x")) == 0
    assert ADA.does(lambda: os.setxattr(file, "user.a", b"y")) == errno.EACCES
    assert BOB.does(lambda: os.setxattr(file, "trusted.a", b"y")) == errno.EPERM


def test_setgid_directories(mounted: Mounted, shared: Path) -> None:
    """What is made inside has the directory's group; directories inside are setgid again."""
    team = shared / "team"
    team.mkdir()
    os.chown(team, 0, 3000)
    team.chmod(0o2777)
    assert ADA.does(lambda: (team / "file").write_text("x")) == 0
    assert ADA.does(lambda: (team / "sub").mkdir()) == 0
    assert ADA.does(lambda: (team / "sub/deep").mkdir()) == 0
    assert ADA.does(lambda: (team / "sub/deep/file").write_text("x")) == 0
    assert ADA.does(lambda: (team / "link").symlink_to("x")) == 0
    assert ADA.does(lambda: os.mkfifo(team / "fifo")) == 0
    expected = {
        "file": (1000, 3000, 0o644),
        "sub": (1000, 3000, 0o2755),
        "sub/deep": (1000, 3000, 0o2755),
        "sub/deep/file": (1000, 3000, 0o644),
        "link": (1000, 3000, 0o777),
        "fifo": (1000, 3000, 0o644),
    }
    assert everything(team) == {".": (0, 3000, 0o2777), **expected}
    mounted.restart()
    assert everything(team) == {".": (0, 3000, 0o2777), **expected}
    assert ADA.does(lambda: (team / "sub/after").mkdir()) == 0
    assert owner_and_mode(team / "sub/after") == (1000, 3000, 0o2755)
    # Who is not in the group cannot make a setgid file of it.
    assert ADA.does(lambda: (team / "file").chmod(0o2755)) == 0
    assert owner_and_mode(team / "file")[2] == 0o755


def test_sticky_directories(mounted: Mounted, shared: Path) -> None:
    """Others' files are not removed or renamed where the directory is sticky."""
    shared.chmod(0o1777)
    assert ADA.does(lambda: (shared / "adas").write_text("x")) == 0
    assert ADA.does(lambda: (shared / "dir").mkdir()) == 0
    mounted.restart()
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777
    assert BOB.does(lambda: (shared / "adas").unlink()) == errno.EPERM
    assert BOB.does(lambda: (shared / "adas").rename(shared / "bobs")) == errno.EPERM
    assert BOB.does(lambda: (shared / "dir").rmdir()) == errno.EPERM
    assert BOB.does(lambda: (shared / "bobs").write_text("y")) == 0
    assert BOB.does(lambda: (shared / "bobs").rename(shared / "adas")) == errno.EPERM
    assert ADA.does(lambda: (shared / "adas").rename(shared / "still")) == 0
    assert ADA.does(lambda: (shared / "still").unlink()) == 0
    assert ROOT.does(lambda: (shared / "bobs").unlink()) == 0


def test_set_user_bits_do_not_outlive_a_change(mounted: Mounted, shared: Path) -> None:
    """Writing, truncating, allocating and giving away a file take setuid and setgid from it."""
    file = shared / "f"

    def append() -> None:
        with file.open("ab") as opened:
            opened.write(b"y")

    def allocate() -> None:
        with file.open("r+b") as opened:
            fallocate(opened.fileno(), 0, 0, 100)

    changes: list[Callable[[], object]] = [
        append,
        allocate,
        lambda: os.truncate(file, 1),
        lambda: file.write_text("z"),
    ]
    for change in changes:
        file.write_text("xx")
        os.chown(file, 1000, 1000)
        file.chmod(0o6777)
        assert stat.S_IMODE(file.stat().st_mode) == 0o6777
        assert BOB.does(change) == 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o777, change
    file.chmod(0o6755)
    member = User(1000, 1000, groups=(3000,))
    assert member.does(lambda: os.chown(file, -1, 3000)) == 0
    assert owner_and_mode(file) == (1000, 3000, 0o755)
    file.chmod(0o6755)
    mounted.restart()
    assert owner_and_mode(file) == (1000, 3000, 0o6755)


def test_what_is_read_only_is_so_for_all(mounted: Mounted) -> None:
    """main belongs to the daemon's user, who has no more right to write it than others."""
    assert owner_and_mode(mounted.main / "README.md") == (0, 0, 0o644)
    assert ADA.does(lambda: (mounted.main / "README.md").read_text()) == 0
    assert ADA.does(lambda: (mounted.main / "new").write_text("x")) in (errno.EACCES, errno.EROFS)
    assert ROOT.does(lambda: (mounted.main / "new").write_text("x")) == errno.EROFS
