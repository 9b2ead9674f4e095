"""Bounded caches between the store and the pure composition: listings and merges."""

from collections import OrderedDict

import msgspec

from pwfs.merge.limits import MERGE_SIZE_BYTES_MAX, is_too_large
from pwfs.merge.lines import is_binary
from pwfs.merge.render import render
from pwfs.merge.text import TextMerge, merge_text
from pwfs.model.entries import FileEntry
from pwfs.model.errors import BlobDamaged, BlobMissing, Corrupt
from pwfs.model.ids import BlobHash, TreeHash, hash_blob
from pwfs.model.views import ConflictType
from pwfs.store.protocols import BlobStore, LogStore
from pwfs.views.resolution import Merge, Settled
from pwfs.views.trees import EMPTY_TREE, Listing, decode_tree

LISTED_ENTRIES_MAX = 400_000
RENDERED_MAX = 2_000


class TreeCache:
    """Decoded listings, the least recently used dropped by their number of entries."""

    def __init__(self, log: LogStore) -> None:
        self._log = log
        self._listings: OrderedDict[TreeHash, Listing] = OrderedDict()
        self._entries = 0

    def listing(self, tree: TreeHash) -> Listing:
        """Returns a tree's entries (see `pwfs.views.trees.TreeSource`)."""
        cached = self._listings.get(tree)
        if cached is not None:
            self._listings.move_to_end(tree)
            return cached
        if tree == EMPTY_TREE:
            return {}
        encoded = self._log.tree(tree)
        if encoded is None:
            raise Corrupt(what=f"Tree {tree} is missing")
        listing = decode_tree(encoded)
        self._listings[tree] = listing
        self._entries += len(listing) + 1
        while self._entries > LISTED_ENTRIES_MAX and len(self._listings) > 1:
            _, dropped = self._listings.popitem(last=False)
            self._entries -= len(dropped) + 1
        return listing


class _CachedMerge(msgspec.Struct, frozen=True, array_like=True):
    """A merge's outcome as the store caches it, without labels: markers are rendered late."""

    conflict: str | None
    content_hash: str
    size: int


class Merging:
    """Merges contents, once per (base, theirs, yours).

    Without ``use_stored`` an earlier outcome is not taken, and nothing is written.
    """

    def __init__(self, log: LogStore, blobs: BlobStore, *, use_stored: bool = True) -> None:
        self._use_stored = use_stored
        self._log = log
        self._blobs = blobs
        self._settled: OrderedDict[Merge, Settled] = OrderedDict()

    def settle(self, merge: Merge) -> Settled:
        """Carries a merge out (see `pwfs.views.resolution.Merger`).

        Raises:
            BlobMissing: one of the three contents is not in the store.
            BlobDamaged: one of them is damaged.
        """
        known = self._settled.get(merge)
        if known is None:
            known = self._settled[merge] = self._settle(merge)
            if len(self._settled) > RENDERED_MAX:
                self._settled.popitem(last=False)
        return known

    def _settle(self, merge: Merge) -> Settled:
        base = merge.base.content_hash if merge.base else None
        key = (base, merge.theirs.content_hash, merge.yours.content_hash)
        stored = self._log.merge_result(*key) if self._use_stored else None
        if stored is not None:
            cached = msgspec.msgpack.decode(stored, type=_CachedMerge)
            blob = BlobHash(cached.content_hash)
            # Neither was synced: of the two, a power failure may have kept the note alone.
            if cached.conflict is None and self._is_stored(blob, cached.size):
                return Settled(FileEntry(blob, merge.yours.mode, cached.size), None)
            if cached.conflict == ConflictType.BINARY:
                return Settled(merge.yours, ConflictType.BINARY)
        contents = self._contents(merge)
        if contents is None:
            self._remember(key, _CachedMerge(ConflictType.BINARY.value, "", 0))
            return Settled(merge.yours, ConflictType.BINARY)
        base_text, theirs, yours = contents
        merged = merge_text(base=base_text, theirs=theirs, yours=yours)
        if merged.is_clean:
            content_hash = self._keep(merged.content)
            size = len(merged.content)
            self._remember(key, _CachedMerge(None, content_hash, size))
            return Settled(FileEntry(content_hash, merge.yours.mode, size), None)
        self._remember(key, _CachedMerge(merge.type.value, "", 0))
        text = self._render(merged, merge)
        shown = FileEntry(self._keep(text), merge.yours.mode, len(text))
        return Settled(shown, merge.type)

    def _is_stored(self, blob: BlobHash, size: int) -> bool:
        try:
            self._blobs.verify(blob)
        except (BlobMissing, BlobDamaged):
            return False
        return self._blobs.size(blob) == size

    def _render(self, merged: TextMerge, merge: Merge) -> bytes:
        return render(
            merged, theirs_label=merge.their_side.label, yours_label=merge.your_side.label
        )

    def _contents(self, merge: Merge) -> tuple[bytes, bytes, bytes] | None:
        """The three contents, None when they cannot be merged by lines."""
        entries = (merge.base, merge.theirs, merge.yours)
        if any(entry is not None and entry.size > MERGE_SIZE_BYTES_MAX for entry in entries):
            return None
        base = self._blobs.get(merge.base.content_hash) if merge.base else b""
        theirs = self._blobs.get(merge.theirs.content_hash)
        yours = self._blobs.get(merge.yours.content_hash)
        contents = (base, theirs, yours)
        if is_too_large(*contents) or any(is_binary(content) for content in contents):
            return None
        return contents

    def _keep(self, content: bytes) -> BlobHash:
        return self._blobs.put(content) if self._use_stored else hash_blob(content)

    def _remember(
        self, key: tuple[BlobHash | None, BlobHash, BlobHash], outcome: _CachedMerge
    ) -> None:
        if self._use_stored:
            self._log.put_merge_result(*key, msgspec.msgpack.encode(outcome))
