"""The submit queue's workspaces: an exact tree to test in, whose writes nobody keeps.

Everything written is copied up into scratch, which stands before the tree; what was removed is
remembered in memory, because a test never outlives the daemon.
"""

import errno
import os
import stat
from collections.abc import Mapping

from pyfuse3 import EntryAttributes, RequestContext, SetattrFields

from pwfs.fs.content import Handle
from pwfs.fs.errors import refusal
from pwfs.fs.nodes import Kind, Node
from pwfs.fs.renaming import Place
from pwfs.fs.workspace import WorkspaceSpace
from pwfs.model.ops import Provenance
from pwfs.model.paths import RepoPath, join, parents
from pwfs.repo.edits import Edit
from pwfs.views.editor import DIRECTORY, Found


class ThrowawaySpace(WorkspaceSpace):
    """A test's workspace: scratch first, the tree below it, nothing logged."""

    _hidden: set[RepoPath]
    _copied: object = None
    """Another object after every copy into scratch, which makes hints wrong."""

    def _is_hidden(self, path: RepoPath) -> bool:
        hidden = self._hidden_paths()
        if not hidden:
            return False
        return path in hidden or any(above in hidden for above in parents(path))

    def _hidden_paths(self) -> set[RepoPath]:
        if not hasattr(self, "_hidden"):
            self._hidden = set()
        return self._hidden

    def view_get(self, path: RepoPath) -> Found | None:
        if self._is_hidden(path):
            return None
        found = super().view_get(path)
        if found is None:
            return None
        status = self.scratch.stat(path)
        if status is None or (found is DIRECTORY and stat.S_ISDIR(status.st_mode)):
            return found
        return None

    def view_list(self, path: RepoPath) -> Mapping[str, Found]:
        if self._is_hidden(path):
            return {}
        hidden = self._hidden_paths()
        above = self.scratch.names(path)
        return {
            name: found
            for name, found in super().view_list(path).items()
            if join(path, name) not in hidden
            and (name not in above or (found is DIRECTORY and stat.S_ISDIR(above[name].st_mode)))
        }

    def stamp(self) -> object:
        return self._copied

    def is_scratch_name(self, path: RepoPath) -> bool:
        return True

    def check_writable(self) -> None:
        """A test may write anywhere."""

    def copy_up(self, node: Node) -> None:
        """Puts a file of the tree into scratch, in place of the one shown so far."""
        if node.kind not in (Kind.FILE, Kind.LINK):
            return
        path = node.path
        self._copy_to_scratch(node, path)
        self._now_scratch(node, path)
        self._copied = object()

    async def open(self, node: Node, flags: int, ctx: RequestContext) -> None:
        if node.kind is Kind.FILE and flags & (os.O_ACCMODE | os.O_TRUNC):
            if not node.is_attached:
                raise refusal(errno.EROFS)
            self.copy_up(node)
        await super().open(node, flags, ctx)

    async def setattr(
        self,
        node: Node,
        wanted: EntryAttributes,
        fields: SetattrFields,
        handle: Handle | None,
        ctx: RequestContext,
    ) -> None:
        if node.is_attached:
            self.copy_up(node)
        await super().setattr(node, wanted, fields, handle, ctx)

    async def link(self, node: Node, directory: Node, name: str, ctx: RequestContext) -> None:
        if node.is_attached:
            self.copy_up(node)
        await super().link(node, directory, name, ctx)

    def setxattr(self, node: Node, name: bytes, value: bytes) -> None:
        self.copy_up(node)
        super().setxattr(node, name, value)

    def remove_from_log(self, node: Node, path: RepoPath, ctx: RequestContext) -> None:
        self._hide(path)

    def _hide(self, path: RepoPath) -> None:
        if self.live.get(path) is not None:
            self._hidden_paths().add(path)

    def remove_directory(self, node: Node, directory: Node, name: str) -> None:
        path = directory.path_of(name)
        super().remove_directory(node, directory, name)
        self._hide(path)

    def keep_directory(self, directory: Node) -> None:
        if directory is not self.root and directory.is_attached:
            self.scratch.make_directory(directory.path)

    async def _rename_file(self, old: Place, new: Place, ctx: RequestContext) -> None:
        node = self.child(old.directory, old.name)
        if node is not None:
            self.copy_up(node)
        await super()._rename_file(old, new, ctx)
        self._hide(old.path)
        self._hide(new.path)

    def _goes_to_log(self, node: Node, path: RepoPath, target: Node | None) -> bool:
        return False

    def move_versioned(
        self, old: RepoPath, new: RepoPath, process: Provenance | None
    ) -> list[Edit]:
        """Copies a whole directory up, so that it can be moved in scratch."""
        self.scratch.make_directory(old)
        pending = [old]
        while pending:
            directory = pending.pop()
            for name, found in self.view_list(directory).items():
                path = join(directory, name)
                if found is DIRECTORY:
                    self.scratch.make_directory(path)
                    pending.append(path)
                    continue
                self._copy_path_up(path)
        self._hide(old)
        self._hide(new)
        return []

    def _copy_path_up(self, path: RepoPath) -> None:
        directory = self.root
        *above, last = path.split("/")
        for name in above:
            child = self.child(directory, name)
            assert child is not None
            directory = child
        node = self.child(directory, last)
        assert node is not None
        self.copy_up(node)
        self.table.drop_unused(node)

    def prepare_exchange(self, old: Place, new: Place, ctx: RequestContext) -> None:
        for place in (old, new):
            node = self.child(place.directory, place.name)
            assert node is not None
            if node.kind is Kind.DIRECTORY:
                self.move_versioned(place.path, place.path, None)
            else:
                self.copy_up(node)

    def exchange_edits(
        self, old: RepoPath, new: RepoPath, process: Provenance | None
    ) -> tuple[list[Edit], list[RepoPath]]:
        self._hide(old)
        self._hide(new)
        return [], []

    def keep_numbers(self, path: RepoPath) -> None:
        """Nothing of a test outlives the daemon."""

    def adopt_unignored(self, path: RepoPath, process: Provenance | None) -> None:
        """Nothing of a test goes to the log."""
