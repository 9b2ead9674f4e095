"""Conflicts as they are kept, by the names of their contents, and as programs receive them.

A conflict that is told of in an event would fill the log with copies of whole files: so the event
names the contents, which the store keeps anyway, and whoever reads it gets their text.
"""

from collections.abc import Iterable
from dataclasses import replace

import msgspec

from pwfs.model.entries import FileEntry
from pwfs.model.errors import BlobDamaged, BlobMissing, Conflicted
from pwfs.model.events import Event, EventType
from pwfs.model.ids import SEQ_ZERO, BlobHash
from pwfs.model.views import ConflictEvent, ConflictNote
from pwfs.repo.core import Core
from pwfs.repo.live import Conflict

TEXT_SIZE_BYTES_MAX = 1024 * 1024


class Telling(Core):
    """The part of a repository that says what a conflict is."""

    def conflicted(self, subject: str, conflicts: Iterable[Conflict]) -> Conflicted:
        """The error that names every path in conflict."""
        found = tuple(conflicts)
        return Conflicted(
            subject=subject,
            paths=tuple(conflict.path for conflict in found),
            conflicts=tuple(self.conflict_event(conflict) for conflict in found),
        )

    def conflict_event(self, conflict: Conflict) -> ConflictEvent:
        """A conflict with its contents.

        Raises:
            BlobMissing: a content is not in the store.
            BlobDamaged: a content is damaged.
        """
        note = self.conflict_note(conflict)
        return self._with_texts(note, *map(self._text, _contents(note)))

    def conflict_note(self, conflict: Conflict) -> ConflictNote:
        """A conflict with the names of its contents."""
        theirs, yours = conflict.their_side, conflict.your_side
        op_seq = theirs.seq
        if theirs.change_id is None:
            op = self.log.last_op_on(conflict.path, landed_until=theirs.seq)
            op_seq = op.id if op else SEQ_ZERO
        shown = conflict.shown
        is_marked = shown is not None and shown not in (conflict.theirs, conflict.yours)
        assert yours.change_id is not None
        return ConflictNote(
            type=conflict.type,
            path=conflict.path,
            your_change=yours.change_id,
            your_version=yours.version,
            their_change=theirs.change_id,
            conflicting_op=op_seq,
            base_hash=_hash(conflict.base),
            your_hash=_hash(conflict.yours),
            their_hash=_hash(conflict.theirs),
            marked_hash=_hash(shown) if is_marked else None,
        )

    def publish_conflict(self, note: ConflictNote) -> None:
        """Stores, in the current transaction, the event that tells of a conflict."""
        self.publish(EventType.CONFLICT_DETECTED, **msgspec.to_builtins(note))

    def told(self, event: Event) -> Event:
        """An event as programs receive it: a conflict's with the texts of its contents.

        A content that cannot be read any more has none; what happened is told all the same.
        """
        if event.type is not EventType.CONFLICT_DETECTED or "your_hash" not in event.payload:
            return event  # earlier versions stored the texts themselves
        note = msgspec.convert(event.payload, ConflictNote)
        told = self._with_texts(note, *map(self._text_if_there, _contents(note)))
        return replace(event, payload=msgspec.to_builtins(told))

    def _with_texts(
        self, note: ConflictNote, base: str, yours: str, theirs: str, marked: str
    ) -> ConflictEvent:
        return ConflictEvent(
            type=note.type,
            path=note.path,
            your_change=note.your_change,
            your_version=note.your_version,
            their_change=note.their_change,
            conflicting_op=note.conflicting_op,
            base_content=base,
            your_content=yours,
            their_content=theirs,
            conflict_markers=marked,
        )

    def _text_if_there(self, content: BlobHash | None) -> str:
        try:
            return self._text(content)
        except (BlobMissing, BlobDamaged):
            return ""

    def _text(self, content: BlobHash | None) -> str:
        if content is None or self.blobs.size(content) > TEXT_SIZE_BYTES_MAX:
            return ""
        return self.blobs.get(content).decode("utf-8", "replace")


def _hash(entry: FileEntry | None) -> BlobHash | None:
    return entry.content_hash if entry is not None else None


def _contents(note: ConflictNote) -> tuple[BlobHash | None, ...]:
    return note.base_hash, note.your_hash, note.their_hash, note.marked_hash
