"""The way to the API that every command takes; what it needs is imported when it is taken."""

from typing import TYPE_CHECKING
from urllib.parse import quote

from pwfs.model.errors import InvalidArgument
from pwfs.model.paths import parse_path
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
    """Writes a name as one part of a path.

    Raises:
        InvalidArgument: it is not UTF-8.
    """
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise InvalidArgument(name="argument", reason=f"{text!r} is not UTF-8") from None


def file_path(text: str) -> str:
    """Writes a file's path, its slashes kept.

    Raises:
        InvalidPath: no file can have it.
    """
    return quote(parse_path(text), safe="/")
