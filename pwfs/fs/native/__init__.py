"""The native library: requests that pyfuse3 does not know, and those that need no Python.

It must be loaded before pyfuse3 is imported, so `pwfs.fs` does it first of all. Where it could not
be built, or is switched off by ``PATCHWORK_NATIVE=0``, the mount works without: the kernel then
refuses fallocate with EOPNOTSUPP, shows every file as data without holes, and copies by reading
and writing, and Python answers every request. `hatch_build.py` compiles the library: ``session.c``
adds handlers, ``reading.c`` takes requests from the kernel, waiting as ``lead.c`` says, ``answering.c`` and ``ondisk.c`` answer
some at once, as far as ``grants.c`` says that they may, reading what ``stored.c`` knows to be good, and
``news.c`` keeps what is to be told of it.
"""

import ctypes
import enum
import os
from pathlib import Path

from pwfs.store.verifying import GoodFile

_LIBRARY = Path(__file__).with_name("libpatchworkfs.so")
SWITCH = "PATCHWORK_NATIVE"

_NEWS_AT_ONCE = 64
_SECOND_NS = 1_000_000_000
CHANGED = 0
LOOKED_UP = (1 << 64) - 1

_Request = ctypes.c_void_p
_Fallocate = ctypes.CFUNCTYPE(
    None, _Request, ctypes.c_uint64, ctypes.c_int, ctypes.c_int64, ctypes.c_int64
)
_Lseek = ctypes.CFUNCTYPE(None, _Request, ctypes.c_uint64, ctypes.c_int64, ctypes.c_int)
_CopyFileRange = ctypes.CFUNCTYPE(
    None,
    _Request,
    ctypes.c_uint64,
    ctypes.c_int64,
    ctypes.c_uint64,
    ctypes.c_int64,
    ctypes.c_uint64,
)


class Handlers(ctypes.Structure):
    """``struct patchwork_handlers``; who registers it keeps it alive."""

    _fields_ = (
        ("fallocate", _Fallocate),
        ("lseek", _Lseek),
        ("copy_file_range", _CopyFileRange),
    )


class Connection(ctypes.Structure):
    """``struct patchwork_connection``: what the kernel introduced itself with."""

    _fields_ = (
        ("minor", ctypes.c_uint32),
        ("max_readahead", ctypes.c_uint32),
        ("capable", ctypes.c_uint32),
    )


class Granted(enum.IntEnum):
    """``enum patchwork_kind``: what is granted.

    A file whose bytes do not change; a real file, of which more is answered, and `take_news` tells
    of it; a directory: what is not in the one that ``fd`` is of, is nowhere; what `stat` shows of any
    other directory; a file that is open for writing and has no extended attribute.
    """

    AT_REST = 0
    ON_DISK = 1
    NAMES = 2
    SHOWN = 3
    PLAIN = 4


class News(ctypes.Structure):
    """``struct news``: a handle of an inode was released, or else `CHANGED` or `LOOKED_UP`."""

    _fields_ = (("ino", ctypes.c_uint64), ("what", ctypes.c_uint64))


class Shown(ctypes.Structure):
    """``struct fuse_attr``: what stat(2) shows."""

    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("ino", "size", "blocks", "atime", "mtime", "ctime")),
        *((f"{name}nsec", ctypes.c_uint32) for name in ("atime", "mtime", "ctime")),
        *((name, ctypes.c_uint32) for name in ("mode", "nlink", "uid", "gid", "rdev")),
        *((name, ctypes.c_uint32) for name in ("blksize", "flags")),
    )


class Library:
    """The loaded library, and with it the answers of libfuse's that we give ourselves."""

    def __init__(self, loaded: ctypes.CDLL) -> None:
        loaded.patchwork_answer_by.argtypes = [ctypes.POINTER(Handlers)]
        loaded.patchwork_answer_by.restype = None
        loaded.patchwork_session.argtypes = []
        loaded.patchwork_session.restype = ctypes.c_void_p
        loaded.patchwork_keep_opendir.argtypes = []
        loaded.patchwork_keep_opendir.restype = None
        loaded.patchwork_leave_listing.argtypes = []
        loaded.patchwork_leave_listing.restype = None
        loaded.patchwork_connected.argtypes = [ctypes.POINTER(Connection)]
        loaded.patchwork_connected.restype = None
        loaded.patchwork_take.argtypes = [ctypes.c_int, ctypes.c_int]
        loaded.patchwork_take.restype = ctypes.c_int
        loaded.patchwork_take_nothing.argtypes = []
        loaded.patchwork_take_nothing.restype = None
        loaded.patchwork_waiting.argtypes = []
        loaded.patchwork_waiting.restype = ctypes.c_size_t
        loaded.patchwork_await.argtypes = []
        loaded.patchwork_await.restype = ctypes.c_int
        loaded.patchwork_grant.argtypes = [
            *(ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int),
            *(ctypes.c_int, ctypes.c_uint64),
        ]
        loaded.patchwork_grant.restype = ctypes.c_int
        loaded.patchwork_knows.argtypes = [ctypes.c_uint64]
        loaded.patchwork_knows.restype = ctypes.c_int
        loaded.patchwork_know.argtypes = [
            *(ctypes.c_uint64, ctypes.c_char_p, ctypes.c_uint64, ctypes.c_uint64),
            *(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64),
        ]
        loaded.patchwork_know.restype = None
        loaded.patchwork_revoke.argtypes = [ctypes.c_uint64]
        loaded.patchwork_revoke.restype = ctypes.c_uint64
        loaded.patchwork_granted_opens.argtypes = []
        loaded.patchwork_granted_opens.restype = ctypes.c_uint64
        loaded.patchwork_show.argtypes = [ctypes.c_uint64, ctypes.POINTER(Shown), ctypes.c_int]
        loaded.patchwork_show.restype = None
        loaded.patchwork_touched.argtypes = [ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint32]
        loaded.patchwork_touched.restype = None
        loaded.patchwork_keep_sources.argtypes = [ctypes.c_size_t]
        loaded.patchwork_keep_sources.restype = None
        loaded.patchwork_take_news.argtypes = [ctypes.POINTER(News), ctypes.c_size_t]
        loaded.patchwork_take_news.restype = ctypes.c_size_t
        self._news_count = ctypes.c_size_t.in_dll(loaded, "patchwork_news_count")
        loaded.patchwork_pass.argtypes = [ctypes.c_uint32]
        loaded.patchwork_pass.restype = None
        # pyfuse3's handler, which it comes to call, is Python: it needs the lock that CDLL lets go.
        self._resume = ctypes.PyDLL(os.fspath(_LIBRARY)).patchwork_resume
        self._resume.argtypes = [ctypes.POINTER(Connection)]
        self._resume.restype = ctypes.c_int
        loaded.fuse_reply_err.argtypes = [_Request, ctypes.c_int]
        loaded.fuse_reply_write.argtypes = [_Request, ctypes.c_size_t]
        loaded.fuse_reply_lseek.argtypes = [_Request, ctypes.c_int64]
        self._loaded = loaded

    @property
    def is_in_force(self) -> bool:
        """Whether pyfuse3 made its session through it."""
        return self._loaded.patchwork_session() is not None

    def connected(self) -> tuple[int, int, int]:
        """What the kernel introduced itself with, for `resume`."""
        found = Connection()
        self._loaded.patchwork_connected(ctypes.byref(found))
        return found.minor, found.max_readahead, found.capable

    def keep_opendir(self) -> None:
        """Has the kernel open directories as older ones do; before there is a session."""
        self._loaded.patchwork_keep_opendir()

    def leave_listing(self) -> None:
        """Has the answer that is given next end a listing without the kernel's keeping it."""
        self._loaded.patchwork_leave_listing()

    # Taking requests

    def take(self, fuse_fd: int, threads: int) -> int | None:
        """Begins to take requests from the kernel.

        Returns a descriptor that is readable while some wait for Python; None if it is refused.
        """
        fd: int = self._loaded.patchwork_take(fuse_fd, threads)
        return None if fd < 0 else fd

    def take_nothing(self) -> None:
        """Leaves all further requests in the kernel, for whoever goes on with the connection."""
        self._loaded.patchwork_take_nothing()

    def waiting(self) -> int:
        """How many requests were taken and wait for Python."""
        count: int = self._loaded.patchwork_waiting()
        return count

    # Grants

    def await_request(self) -> bool:
        """Waits for as long as that is cheaper than to sleep, with the interpreter's lock free.

        Returns whether a request waits for Python. The library learns how long it pays.
        """
        return bool(self._loaded.patchwork_await())

    def grant(
        self, ino: int, kind: Granted, fd: int, *, opens: int = 0, good: GoodFile | None = None
    ) -> bool:
        """Lets an inode be opened for reading without asking, read from a copy of ``fd`` (-1: none).

        ``opens`` of the handles that were made so are still open; ``good`` is the file of its
        content, where that was found good already. False if there is no memory.
        """
        number = 0
        if good is not None:
            number = good.number
            if not self._loaded.patchwork_knows(number):
                self._loaded.patchwork_know(number, os.fsencode(good.path), *good.identity)
        refused: int = self._loaded.patchwork_grant(ino, opens, fd, kind, number)
        return refused == 0

    def revoke(self, ino: int) -> int:
        """Ends that; returns how many of the handles that were made so are still open."""
        opens: int = self._loaded.patchwork_revoke(ino)
        return opens

    def granted_opens(self) -> int:
        """How many files are open by handles that were made so."""
        opens: int = self._loaded.patchwork_granted_opens()
        return opens

    def keep_sources(self, count: int) -> None:
        """Says how many descriptors are kept for what is granted."""
        self._loaded.patchwork_keep_sources(count)

    def show(self, ino: int, shown: Shown, *, atime_follows: bool) -> None:
        """Says what stat(2) shows of a directory that is granted.

        ``atime_follows``: the time of access is that of the last change, `touched` or not.
        """
        self._loaded.patchwork_show(ino, ctypes.byref(shown), atime_follows)

    def touched(self, ino: int, changed_ns: int) -> None:
        """Says when a name in a directory changed last, if that is granted."""
        self._loaded.patchwork_touched(ino, changed_ns // _SECOND_NS, changed_ns % _SECOND_NS)

    def take_news(self) -> list[tuple[int, int]]:
        """Inodes, and which handle of each was released, or `CHANGED` or `LOOKED_UP`.

        Not all at once: none is left when none is returned.
        """
        if not self._news_count.value:
            return []
        news = (News * _NEWS_AT_ONCE)()
        count = self._loaded.patchwork_take_news(news, _NEWS_AT_ONCE)
        return [(each.ino, each.what) for each in news[:count]]

    def pass_on(self, pid: int) -> None:
        """Has Python asked about everything that one process opens; 0 for none."""
        self._loaded.patchwork_pass(pid)

    # The session

    def resume(self, connection: tuple[int, int, int]) -> bool:
        """Goes on with a connection that an earlier session began; False if that is refused."""
        refused: int = self._resume(ctypes.byref(Connection(*connection)))
        return refused == 0

    def answer_by(self, handlers: Handlers) -> None:
        """Sets the functions that requests are passed to from now on."""
        self._loaded.patchwork_answer_by(ctypes.byref(handlers))

    def reply_error(self, request: int, number: int) -> None:
        """Answers a request with an errno, or with 0 that it is done."""
        self._loaded.fuse_reply_err(request, number)

    def reply_done(self, request: int, _: None) -> None:
        """Answers that a request is done."""
        self._loaded.fuse_reply_err(request, 0)

    def reply_offset(self, request: int, offset: int) -> None:
        """Answers a seek."""
        self._loaded.fuse_reply_lseek(request, offset)

    def reply_count(self, request: int, count: int) -> None:
        """Answers with the number of bytes that were written."""
        self._loaded.fuse_reply_write(request, count)


def _load() -> Library | None:
    if os.environ.get(SWITCH) == "0":
        return None
    try:
        return Library(ctypes.CDLL(os.fspath(_LIBRARY), mode=ctypes.RTLD_GLOBAL))
    except (OSError, AttributeError):
        # Not built, or built from another source: the mount does without.
        return None


library = _load()
