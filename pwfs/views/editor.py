"""A tree being changed: directories are loaded when touched and written when a root is asked for.

Setting a path costs a dictionary look-up per part, whatever the directory's size, so that a
directory of 100,000 files can grow one file at a time.
"""

import enum
from collections.abc import Iterator, Mapping
from typing import Final

from pwfs.model.entries import FileEntry
from pwfs.model.ids import TreeHash
from pwfs.model.paths import ROOT, RepoPath, join, parents
from pwfs.views.trees import Subtree, TreeEntry, TreeSource, encode_tree


class Pending(enum.Enum):
    """Stands for a file whose content has yet to be merged."""

    PENDING = "pending"


class Directory(enum.Enum):
    """Stands for a directory in the answers of a look-up."""

    DIRECTORY = "directory"


PENDING: Final = Pending.PENDING
DIRECTORY: Final = Directory.DIRECTORY
Leaf = FileEntry | Pending
Found = FileEntry | Pending | Directory


class _Folder:
    """A loaded directory; ``hash`` is None once it differs from what is stored."""

    __slots__ = ("children", "hash")

    def __init__(self, children: dict[str, "FileEntry | Pending | Subtree | _Folder"]) -> None:
        self.children = children
        self.hash: TreeHash | None = None


class TreeEditor:
    """A mutable tree over persistent ones. Directories exist as long as a file is below them.

    ``before`` is where a follower of the tree has noted down what stood at each name, a file's or
    a directory's, before it was first set or removed; None while nobody follows.
    """

    def __init__(self, source: TreeSource, root: TreeHash) -> None:
        self.before: dict[RepoPath, Found | None] | None = None
        self._source = source
        self._root = self._load(root)

    def _load(self, tree: TreeHash) -> _Folder:
        folder = _Folder(dict(self._source.listing(tree)))
        folder.hash = tree
        return folder

    def _folder(self, directory: RepoPath) -> _Folder | TreeHash | None:
        """Finds a directory without loading more than needed: a folder, or an untouched tree."""
        folder = self._root
        if not directory:
            return folder
        names = directory.split("/")
        for position, name in enumerate(names):
            child = folder.children.get(name)
            if isinstance(child, _Folder):
                folder = child
            elif isinstance(child, Subtree):
                tree = child.hash
                for below in names[position + 1 :]:
                    entry = self._source.listing(tree).get(below)
                    if not isinstance(entry, Subtree):
                        return None
                    tree = entry.hash
                return tree
            else:
                return None
        return folder

    def get(self, path: RepoPath) -> Found | None:
        """Tells what a path names; None when nothing."""
        if not path:
            return DIRECTORY
        directory, _, name = path.rpartition("/")
        folder = self._folder(RepoPath(directory))
        if folder is None:
            return None
        if isinstance(folder, _Folder):
            child = folder.children.get(name)
        else:
            child = self._source.listing(folder).get(name)
        return DIRECTORY if isinstance(child, (_Folder, Subtree)) else child

    def list(self, directory: RepoPath) -> Mapping[str, Found] | None:
        """Lists a directory, None when there is none."""
        folder = self._folder(directory)
        if folder is None:
            return None
        children: Mapping[str, FileEntry | Pending | Subtree | _Folder]
        children = folder.children if isinstance(folder, _Folder) else self._source.listing(folder)
        return {
            name: DIRECTORY if isinstance(child, (_Folder, Subtree)) else child
            for name, child in children.items()
        }

    def set(self, path: RepoPath, leaf: Leaf) -> None:
        """Puts a file, making the directories above it.

        A directory at ``path`` or a file above it must not be there: the caller has decided that
        collision before.
        """
        folder = self._root
        folder.hash = None
        self.note(path)
        *directories, last = path.split("/")
        for name in directories:
            child = folder.children.get(name)
            if isinstance(child, Subtree):
                child = folder.children[name] = self._load(child.hash)
            elif child is None:
                child = folder.children[name] = _Folder({})
            assert isinstance(child, _Folder), f"a file stands above {path}"
            child.hash = None
            folder = child
        assert not isinstance(folder.children.get(last), (_Folder, Subtree)), (
            f"a directory stands at {path}"
        )
        folder.children[last] = leaf

    def remove(self, path: RepoPath) -> None:
        """Takes a file away, and the directories that became empty; nothing where none was."""
        found = self.get(path)
        if not isinstance(found, (FileEntry, Pending)):
            return
        self.note(path)
        chain = [self._root]
        *directories, last = path.split("/")
        for name in directories:
            child = chain[-1].children[name]
            if isinstance(child, Subtree):
                child = chain[-1].children[name] = self._load(child.hash)
            assert isinstance(child, _Folder)
            chain.append(child)
        del chain[-1].children[last]
        for folder in chain:
            folder.hash = None
        for parent, folder, name in zip(
            reversed(chain[:-1]), reversed(chain[1:]), reversed(directories), strict=True
        ):
            if folder.children:
                break
            del parent.children[name]

    def note(self, path: RepoPath) -> None:
        """For a follower: notes what stands at a name, and which directories above it exist."""
        if self.before is None or path in self.before:
            return
        self.before[path] = self.get(path)
        for above in parents(path):
            if not above or above in self.before:
                return
            self.before[above] = self.get(above)

    def files(self, directory: RepoPath = ROOT) -> Iterator[tuple[RepoPath, Leaf]]:
        """Yields every file below a directory."""
        pending = [(directory, iter((self.list(directory) or {}).items()))]
        while pending:
            above, entries = pending[-1]
            for name, child in entries:
                path = join(above, name)
                if isinstance(child, Directory):
                    pending.append((path, iter((self.list(path) or {}).items())))
                    break
                yield path, child
            else:
                pending.pop()

    def write(self) -> tuple[TreeHash, dict[TreeHash, bytes]]:
        """Names the current state and returns the encodings of the directories that changed.

        No file may be pending.
        """
        changed = [self._root] if self._root.hash is None else []
        for folder in changed:
            changed += [
                child
                for child in folder.children.values()
                if isinstance(child, _Folder) and child.hash is None
            ]
        written: dict[TreeHash, bytes] = {}
        # Each directory stands behind the one above it, so its name is known when that is written.
        for folder in reversed(changed):
            folder.hash, encoded = encode_tree(_listing(folder))
            written[folder.hash] = encoded
        assert self._root.hash is not None
        return self._root.hash, written


def _listing(folder: _Folder) -> dict[str, TreeEntry]:
    listing: dict[str, TreeEntry] = {}
    for name, child in folder.children.items():
        if isinstance(child, _Folder):
            assert child.hash is not None
            listing[name] = Subtree(child.hash)
        else:
            assert not isinstance(child, Pending), f"{name} is not merged yet"
            listing[name] = child
    return listing
