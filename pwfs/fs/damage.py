"""Tells of contents that a program wanted to read and that are missing or damaged."""

from collections import OrderedDict

import structlog

from pwfs.model.errors import BlobDamaged, BlobMissing, PatchworkError
from pwfs.model.events import EventType
from pwfs.model.ids import BlobHash
from pwfs.repo import Repository

TOLD_MAX = 10_000
_log = structlog.get_logger(__name__)


class Damages:
    """Writes a line in the log and an event for each content, once; the reader gets EIO."""

    def __init__(self, repo: Repository) -> None:
        self._repo = repo
        self._told: OrderedDict[BlobHash, None] = OrderedDict()

    def tell(self, error: BlobMissing | BlobDamaged, view_id: str, path: str) -> None:
        """Tells what was found by reading a file of a view."""
        blob = BlobHash(error.blob_hash)
        if blob in self._told:
            return
        self._told[blob] = None
        if len(self._told) > TOLD_MAX:
            self._told.popitem(last=False)
        reason = error.reason if isinstance(error, BlobDamaged) else "is missing"
        change_id = self._change_of(view_id)
        _log.error(
            "a stored content is damaged; `patchwork fsck` tells what names it",
            blob=blob,
            reason=reason,
            view=view_id,
            path=path,
            change=change_id,
        )
        try:
            with self._repo.transaction():
                self._repo.publish(
                    EventType.BLOB_DAMAGED,
                    content_hash=blob,
                    reason=reason,
                    path=path,
                    view_id=view_id,
                    change_id=change_id,
                )
        except PatchworkError as failure:
            _log.error("no event tells of the damaged content", blob=blob, error=str(failure))

    def _change_of(self, view_id: str) -> str | None:
        for workspace in self._repo.workspaces(tests=True):
            if workspace.id == view_id:
                return workspace.change_id
        return None
