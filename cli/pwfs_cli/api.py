"""The way to the API that every command takes; what it needs is imported when it is taken."""

from typing import TYPE_CHECKING
from urllib.parse import quote

from pwfs_cli.locate import find_root
from pwfs_cli.session import session

if TYPE_CHECKING:
    from pwfs_cli.client import Client

CHUNK_SIZE_BYTES = 65536


def client() -> "Client":
    """Returns the client of the repository that the command works in.

    Raises:
        NotARepository: there is none.
    """
    from pwfs_cli.client import Client

    return Client(find_root(session().directory))


def part(text: str) -> str:
    """Writes a name as one part of a path."""
    return quote(text, safe="")


def file_path(text: str) -> str:
    """Writes a file's path, its slashes kept."""
    return quote(text, safe="/")
