"""Answers git, which asks on each ``git status`` what changed: the hook of ``core.fsmonitor``.

Called with the hook's version and a token; prints the next token and the paths that may differ
since, each with a NUL. Anything that is not in order ends with status 1 and nothing printed: git
then looks at every file. An answer that leaves out a path would hide a change.

Everything here is for speed: no package that an interpreter without ``site`` must load first, so
plain HTTP over `_socket`, which `socket` is a slow wrapper of.
"""

import _socket
import os
import sys

from pwfs_cli.standing import standing_on

HOOK_VERSION = "2"
MEDIA_TYPE = "application/x-git-fsmonitor"
TIMEOUT_S = 20.0
_CHUNK_BYTES = 1 << 18
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")


class Unanswered(Exception):
    """Git must look for itself; the text says why."""


def main() -> None:
    """Runs the hook in the current directory, the top of git's working tree."""
    try:
        answer = ask(os.getcwd(), *sys.argv[1:3])  # noqa: PTH109
    except (Unanswered, OSError, UnicodeError, ValueError, TypeError) as error:
        if os.environ.get("GIT_TRACE_FSMONITOR"):
            sys.stderr.write(f"patchwork fsmonitor: {error}\n")
        sys.exit(1)
    with os.fdopen(1, "wb", closefd=False) as output:
        output.write(answer)


def ask(directory: str, version: str, token: str) -> bytes:
    """Asks the daemon that shows a directory; returns what the hook prints.

    Raises:
        Unanswered, OSError: there is no answer to rely on.
    """
    if version != HOOK_VERSION:
        raise Unanswered(f"version {version} of the hook is not spoken here")
    standing = standing_on(directory)
    workspace = standing.workspace if standing is not None else None
    if standing is None or workspace is None:
        raise Unanswered(f"{directory} is in no workspace")
    id_, below = workspace
    query = f"below={_quoted(below)}"
    # Git makes a token up where it has none. Without one, everything is said to differ.
    if token.count(":") == 2:
        query += f"&token={_quoted(token)}"
    target = f"/api/workspaces/{_quoted(id_)}/touched?{query}"
    return _fetch(standing.device, target)


def runtime_directory() -> str:
    """Returns where mount points and sockets are (`pwfs.fs` decides the same)."""
    if os.geteuid() == 0:
        return "/run/patchwork"
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    home = os.path.expanduser("~/.cache/patchwork/run")  # noqa: PTH111
    return f"{runtime}/patchwork" if runtime else home


def _sockets_of(device: str) -> list[str]:
    """Finds the daemon's socket: it is beside the file that names the mount's device.

    Daemons that were killed leave such files, and device numbers are given out again.
    """
    wanted = f'"device": "{device}"'
    runtime = runtime_directory()
    found = []
    for name in os.listdir(runtime):  # noqa: PTH208
        if name.endswith(".json"):
            file = f"{runtime}/{name}"
            try:
                with open(file, encoding="utf-8") as opened:  # noqa: PTH123
                    if wanted in opened.read():
                        found.append(file.removesuffix(".json") + ".sock")
            except FileNotFoundError:
                continue  # another repository's daemon just ended
    return found


def _connect(device: str) -> _socket.socket:
    for path in _sockets_of(device):
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            connection.settimeout(TIMEOUT_S)
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
        else:
            return connection
    raise Unanswered(f"no daemon says that it serves the mount {device}")


def _fetch(device: str, target: str) -> bytes:
    connection = _connect(device)
    try:
        connection.sendall(
            f"GET {target} HTTP/1.1\r\nHost: patchwork\r\nAccept: {MEDIA_TYPE}\r\n"
            "Connection: close\r\n\r\n".encode("ascii")
        )
        chunks = []
        while chunk := connection.recv(_CHUNK_BYTES):
            chunks.append(chunk)
    finally:
        connection.close()
    return _body(b"".join(chunks))


def _body(response: bytes) -> bytes:
    """The body, if it is what was asked for, and whole."""
    head, _, body = response.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    if status.split(" ")[1:2] != ["200"] or fields.get("content-type") != MEDIA_TYPE:
        raise Unanswered(f"the daemon answered {status!r}")
    if fields.get("content-length") != str(len(body)) or not body.endswith(b"\0"):
        raise Unanswered("the daemon's answer was cut short")
    return body


def _quoted(text: str) -> str:
    """Writes text for a URL, as `urllib.parse.quote` does, which takes long to load."""
    return "".join(chr(b) if b in _PLAIN else f"%{b:02X}" for b in os.fsencode(text))
