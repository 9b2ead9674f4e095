"""The native library: it gives pyfuse3 handlers for requests that pyfuse3 does not know.

It must be loaded before pyfuse3 is imported, so `pwfs.fs` does it first of all. Where it could not
be built, or is switched off by ``PATCHWORK_NATIVE=0``, the mount works without: the kernel then
refuses fallocate with EOPNOTSUPP, shows every file as data without holes, and copies by reading
and writing. ``session.c`` is the library, `hatch_build.py` compiles it.
"""

import ctypes
import os
from pathlib import Path

_LIBRARY = Path(__file__).with_name("libpatchworkfs.so")
SWITCH = "PATCHWORK_NATIVE"

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


class Library:
    """The loaded library, and with it the answers of libfuse's that we give ourselves."""

    def __init__(self, loaded: ctypes.CDLL) -> None:
        loaded.patchwork_answer_by.argtypes = [ctypes.POINTER(Handlers)]
        loaded.patchwork_answer_by.restype = None
        loaded.patchwork_session.argtypes = []
        loaded.patchwork_session.restype = ctypes.c_void_p
        loaded.patchwork_connected.argtypes = [ctypes.POINTER(Connection)]
        loaded.patchwork_connected.restype = None
        loaded.patchwork_read_nothing.argtypes = []
        loaded.patchwork_read_nothing.restype = None
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

    def read_nothing(self) -> None:
        """Leaves all further requests in the kernel, for whoever goes on with the connection."""
        self._loaded.patchwork_read_nothing()

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
