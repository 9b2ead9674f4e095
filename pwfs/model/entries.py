"""What a tree says of a file: its mode, its content and its size."""

import enum
from dataclasses import dataclass

from pwfs.model.ids import BlobHash


class Mode(enum.IntEnum):
    """The modes that are versioned, with the numbers git gives them."""

    FILE = 0o100644
    EXECUTABLE = 0o100755
    SYMLINK = 0o120000

    @property
    def text(self) -> str:
        """The mode as six octal digits, the way the API shows it."""
        return f"{self.value:06o}"


class Kind(enum.StrEnum):
    """What kind of thing a path names in a version."""

    FILE = "file"
    SYMLINK = "symlink"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file or symbolic link as a tree lists it; a link's content is its target."""

    content_hash: BlobHash
    mode: Mode
    size: int

    @property
    def kind(self) -> Kind:
        """File or symbolic link."""
        return Kind.SYMLINK if self.mode is Mode.SYMLINK else Kind.FILE


def parse_mode(text: str | int) -> Mode:
    """Reads ``"100644"``, ``"100755"`` or ``"120000"``.

    Raises:
        ValueError: anything else.
    """
    return Mode(int(text, 8) if isinstance(text, str) else text)
