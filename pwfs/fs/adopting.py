# Plain strings and calls: a request is answered in less time than Path objects take.
# ruff: noqa: PTH108, PTH115, PTH123
"""Files that leave scratch for the log: by a new name, or with the directory that they are in."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from pwfs.fs.attributes import Attrs, versioned_mode
from pwfs.fs.linking import new_group
from pwfs.fs.nodes import Kind, Node
from pwfs.fs.numbering import Numbering
from pwfs.model.entries import FileEntry, Mode
from pwfs.model.errors import PatchworkError
from pwfs.model.ids import BlobHash
from pwfs.model.ops import OpType, Provenance
from pwfs.model.paths import RepoPath, join
from pwfs.repo.edits import Edit

_CHUNK_BYTES = 1 << 20
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Found:
    """A file in scratch that the log is to have: all its names that are to be logged."""

    paths: list[RepoPath]
    links: int
    entry: FileEntry
    attrs: Attrs


class Adopting(Numbering):
    """The part of a workspace that takes files from scratch into the log."""

    def store_scratch(self, path: RepoPath, ino: int | None) -> tuple[FileEntry, Attrs]:
        """Stores the content of a file in scratch; what the log and the workspace keep of it."""
        place = self.scratch.place(path)
        status = os.lstat(place)
        if stat.S_ISLNK(status.st_mode):
            target = os.fsencode(os.readlink(place))
            entry = FileEntry(self.blobs.put(target), Mode.SYMLINK, len(target))
        else:
            digest, size = self._store_file(place)
            entry = FileEntry(digest, versioned_mode(status.st_mode), size)
        attrs = Attrs(
            mode=None if entry.mode is Mode.SYMLINK else stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            content=entry.content_hash,
            ino=ino,
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
            atime_ns=status.st_atime_ns,
            xattrs=self.scratch.xattrs(path),
        )
        return entry, attrs

    def _store_file(self, place: str) -> tuple[BlobHash, int]:
        with open(place, "rb", buffering=0) as file:
            return self.blobs.put_stream(
                iter(lambda: file.read(_CHUNK_BYTES), b""),
                size_bytes_max=self.repo.config.max_blob_bytes,
            )

    def now_versioned(self, node: Node, entry: FileEntry, attrs: Attrs) -> None:
        """Makes a node of scratch that of a versioned file; what has it open goes on with that."""
        node.revoke()
        node.kind = Kind.LINK if entry.mode is Mode.SYMLINK else Kind.FILE
        node.entry, node.attrs, node.identity = entry, attrs, None
        if node.content is not None:
            node.content.close()
            node.content = None
            if node.handles:
                self.open_content(node)

    def adopt_unignored(self, path: RepoPath, process: Provenance | None) -> None:
        """Takes into the log what at a path, and below, came out of an ignored directory."""
        try:
            self._adopt_unignored(path, process)
        except (PatchworkError, OSError) as error:
            # The directory has moved, and its files with it; they are only not logged.
            _log.warning("files are not taken into the log", path=path, error=str(error))

    def _adopt_unignored(self, path: RepoPath, process: Provenance | None) -> None:
        found = self._unignored(path)
        edits = [
            Edit(OpType.MODIFY, file, each.entry, process=process)
            for each in found
            for file in each.paths
        ]
        if not edits:
            return
        self.record(edits)
        for each in found:
            self._enter_log(each)

    def _unignored(self, path: RepoPath) -> list[_Found]:
        """Stores what is to be logged, hard links as one file."""
        found: dict[tuple[int, int], _Found] = {}
        for file, status in self._scratch_files(path):
            is_loggable = stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)
            is_small = status.st_size <= self.repo.config.max_blob_bytes
            if not is_loggable or not is_small or self.is_scratch_name(file):
                continue
            identity = (status.st_dev, status.st_ino)
            if identity in found:
                found[identity].paths.append(file)
                continue
            known = self.known(file)
            if known is not None:
                known.revoke()
            entry, attrs = self.store_scratch(file, known.ino if known is not None else None)
            found[identity] = _Found([file], status.st_nlink, entry, attrs)
        return list(found.values())

    def _enter_log(self, found: _Found) -> None:
        """Makes a file a versioned one, whose names outside stay what they were."""
        is_parted = len(found.paths) < found.links
        if is_parted:
            found.attrs.ino = None
        if len(found.paths) > 1:
            found.attrs.group = new_group()
        for path in found.paths:
            known = self.known(path)
            os.unlink(self.scratch.place(path))
            self.rows.put(path, found.attrs)
            if known is not None and not is_parted:
                self.now_versioned(known, found.entry, found.attrs)
            elif known is not None:
                self._part_from_scratch(known, path)

    def _part_from_scratch(self, node: Node, path: RepoPath) -> None:
        """Takes a name from a file in scratch that has others: it leads to another file now."""
        for directory, name in list(node.names()):
            if directory.is_attached and directory.path_of(name) == path:
                node.detach(directory, name)
                self.table.drop_unused(node)
                if self.invalidator is not None:
                    self.invalidator.entry(directory.ino, name)

    def _scratch_files(self, path: RepoPath) -> Sequence[tuple[RepoPath, os.stat_result]]:
        files: list[tuple[RepoPath, os.stat_result]] = []
        status = self.scratch.stat(path)
        if status is not None and not stat.S_ISDIR(status.st_mode):
            return [(path, status)]
        pending = [path]
        while pending:
            directory = pending.pop()
            for name, status in self.scratch.names(directory).items():
                below = join(directory, name)
                if stat.S_ISDIR(status.st_mode):
                    pending.append(below)
                else:
                    files.append((below, status))
        return files
