# Plain calls: this looks at every open file of the machine.
# ruff: noqa: PTH115, PTH123, PTH208
"""The process that makes the kernel tell watchers of changes made elsewhere.

inotify fires for what programs do through the mount. So this process does, through the mount, what
would have brought about each change: it makes, opens for writing or removes the name, and the
daemon, which knows its process number, answers that it worked and changes nothing.

This file is that program, run by its path; it needs the standard library only. Requests and answers
are frames: four bytes of length, little-endian, then fields that NULs separate. Asked are ``scan
DEVICE``, answered by the inode numbers that somebody watches on a device, in hexadecimal (``*``: any
may be watched), ``probe NAME`` and ``lose NAME`` in the mount's top directory, and ``VERB DIRECTORY NAME
INODE``, all answered by an errno (0: done).
"""

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator

_INOTIFY = "anon_inode:inotify"
_FANOTIFY = "anon_inode:[fanotify]"
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
ANY = "*"


def main() -> None:
    """Serves requests until there are no more."""
    root = os.open(sys.argv[1], _DIRECTORY)
    while request := _receive():
        verb, *rest = request
        if verb == "scan":
            _send(" ".join(sorted(watched_inodes(int(rest[0])))))
            continue
        try:
            if verb == "probe":
                _probe(root, rest[0])
            elif verb == "lose":
                os.unlink(rest[0], dir_fd=root)
            else:
                _act(root, _VERBS[verb], *rest)
        except OSError as error:
            _send(str(error.errno))
        else:
            _send("0")


def _receive() -> list[str]:
    header = _exactly(4)
    return os.fsdecode(_exactly(int.from_bytes(header, "little"))).split("\0") if header else []


def _exactly(size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = os.read(0, size - len(data))
        if not more:
            return b""
        data += more
    return data


def _send(answer: str) -> None:
    data = answer.encode()
    os.write(1, len(data).to_bytes(4, "little") + data)


# What is watched


def watched_inodes(device: int) -> set[str]:
    """The inodes that inotify or fanotify watches on a device, as far as this user can see."""
    found: set[str] = set()
    for process in os.listdir("/proc"):
        if process.isdecimal():
            for line in _watches(process):
                fields = dict(field.split(":", 1) for field in line.split() if ":" in field)
                on = fields.get("sdev")
                if "ino" in fields:
                    if on is not None and int(on, 16) == device:
                        found.add(fields["ino"])
                elif on is None or int(on, 16) == device:
                    # A whole mount or filesystem is watched.
                    found.add(ANY)
    return found


def _watches(process: str) -> Iterator[str]:
    """The lines of ``/proc`` on the watches of a process."""
    directory = f"/proc/{process}/fd"
    try:
        numbers = os.listdir(directory)
    except OSError:
        return
    for number in numbers:
        try:
            kind = os.readlink(f"{directory}/{number}")
            if kind not in (_INOTIFY, _FANOTIFY):
                continue
            with open(f"/proc/{process}/fdinfo/{number}", encoding="utf-8") as info:
                lines = info.read().splitlines()
        except OSError:
            continue
        for line in lines:
            first, _, rest = line.partition(" ")
            # The line `fanotify flags:…` describes the group, not a mark.
            if first in ("inotify", "fanotify") and not rest.startswith("flags:"):
                yield rest


# What is done through the mount


def _probe(root: int, name: str) -> None:
    try:
        os.stat(name, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        pass


def _act(
    root: int, verb: Callable[[str, int], None], directory: str, name: str, inode: str
) -> None:
    """Does one thing in a directory, which must be the one meant, reached without any link."""
    place = os.dup(root)
    try:
        for part in directory.split("/"):
            below = os.open(part, _DIRECTORY, dir_fd=place)
            os.close(place)
            place = below
        found = os.fstat(place)
        if found.st_dev != os.fstat(root).st_dev or found.st_ino != int(inode):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        verb(name, place)
    finally:
        os.close(place)


def _touch(name: str, directory: int) -> None:
    """As a program that saves the file in place: opened, modified, closed after writing."""
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    fd = os.open(name, flags, dir_fd=directory)
    try:
        os.ftruncate(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)


_VERBS: dict[str, Callable[[str, int], None]] = {
    "mknod": lambda name, place: os.mknod(name, stat.S_IFREG | 0o600, dir_fd=place),
    "mkdir": lambda name, place: os.mkdir(name, 0o700, dir_fd=place),
    "symlink": lambda name, place: os.symlink(".", name, dir_fd=place),
    "touch": _touch,
    "unlink": lambda name, place: os.unlink(name, dir_fd=place),
    "rmdir": lambda name, place: os.rmdir(name, dir_fd=place),
}


if __name__ == "__main__":
    main()
