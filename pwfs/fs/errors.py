"""What the mount answers for each expected failure: the one place where errors become errno."""

import errno

from pyfuse3 import FUSEError

from pwfs.model.errors import (
    AlreadyExists,
    Category,
    ChangeIsFinal,
    DirectoryNotEmpty,
    InvalidPath,
    PatchworkError,
    StoreBusy,
    StoreFailed,
    StoreReadOnly,
)

_BY_CATEGORY = {
    Category.INVALID: errno.EINVAL,
    Category.NOT_FOUND: errno.ENOENT,
    Category.CONFLICT: errno.EIO,
    Category.FORBIDDEN: errno.EACCES,
    Category.UNAUTHENTICATED: errno.EACCES,
    Category.TOO_LARGE: errno.EFBIG,
    Category.NO_SPACE: errno.ENOSPC,
    Category.UNAVAILABLE: errno.EAGAIN,
    Category.CORRUPT: errno.EIO,
}


def errno_of(error: PatchworkError | OSError) -> int:
    """Gives the errno that a program receives."""
    if isinstance(error, OSError):
        return error.errno or errno.EIO
    if isinstance(error, InvalidPath):
        return error.errno
    if isinstance(error, ChangeIsFinal | StoreReadOnly):
        return errno.EROFS
    if isinstance(error, StoreBusy):
        return errno.EBUSY
    if isinstance(error, StoreFailed):
        return errno.EIO
    if isinstance(error, DirectoryNotEmpty):
        return errno.ENOTEMPTY
    if isinstance(error, AlreadyExists):
        return errno.EEXIST
    return _BY_CATEGORY[error.category]


def refusal(number: int) -> FUSEError:
    """The exception that makes pyfuse3 answer with an errno."""
    return FUSEError(number)
