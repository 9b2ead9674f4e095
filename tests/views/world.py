"""A store and a merger in memory, and a short way to write layers, for tests of views."""

from datetime import UTC, datetime

from pwfs.model.entries import FileEntry, Mode
from pwfs.model.ids import AgentId, ChangeId, Seq, TreeHash, hash_blob
from pwfs.model.ops import NewOp, Op, OpType
from pwfs.model.paths import RepoPath
from pwfs.model.views import ConflictType
from pwfs.views.compose import Composition, Layer
from pwfs.views.editor import TreeEditor
from pwfs.views.overlay import OverlayEdits
from pwfs.views.resolution import Merge, Renames, Settled
from pwfs.views.trees import EMPTY_TREE, EMPTY_TREE_BYTES, Listing, decode_tree

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Memory:
    """Trees by hash, contents by hash, and a merger that merges by whole lines' presence."""

    def __init__(self) -> None:
        self.trees = {EMPTY_TREE: EMPTY_TREE_BYTES}
        self.contents: dict[str, str] = {}

    def listing(self, tree: TreeHash) -> Listing:
        return decode_tree(self.trees[tree])

    def file(self, text: str, mode: Mode = Mode.FILE) -> FileEntry:
        content_hash = hash_blob(text.encode())
        self.contents[content_hash] = text
        return FileEntry(content_hash, mode, len(text))

    def text(self, entry: FileEntry) -> str:
        return self.contents[entry.content_hash]

    def tree(self, files: dict[str, str]) -> TreeHash:
        editor = TreeEditor(self, EMPTY_TREE)
        for path, text in files.items():
            editor.set(RepoPath(path), self.file(text))
        return self.write(editor)

    def write(self, editor: TreeEditor) -> TreeHash:
        root, written = editor.write()
        self.trees.update(written)
        return root

    def settle(self, merge: Merge) -> Settled:
        base = self.text(merge.base) if merge.base else ""
        theirs, yours = self.text(merge.theirs), self.text(merge.yours)
        if len(base) == len(theirs) == len(yours):
            merged = ""
            for b, t, y in zip(base, theirs, yours, strict=True):
                if b not in (t, y) and t != y:
                    break
                merged += y if t == b else t
            else:
                return Settled(self.file(merged, merge.yours.mode), None)
        shown = self.file(f"<{theirs}|{yours}>", merge.yours.mode)
        return Settled(shown, merge.type)


class Author:
    """Writes the operations of one change against what is below it."""

    def __init__(self, memory: Memory, below: TreeEditor, change: str = "mine") -> None:
        self.memory = memory
        self.below = below
        self.change = ChangeId(change)
        self.edits = OverlayEdits()
        self._next = 100

    def _base(self, path: str) -> FileEntry | None:
        edit = self.edits.edits.get(RepoPath(path))
        source = edit.source if edit and edit.result else RepoPath(path)
        found = self.below.get(source)
        return found if isinstance(found, FileEntry) else None

    def _apply(self, new: NewOp) -> None:
        self._next += 1
        self.edits.apply(Op(Seq(self._next), NOW, AgentId("a"), self.change, 1, Seq(0), new))

    def write(self, path: str, text: str, mode: Mode = Mode.FILE) -> None:
        entry = self.memory.file(text, mode)
        base = self._base(path)
        kind = OpType.MODIFY if base else OpType.CREATE
        self._apply(NewOp(kind, RepoPath(path), entry, base=base))

    def delete(self, path: str) -> None:
        self._apply(NewOp(OpType.DELETE, RepoPath(path), None, base=self._base(path)))

    def rename(self, old: str, new: str, directories: tuple[str, str] | None = None) -> None:
        edit = self.edits.edits.get(RepoPath(old))
        base = self._base(old)
        entry = edit.result if edit and edit.result else base
        over = self.below.get(RepoPath(new))
        self._apply(
            NewOp(
                OpType.RENAME,
                RepoPath(new),
                entry,
                old_path=RepoPath(old),
                base=base,
                replaced=over if isinstance(over, FileEntry) else None,
                directory_rename=(RepoPath(directories[0]), RepoPath(directories[1]))
                if directories
                else None,
            )
        )

    def layer(self) -> Layer:
        return Layer(self.change, 0, self.edits, self.edits.revision)


class Scene:
    """What a change sees (``before``) and what main is now (``after``)."""

    def __init__(self, before: dict[str, str], after: dict[str, str] | None = None) -> None:
        self.memory = Memory()
        self.after = self.memory.tree(before if after is None else after)
        self.author = Author(self.memory, TreeEditor(self.memory, self.memory.tree(before)), "mine")
        self.renames = Renames({}, {})

    def compose(self) -> Composition:
        composition = Composition(
            TreeEditor(self.memory, self.after),
            base_seq=Seq(9),
            renames_since=lambda _: self.renames,
            merger=self.memory,
        )
        composition.add(self.author.layer())
        return composition

    def outcome(self) -> tuple[dict[str, str], dict[str, ConflictType]]:
        """The files shown with their texts, and the conflicts by path."""
        composition = self.compose()
        shown: dict[str, str] = {}
        conflicts: dict[str, ConflictType] = {}
        for path, resolution in composition.resolutions.items():
            if isinstance(resolution, Merge):
                settled = self.memory.settle(resolution)
                composition.tree.set(path, settled.entry)
                if settled.conflict:
                    conflicts[path] = settled.conflict
            elif hasattr(resolution, "type"):
                conflicts[path] = resolution.type
        for path, leaf in composition.tree.files():
            assert isinstance(leaf, FileEntry)
            shown[path] = self.memory.text(leaf)
        return shown, conflicts
