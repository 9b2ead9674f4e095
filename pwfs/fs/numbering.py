"""What moves with its directory keeps its inode number and its times."""

from collections.abc import Iterator

from pwfs.fs.attributes import Attrs
from pwfs.fs.naming import Naming
from pwfs.model.entries import FileEntry
from pwfs.model.paths import RepoPath, is_under, join, parents
from pwfs.views.editor import DIRECTORY


class Numbering(Naming):
    """The part of a workspace that writes down numbers before a directory moves."""

    def keep_numbers(self, path: RepoPath) -> None:
        """Writes down the numbers and times of what is about to move with its directory.

        Else they would be derived anew from where it is, once the nodes are forgotten.
        """
        if self.view_get(path) is not DIRECTORY and not self.scratch.is_directory(path):
            return
        directories = {path}
        for file, entry in self.live.files(path):
            directories.update(above for above in parents(file) if is_under(above, path))
            self._keep_file_number(file, entry)
        directories.update(self._scratch_directories(path))
        for directory in directories:
            row = self.rows.get(directory) or Attrs()
            node = self.known(directory)
            if row.ino is None:
                row.ino = node.ino if node is not None else self.directory_number(directory)
                self.rows.put(directory, row)
            if node is not None:
                node.attrs = row

    def _keep_file_number(self, path: RepoPath, entry: FileEntry) -> None:
        row = self.rows.get(path)
        if row is not None and row.ino is not None and row.content == entry.content_hash:
            return
        node = self.known(path)
        if node is not None and (node.content is not None or node.entry != entry):
            # Being written, or not what the view shows: it looks after itself.
            return
        row = row or Attrs()
        row.ino = self.inode_of(path, entry) if node is None else node.ino
        row.content = entry.content_hash
        row.mtime_ns = self.live.mtime_ns(path)
        row.ctime_ns = row.atime_ns = None
        self.rows.put(path, row)
        if node is not None:
            node.attrs = row

    def _scratch_directories(self, path: RepoPath) -> Iterator[RepoPath]:
        pending = [path]
        while pending:
            directory = pending.pop()
            below = [join(directory, name) for name in self.scratch.directories(directory)]
            yield from below
            pending += below

    def move_times(self, old: RepoPath, new: RepoPath) -> None:
        below = self.times_below(old)
        self.changed_ns.update({RepoPath(new + rest): time for rest, time in below.items()})

    def times_below(self, path: RepoPath) -> dict[str, int]:
        """Takes away the times of a directory and of those below it, by the rest of their paths."""
        found = [p for p in self.changed_ns if p == path or is_under(p, path)]
        return {p[len(path) :]: self.changed_ns.pop(p) for p in found}
