# The system calls and their errno are what is tested.
# ruff: noqa: PT011
"""Open files as POSIX has them: unlinked, mapped, appended to, truncated, raced for; their times."""

import ctypes
import errno
import fcntl
import mmap
import os
import signal
import stat
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

import pytest

from tests.fs.conftest import Mounted, is_tracked

pytestmark = pytest.mark.timeout(60)

PAGE = mmap.PAGESIZE


def logged(mounted: Mounted, file: Path) -> bytes:
    """What the log has of a file in a `place`."""
    return mounted.read("ws-work", f"{file.parent.name}/{file.name}")


def test_an_unlinked_file_lives_as_long_as_it_is_open(mounted: Mounted, place: Path) -> None:
    """It is read, written, cut, given a mode and times; only nobody finds it, nor the log."""
    file = place / "f"
    file.write_text("begin")
    with file.open("r+b", buffering=0) as opened, file.open("rb", buffering=0) as other:
        fd = opened.fileno()
        number = os.fstat(fd).st_ino
        file.unlink()
        assert os.fstat(fd).st_nlink == 0
        assert os.fstat(fd).st_ino == number
        os.pwrite(fd, b"more", 5)
        assert other.read() == b"beginmore"
        os.ftruncate(fd, 7)
        os.fchmod(fd, 0o4711)
        os.utime(fd, ns=(1_000_000_007, 2_000_000_009))
        os.fsync(fd)
        status = os.fstat(fd)
        assert (status.st_size, stat.S_IMODE(status.st_mode)) == (7, 0o4711)
        assert (status.st_atime_ns, status.st_mtime_ns) == (1_000_000_007, 2_000_000_009)
        file.write_text("another")
        assert file.stat().st_ino != number
        os.pwrite(fd, b"B", 0)
        assert os.pread(fd, 100, 0) == b"Beginmo"
        assert file.read_text() == "another"
    if is_tracked(place):
        assert logged(mounted, file) == b"another"


def test_who_holds_a_fifo_goes_on_without_its_name(place: Path) -> None:
    """The kernel answers for what goes through it, the workspace for its attributes."""
    fifo = place / "fifo"
    os.mkfifo(fifo, 0o600)
    fd = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    number = os.fstat(fd).st_ino
    fifo.unlink()
    os.write(fd, b"through")
    os.fchmod(fd, 0o640)
    os.utime(fd, ns=(1_000_000_007, 2_000_000_009))
    status = os.fstat(fd)
    assert (status.st_ino, status.st_nlink, status.st_mode) == (number, 0, stat.S_IFIFO | 0o640)
    assert (status.st_atime_ns, status.st_mtime_ns) == (1_000_000_007, 2_000_000_009)
    assert os.read(fd, 100) == b"through"
    os.close(fd)


def test_a_descriptor_that_only_names_a_file_outlives_its_name(place: Path) -> None:
    """O_PATH: attributes are there, a file can still be opened, a link still read."""
    (place / "file").write_text("content")
    (place / "link").symlink_to("anywhere")
    (place / "replaced").write_text("replaced")
    fds = [
        os.open(place / name, os.O_PATH | os.O_NOFOLLOW) for name in ("file", "link", "replaced")
    ]
    file, link, replaced = fds
    before = [os.fstat(fd) for fd in fds]
    (place / "file").unlink()
    (place / "link").unlink()
    (place / "other").write_text("other")
    (place / "other").rename(place / "replaced")
    after = [os.fstat(fd) for fd in fds]
    assert [status.st_nlink for status in after] == [0, 0, 0]
    for field in ("st_ino", "st_mode", "st_size", "st_uid", "st_mtime_ns"):
        assert [getattr(status, field) for status in after] == [
            getattr(status, field) for status in before
        ]
    assert os.readlink(b"", dir_fd=link) == b"anywhere"
    assert Path(f"/proc/self/fd/{replaced}").read_bytes() == b"replaced"
    os.setxattr(f"/proc/self/fd/{file}", "user.kept", b"value")
    assert os.getxattr(f"/proc/self/fd/{file}", "user.kept") == b"value"
    with Path(f"/proc/self/fd/{file}").open("r+b") as opened:
        assert opened.read() == b"content"
    for fd in fds:
        os.close(fd)


def test_a_file_renamed_over_lives_on_too(mounted: Mounted, place: Path) -> None:
    """Who has the old one open goes on with it; the name leads to the new one."""
    (place / "old").write_text("old")
    (place / "new").write_text("new")
    with (place / "old").open("r+b", buffering=0) as opened:
        (place / "new").rename(place / "old")
        opened.seek(0, os.SEEK_END)
        opened.write(b" and on")
        opened.seek(0)
        assert opened.read() == b"old and on"
        assert os.fstat(opened.fileno()).st_nlink == 0
    assert (place / "old").read_text() == "new"
    if is_tracked(place):
        assert logged(mounted, place / "old") == b"new"


def test_a_shared_mapping_writes_the_file(mounted: Mounted, place: Path) -> None:
    """Other descriptors see it at once, msync logs it, and a private mapping changes nothing."""
    file = place / "f"
    file.write_bytes(b"." * PAGE)
    with file.open("r+b", buffering=0) as opened:
        shared = mmap.mmap(opened.fileno(), PAGE)
        private = mmap.mmap(opened.fileno(), PAGE, flags=mmap.MAP_PRIVATE)
        shared[:4] = b"here"
        private[10:14] = b"mine"
        assert os.pread(opened.fileno(), 5, 0) == b"here."
        with file.open("rb") as other:
            assert other.read(5) == b"here."
        shared.flush()
        if is_tracked(place):
            assert logged(mounted, file)[:5] == b"here."
        os.pwrite(opened.fileno(), b"written", 100)
        assert shared[100:107] == b"written"
        shared.close()
        private.close()
    assert file.read_bytes()[:15] == b"here" + b"." * 11


def test_a_mapping_outlives_its_descriptor(mounted: Mounted, place: Path) -> None:
    """What is written through it after close is logged when it is unmapped, without msync."""
    file = place / "f"
    file.write_bytes(b"." * PAGE)
    with file.open("r+b", buffering=0) as opened:
        shared = mmap.mmap(opened.fileno(), PAGE)
    shared[:5] = b"after"
    shared.close()
    assert file.read_bytes()[:6] == b"after."
    if is_tracked(place):
        assert logged(mounted, file)[:6] == b"after."


def test_a_mapping_of_a_program_that_is_killed(mounted: Mounted, place: Path) -> None:
    """What it wrote through it is in the file and in the log."""
    file = place / "f"
    file.write_bytes(b"." * PAGE)
    script = (
        "import mmap, sys, time\n"
        "with open(sys.argv[1], 'r+b') as f: shared = mmap.mmap(f.fileno(), 0)\n"
        "shared[:6] = b'killed'\n"
        "print('written', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, file], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert file.read_bytes()[:7] == b"killed."
    if is_tracked(place):
        assert logged(mounted, file)[:7] == b"killed."


def test_two_processes_append(mounted: Mounted, place: Path) -> None:
    """No line is lost, torn or twice."""
    file = place / "lines"
    script = (
        "import os, sys\n"
        "fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n"
        "for n in range(500): os.write(fd, f'{sys.argv[2]} {n}\\n'.encode())\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, file, name]) for name in ("a", "b", "c")
    ]
    assert [process.wait() for process in running] == [0, 0, 0]
    lines = file.read_text().splitlines()
    assert sorted(lines) == sorted(f"{name} {n}" for name in "abc" for n in range(500))
    assert [line for line in lines if line[0] == "a"] == [f"a {n}" for n in range(500)]
    if is_tracked(place):
        assert logged(mounted, file) == file.read_bytes()


def test_truncating_at_open(mounted: Mounted, place: Path) -> None:
    """O_TRUNC empties, also for reading and with O_CREAT; number, mode and names stay."""
    file = place / "f"
    file.write_text("content")
    file.chmod(0o750)
    before = file.stat()
    for flags in (os.O_WRONLY, os.O_RDONLY, os.O_RDWR | os.O_CREAT):
        file.write_text("content")
        os.close(os.open(file, flags | os.O_TRUNC, 0o600))
        after = file.stat()
        assert (after.st_size, after.st_ino, after.st_mode) == (0, before.st_ino, before.st_mode)
        assert file.read_bytes() == b""
    file.write_text("content")
    os.truncate(file, 3)
    assert file.read_text() == "con"
    os.truncate(file, 5)
    assert file.read_bytes() == b"con\0\0"
    if is_tracked(place):
        assert logged(mounted, file) == b"con\0\0"


def test_one_of_many_creates_exclusively(place: Path) -> None:
    """O_EXCL: of eight programs at once exactly one makes each file."""
    script = (
        "import os\n"
        "for n in range(60):\n"
        "    try: fd = os.open(f'race-{n}', os.O_CREAT | os.O_EXCL | os.O_WRONLY)\n"
        "    except FileExistsError: continue\n"
        "    os.write(fd, str(os.getpid()).encode()); os.close(fd); print(n)\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script], cwd=place, stdout=subprocess.PIPE)
        for _ in range(8)
    ]
    made: list[tuple[int, int]] = []
    for process in running:
        output, _ = process.communicate()
        assert process.returncode == 0
        made += [(int(line), process.pid) for line in output.split()]
    assert sorted(number for number, _ in made) == list(range(60))
    for number, pid in made:
        assert (place / f"race-{number}").read_text() == str(pid)


def test_unnamed_temporary_files(mounted: Mounted, place: Path) -> None:
    """O_TMPFILE is EOPNOTSUPP, for which programs make a file and unlink it."""
    with pytest.raises(OSError) as refused:
        os.open(place, os.O_TMPFILE | os.O_RDWR, 0o600)
    assert refused.value.errno == errno.EOPNOTSUPP
    with tempfile.TemporaryFile(dir=place) as file:
        file.write(b"temporary")
        file.seek(0)
        assert file.read() == b"temporary"
        assert list(place.iterdir()) == []
    assert not any(path.startswith("kept/") for path in mounted.files())


def test_times_to_the_nanosecond(mounted: Mounted, place: Path) -> None:
    """utimensat: each of the two, now, left alone, of a link itself; kept across a restart."""
    file, link = place / "f", place / "link"
    file.write_text("x")
    link.symlink_to("f")
    os.utime(file, ns=(1_111_111_111_123_456_789, 1_222_222_222_987_654_321))
    os.utime(link, ns=(5, 7), follow_symlinks=False)
    (place / "d").mkdir()
    os.utime(place / "d", ns=(11, 13))

    def times(path: Path) -> tuple[int, int]:
        status = path.lstat()
        return status.st_atime_ns, status.st_mtime_ns

    assert times(file) == (1_111_111_111_123_456_789, 1_222_222_222_987_654_321)
    changed = file.stat().st_ctime_ns
    subprocess.run(["touch", "-m", "-d", "@1333333333.5", file], check=True)
    assert times(file) == (1_111_111_111_123_456_789, 1_333_333_333_500_000_000)
    subprocess.run(["touch", "-a", "-d", "@1444444444.25", file], check=True)
    assert times(file) == (1_444_444_444_250_000_000, 1_333_333_333_500_000_000)
    assert file.stat().st_ctime_ns > changed
    mounted.restart()
    assert times(file) == (1_444_444_444_250_000_000, 1_333_333_333_500_000_000)
    assert times(link)[1] == 7
    assert times(place / "d") == (11, 13)
    os.utime(file)
    atime, mtime = times(file)
    assert atime == mtime > 1_700_000_000 * 10**9


def test_reading_leaves_the_time_of_access(mounted: Mounted, place: Path) -> None:
    """As on a disk mounted with noatime: reading, running and listing change no attribute."""
    file = place / "f"
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    os.utime(file, ns=(1_000_000_000, 2_000_000_000))
    before = file.stat()
    for _ in range(2):
        assert file.read_text() == "#!/bin/sh\n"
        subprocess.run([file], check=True)
        list(place.iterdir())
        after = file.stat()
        assert (after.st_atime_ns, after.st_mtime_ns) == (1_000_000_000, 2_000_000_000)
        assert after.st_ctime_ns == before.st_ctime_ns
        mounted.restart()


def test_writing_changes_the_times(place: Path) -> None:
    """A write moves mtime and ctime, a chmod ctime alone, a new name the directory's."""
    file = place / "f"
    file.write_text("x")
    os.utime(file, ns=(1, 1))
    created = place.stat().st_mtime_ns
    with file.open("ab", buffering=0) as opened:
        opened.write(b"y")
        written = os.fstat(opened.fileno())
    assert written.st_mtime_ns > created
    assert file.stat().st_mtime_ns == written.st_mtime_ns
    changed = file.stat().st_ctime_ns
    file.chmod(0o600)
    assert file.stat().st_mtime_ns == written.st_mtime_ns
    assert file.stat().st_ctime_ns > changed
    assert place.stat().st_mtime_ns == created
    (place / "g").touch()
    assert place.stat().st_mtime_ns > created


def test_the_disk_is_told_of(mounted: Mounted, place: Path) -> None:
    """statfs and `df` give the disk below; what ioctl does not know is ENOTTY."""
    shown, disk = os.statvfs(place), os.statvfs(mounted.repository)
    assert (shown.f_frsize, shown.f_blocks) == (disk.f_frsize, disk.f_blocks)
    assert shown.f_namemax == 255
    assert 0 < shown.f_bavail <= disk.f_blocks
    output = subprocess.run(
        ["df", "--output=size,target", place], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert output[1].split() == [
        str(disk.f_blocks * disk.f_frsize // 1024),
        str(mounted.mountpoint),
    ]
    (place / "f").write_text("x")
    with (place / "f").open("rb") as opened:
        assert not os.isatty(opened.fileno())
        with pytest.raises(OSError) as refused:
            fcntl.ioctl(opened.fileno(), termios.TIOCGWINSZ, ctypes.create_string_buffer(64))
        assert refused.value.errno == errno.ENOTTY
