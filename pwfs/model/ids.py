"""A type per identifier, so that a checker notices when two are confused."""

import hashlib
import re
import unicodedata
from typing import NewType

from pwfs.model.errors import EmptySlug

Seq = NewType("Seq", int)
"""A number of the repository's one counter (uint64); 0 means before everything."""

SEQ_ZERO = Seq(0)
"""Before everything: main is empty there."""

BlobHash = NewType("BlobHash", str)
"""SHA-256 of a file's content, 64 lower-case hexadecimal digits."""

TreeHash = NewType("TreeHash", str)
"""SHA-256 of a tree's canonical encoding, 64 lower-case hexadecimal digits."""

ChangeId = NewType("ChangeId", str)
ViewId = NewType("ViewId", str)
WorkspaceId = NewType("WorkspaceId", str)
AgentId = NewType("AgentId", str)
ItemId = NewType("ItemId", int)
AttemptId = NewType("AttemptId", int)
EventId = NewType("EventId", int)

SLUG_LENGTH_MAX = 80
_NOT_SLUG = re.compile(r"[^a-z0-9]+")
_HASH = re.compile(r"[0-9a-f]{64}")


def slugify(title: str) -> str:
    """Derives a change's id from its title: ``Add user auth`` gives ``add-user-auth``.

    Raises:
        EmptySlug: no letter or digit is left.
    """
    ascii_title = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    slug = _NOT_SLUG.sub("-", ascii_title.lower()).strip("-")[:SLUG_LENGTH_MAX].strip("-")
    if not slug:
        raise EmptySlug(title=title)
    return slug


def hash_blob(content: bytes) -> BlobHash:
    """Names a content by its SHA-256."""
    return BlobHash(hashlib.sha256(content).hexdigest())


def is_hash(text: str) -> bool:
    """Tells whether a text has the form of a blob's or a tree's hash."""
    return _HASH.fullmatch(text) is not None
