# Plain strings and calls: a request is answered in less time than Path objects take.
# ruff: noqa: PTH104
"""What an earlier daemon left open: logged at the next start, or put beside the file.

A killed daemon leaves its working files whole. A machine that lost its power may leave any part of
them, zeros too, and must not put that in the place of what an fsync or a close has in the log.
"""

import os
import secrets
from dataclasses import replace
from pathlib import Path

import structlog

from pwfs.fs.attributes import Attrs
from pwfs.fs.disk import hash_file
from pwfs.fs.held import Held
from pwfs.fs.journal import HeldName, OpenFile
from pwfs.fs.writing import Writing
from pwfs.model.entries import FileEntry
from pwfs.model.errors import BlobDamaged, BlobMissing, PatchworkError
from pwfs.model.events import EventType
from pwfs.model.ops import OpType
from pwfs.model.paths import RepoPath
from pwfs.repo.edits import Edit
from pwfs.repo.live import Seen

_log = structlog.get_logger(__name__)


class Recovering(Writing):
    """The part of a workspace that takes over from a daemon that died."""

    def try_to_recover(self) -> None:
        """`recover`; what comes of it is told in the log."""
        try:
            count = self.recover()
        except (PatchworkError, OSError) as error:
            _log.error("open files are not recovered", workspace=self.id, error=str(error))
        else:
            if count:
                _log.info("open files recovered", workspace=self.id, files=count)

    def recover(self) -> int:
        """Logs what an earlier daemon left open, and what it held.

        Returns how many open files had something new.
        """
        left = self.journal.left_behind(lambda seq: self.repo.log.op(seq) is not None)
        for name in left.names:
            if self._is_logged(name):
                continue
            entry = name.entry
            if entry is not None and self._has_become(name, entry):
                if not name.is_tracked:
                    continue
                entry = None
            if entry is None or self._is_stored(entry):
                self.held[name.path] = Held(
                    name.path,
                    entry,
                    name.seen,
                    name.process,
                    is_tracked=name.is_tracked,
                    other=name.other,
                    id=name.id,
                )
        count = 0
        for file in left.files:
            working = self.files_directory / file.id
            # What had lost its last name is lost with whoever had it open.
            if file.paths and working.exists():
                count += self._recover_one(file, working)
        self.settle()
        # The journal may be all that an fsync put on disk.
        self.repo.log.sync()
        for working in self.files_directory.iterdir():
            working.unlink()
        self.journal.clear()
        return count

    def _is_logged(self, name: HeldName) -> bool:
        """Whether the log tells what became of a name, though the journal does not say so.

        A power failure may take the end of the journal and leave the log, or an older journal.
        What comes to a path is logged only after, or in the place of, what is held of it.
        """
        change_id = self.workspace.change_id
        return bool(
            self.repo.log.ops(change_id=change_id, path=name.path, since=name.noted_at, limit=1)
        )

    def _has_become(self, name: HeldName, entry: FileEntry) -> bool:
        """Whether the log has a held file under the name that it was being renamed to."""
        if name.becomes is None:
            return False
        ops = self.repo.log.ops(
            change_id=self.workspace.change_id, path=name.becomes, since=name.noted_at
        )
        return any((op.path, op.content_hash) == (name.becomes, entry.content_hash) for op in ops)

    def _is_stored(self, entry: FileEntry) -> bool:
        """Whether a content is there; a power failure takes what was not synced."""
        try:
            self.blobs.verify(entry.content_hash)
        except (BlobMissing, BlobDamaged):
            return False
        return True

    def _recover_one(self, file: OpenFile, working: Path) -> bool:
        status = working.stat()
        is_large = status.st_size > self.repo.config.max_blob_bytes
        row = self.rows.get(file.paths[0]) or Attrs()
        if is_large and not self.repo.has_lost_power:
            self.keep_beside_log(working, file.paths, row)
            return False
        with working.open("rb") as opened:
            digest = hash_file(opened.fileno(), status.st_size)
        entry = FileEntry(digest, file.mode, status.st_size)
        if self.repo.has_lost_power and self._set_aside(file.paths, entry, working):
            return False
        if is_large:
            self.keep_beside_log(working, file.paths, row)
            return False
        self.blobs.adopt(working, digest)
        edits = [
            Edit(
                OpType.MODIFY,
                path,
                entry,
                seen=self._seen_at(path, file),
                process=file.process,
                recovered=True,
            )
            for path in file.paths
            if entry != file.seen.current
        ]
        if not edits or not self.record(edits):
            return False
        # It is the same file still: its number, and that its names are hard links.
        row.content, row.mtime_ns, row.ctime_ns = digest, status.st_mtime_ns, status.st_mtime_ns
        for path in file.paths:
            self.rows.put(path, row)
        return True

    def _seen_at(self, path: RepoPath, file: OpenFile) -> Seen:
        if path == file.paths[0]:
            return file.seen
        return replace(file.seen, base=self.live.base_of(path))

    def _set_aside(self, paths: tuple[RepoPath, ...], entry: FileEntry, working: Path) -> bool:
        """Keeps what may be damaged beside a file that the log has, or is about to have.

        Tells whether there is one.
        """
        path = next((path for path in paths if self.shown_file(path) is not None), None)
        if path is None:
            return False
        if entry.size and self.shown_file(path) != entry:
            kept = RepoPath(f"{path}~unsynced-{secrets.token_hex(3)}")
            os.rename(working, self.scratch.make_room(kept))
            with self.repo.transaction():
                self.repo.publish(
                    EventType.FILE_SET_ASIDE,
                    workspace_id=self.id,
                    change_id=self.workspace.change_id,
                    path=path,
                    kept_as=kept,
                )
            _log.warning(
                "a file was being written without fsync when power failed; it is as last logged, "
                "and what is left of the writing lies beside it",
                workspace=self.id,
                path=path,
                kept_as=kept,
            )
        return True
