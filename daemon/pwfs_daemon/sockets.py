"""The two listening sockets, bound before anything is announced so that failure is early."""

import errno
import os
import socket
import stat
from pathlib import Path

from pwfs.model.errors import AddressInUse, InvalidArgument, RepositoryLocked

HOST_DEFAULT = "127.0.0.1"
BACKLOG = 128
# sockaddr_un holds 108 bytes, the final NUL included.
UNIX_PATH_LENGTH_MAX_BYTES = 107


def parse_address(text: str) -> tuple[str, int]:
    """Reads ``host:port``, ``:port`` (loopback) or ``[v6]:port``.

    Raises:
        InvalidArgument: anything else.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InvalidArgument(name="addr", reason=f"{text!r} is not HOST:PORT or :PORT")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return host or HOST_DEFAULT, int(port)


def format_address(listener: socket.socket) -> str:
    """Writes a listening TCP socket's address as ``host:port``."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind_tcp(address: str, *, is_explicit: bool) -> socket.socket:
    """Listens on a TCP address.

    When nobody asked for this very address, any free port is taken in its stead.

    Raises:
        AddressInUse: the address was asked for and belongs to somebody else.
        InvalidArgument: the address does not exist on this machine or may not be used.
    """
    host, port = parse_address(address)
    try:
        return _listen_tcp(host, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise InvalidArgument(
                name="addr", reason=f"cannot listen on {address}: {error.strerror}"
            ) from error
        if is_explicit:
            raise AddressInUse(address=address) from error
    return _listen_tcp(host, 0)


def _listen_tcp(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def bind_unix(path: Path) -> socket.socket:
    """Listens on a Unix socket that only its owner can use.

    What a dead daemon left at the path is replaced.

    Raises:
        RepositoryLocked: another daemon answers there.
        InvalidArgument: the path is too long or not writable.
    """
    if len(os.fsencode(path)) > UNIX_PATH_LENGTH_MAX_BYTES:
        raise InvalidArgument(
            name="socket", reason=f"{path} is longer than {UNIX_PATH_LENGTH_MAX_BYTES} bytes"
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _clear_stale(path)
        # The umask, because between bind and chmod anybody could connect.
        umask = os.umask(0o177)
        try:
            listener.bind(os.fspath(path))
        finally:
            os.umask(umask)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise InvalidArgument(name="socket", reason=f"{path}: {error.strerror}") from error
    except BaseException:
        listener.close()
        raise
    return listener


def _clear_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise InvalidArgument(name="socket", reason=f"{path} is there and is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise RepositoryLocked(pid=None)
