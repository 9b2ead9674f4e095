"""Directory listings as persistent values: named by their hash, shared between states.

A tree's canonical encoding is a MessagePack array with one ``[name, mode, size, hash]`` per entry,
sorted by the name's UTF-8 bytes; a directory has mode 0o040000, size 0 and its own tree's hash. The
empty directory exists only as the root.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from pwfs.model.entries import FileEntry, Mode
from pwfs.model.errors import Corrupt
from pwfs.model.ids import BlobHash, TreeHash
from pwfs.model.paths import ROOT, RepoPath, join

DIRECTORY_MODE = 0o040000
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[tuple[str, int, int, bytes]])
_modes = {mode.value: mode for mode in Mode}


@dataclass(frozen=True, slots=True)
class Subtree:
    """A directory as its parent lists it."""

    hash: TreeHash


TreeEntry = FileEntry | Subtree
Listing = Mapping[str, TreeEntry]


class TreeSource(Protocol):
    """Where listings come from; implementations cache."""

    def listing(self, tree: TreeHash) -> Listing:
        """Returns a tree's entries.

        Raises:
            Corrupt: the tree is not stored or its encoding is damaged.
        """


def encode_tree(listing: Listing) -> tuple[TreeHash, bytes]:
    """Gives a listing its name and canonical bytes."""
    rows = []
    for name in sorted(listing, key=str.encode):
        entry = listing[name]
        if isinstance(entry, Subtree):
            rows.append((name, DIRECTORY_MODE, 0, bytes.fromhex(entry.hash)))
        else:
            content = bytes.fromhex(entry.content_hash)
            rows.append((name, entry.mode.value, entry.size, content))
    encoded = _encoder.encode(rows)
    return TreeHash(hashlib.sha256(encoded).hexdigest()), encoded


def decode_tree(encoded: bytes) -> dict[str, TreeEntry]:
    """Reads a listing back.

    Raises:
        Corrupt: the bytes are no tree.
    """
    try:
        rows = _decoder.decode(encoded)
        return {
            name: Subtree(TreeHash(content.hex()))
            if mode == DIRECTORY_MODE
            else FileEntry(BlobHash(content.hex()), _modes[mode], size)
            for name, mode, size, content in rows
        }
    except (msgspec.DecodeError, KeyError) as error:
        raise Corrupt(what=f"A tree's encoding is damaged: {error}") from error


EMPTY_TREE, EMPTY_TREE_BYTES = encode_tree({})


def lookup(source: TreeSource, root: TreeHash, path: RepoPath) -> TreeEntry | None:
    """Finds what a path names in a tree, None when nothing."""
    entry: TreeEntry = Subtree(root)
    if path:
        for name in path.split("/"):
            if not isinstance(entry, Subtree):
                return None
            found = source.listing(entry.hash).get(name)
            if found is None:
                return None
            entry = found
    return entry


def walk(
    source: TreeSource, root: TreeHash, directory: RepoPath = ROOT
) -> Iterator[tuple[RepoPath, FileEntry]]:
    """Yields all files below a tree, sorted by name within each directory."""
    pending = [(directory, iter(source.listing(root).items()))]
    while pending:
        above, entries = pending[-1]
        for name, entry in entries:
            path = join(above, name)
            if isinstance(entry, Subtree):
                pending.append((path, iter(source.listing(entry.hash).items())))
                break
            yield path, entry
        else:
            pending.pop()


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that two trees do not have alike; None where a side lacks it."""

    path: RepoPath
    old: FileEntry | None
    new: FileEntry | None


def diff_trees(
    source: TreeSource, old: TreeHash, new: TreeHash, directory: RepoPath = ROOT
) -> Iterator[Difference]:
    """Yields the differing files, in time proportional to the differing directories."""
    pending = [_Pair(source, old, new, directory)] if old != new else []
    while pending:
        pair = pending[-1]
        for name in pair.names:
            was, now = pair.before.get(name), pair.after.get(name)
            if was == now:
                continue
            path = join(pair.directory, name)
            if isinstance(was, Subtree) and isinstance(now, Subtree):
                pending.append(_Pair(source, was.hash, now.hash, path))
                break
            if isinstance(was, Subtree):
                for below, entry in walk(source, was.hash, path):
                    yield Difference(below, entry, None)
            if isinstance(now, Subtree):
                for below, entry in walk(source, now.hash, path):
                    yield Difference(below, None, entry)
            was_file = was if isinstance(was, FileEntry) else None
            now_file = now if isinstance(now, FileEntry) else None
            if was_file is not None or now_file is not None:
                yield Difference(path, was_file, now_file)
        else:
            pending.pop()


class _Pair:
    """Two listings of one directory, and which names are still to be compared."""

    def __init__(
        self, source: TreeSource, old: TreeHash, new: TreeHash, directory: RepoPath
    ) -> None:
        self.directory = directory
        self.before = source.listing(old)
        self.after = source.listing(new)
        self.names = iter({**self.before, **self.after})
