"""What names a content: operations, landings, views that show it. For fsck's reports."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from pwfs.model.entries import FileEntry
from pwfs.model.errors import Corrupt, PatchworkError
from pwfs.model.ids import BlobHash
from pwfs.repo.repository import Repository
from pwfs.views.trees import decode_tree, diff_trees

NAMED_MAX = 20
"""So many of each kind are named."""


@dataclass
class References:
    """What names one content, in sentences."""

    operations: list[str] = field(default_factory=list)
    trees: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[str]:
        for kind, named in (
            ("operations", self.operations),
            ("trees", self.trees),
            ("views", self.shown),
        ):
            yield from named[:NAMED_MAX]
            if len(named) > NAMED_MAX:
                yield f"{len(named) - NAMED_MAX} more {kind}"


def find_references(repo: Repository, blobs: Collection[BlobHash]) -> dict[BlobHash, References]:
    """Looks through the whole log for what names any of these contents."""
    found = {blob: References() for blob in blobs}
    _in_operations(repo, found)
    _in_landings(repo, found)
    _in_views(repo, found)
    return found


def _in_operations(repo: Repository, found: dict[BlobHash, References]) -> None:
    for op in repo.log.ops():
        where = f"operation {op.id} ({op.path} in {op.change_id})"
        if op.content_hash in found:
            found[op.content_hash].operations.append(f"{where} names it")
        for entry in (op.new.base, op.new.replaced):
            if entry is not None and entry.content_hash in found:
                found[entry.content_hash].operations.append(f"{where} starts from it")


def _in_landings(repo: Repository, found: dict[BlobHash, References]) -> None:
    """Landings that brought a content into main, and trees that no landing brought."""
    known: set[BlobHash] = set()
    for landing in repo.log.landings():
        _, before = repo.main_at(landing.previous_seq)
        try:
            for difference in diff_trees(repo.trees, before, landing.root):
                entry = difference.new
                if entry is not None and entry.content_hash in found:
                    known.add(entry.content_hash)
                    found[entry.content_hash].trees.append(
                        f"landing {landing.seq} ({difference.path}) has it"
                    )
        except Corrupt:
            continue  # fsck says so itself
    if known == found.keys():
        return
    for tree in repo.log.tree_hashes():
        try:
            listing = decode_tree(repo.log.tree(tree) or b"")
        except Corrupt:
            continue
        for name, leaf in listing.items():
            if isinstance(leaf, FileEntry) and leaf.content_hash in found.keys() - known:
                found[leaf.content_hash].trees.append(f"tree {tree} ({name}) has it")


def _in_views(repo: Repository, found: dict[BlobHash, References]) -> None:
    for id_ in ("main", *(view.id for view in repo.views())):
        try:
            for path, entry in repo.live(id_).files():
                if entry.content_hash in found:
                    found[entry.content_hash].shown.append(f"{id_}/{path} shows it")
        except PatchworkError as error:
            for references in found.values():
                references.shown.append(f"{id_} cannot be looked at: {error.message}")
