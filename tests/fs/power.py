"""A disk whose power can be cut: what was not on it by then is gone.

An ext4 filesystem on a loop device. EXT4_IOC_SHUTDOWN without a flush of the journal makes it
forget all that it had not written, as a machine does that loses power. Before that, `write_back`
may write any part of what is not synced, as the kernel does by itself, in no order.
"""

import ctypes
import fcntl
import os
import random
import struct
import subprocess
import time
from pathlib import Path

_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
_WITHOUT_LOG_FLUSH = struct.pack("I", 2)
_WRITE_AND_WAIT = 7  # SYNC_FILE_RANGE_WAIT_BEFORE | _WRITE | _WAIT_AFTER
_libc = ctypes.CDLL(None, use_errno=True)
_libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]


class Disk:
    """The filesystem, mounted at ``place``; of its size the image has what was written."""

    def __init__(self, image: Path, place: Path, size_bytes: int) -> None:
        self.image = image
        self.place = place
        place.mkdir()
        with image.open("wb") as file:
            file.truncate(size_bytes)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
        self.mount()

    def mount(self) -> None:
        """Makes it available; after a cut that replays its journal."""
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.place)], check=True)

    def unmount(self) -> None:
        """Takes it away, as soon as those who were killed are gone."""
        deadline = time.monotonic() + 20
        while subprocess.run(["umount", str(self.place)], capture_output=True).returncode:
            assert time.monotonic() < deadline, "somebody still uses the disk"
            time.sleep(0.02)

    def cut_power(self) -> None:
        """Forgets what is not on the disk; from now on nothing gets there."""
        descriptor = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, _WITHOUT_LOG_FLUSH)
        finally:
            os.close(descriptor)

    def write_back(self, below: Path, chance: random.Random) -> None:
        """Puts some of what is not synced on the disk: pages of some files, names perhaps."""
        # Programs go on meanwhile: what they just removed is left out.
        found = [Path(place, name) for place, _, names in os.walk(below) for name in names]
        files = [path for path in found if path.is_file() and not path.is_symlink()]
        chance.shuffle(files)
        share = chance.choice([0.0, 0.2, 0.5, 0.9])
        for path in files:
            if chance.random() < share:
                _write_pages(path)
        if chance.random() < 0.7:
            # ext4 commits all names with one file's.
            with (self.place / "unrelated").open("wb") as unrelated:
                unrelated.write(os.urandom(10))
                os.fsync(unrelated.fileno())


def write_pages_of(path: Path) -> None:
    """Has the kernel write a file's pages, and what the filesystem knows of it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_pages(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        _libc.sync_file_range(descriptor, 0, 0, _WRITE_AND_WAIT)
    finally:
        os.close(descriptor)
