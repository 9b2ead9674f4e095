"""Events: what happened, with a rising id, kept so that it can be replayed."""

import enum
from dataclasses import dataclass
from datetime import datetime

from pwfs.model.ids import EventId


class EventType(enum.StrEnum):
    """The types of events; the first five are the seed's."""

    OP_APPENDED = "op_appended"
    CHANGE_LANDED = "change_landed"
    CONFLICT_DETECTED = "conflict_detected"
    TEST_RESULT = "test_result"
    QUEUE_POSITION = "queue_position"
    CONFLICT_RESOLVED = "conflict_resolved"
    CHANGE_CREATED = "change_created"
    CHANGE_UPDATED = "change_updated"
    CHANGE_STATUS = "change_status"
    VERSION_CREATED = "version_created"
    VIEW_CREATED = "view_created"
    VIEW_DELETED = "view_deleted"
    WORKSPACE_CREATED = "workspace_created"
    WORKSPACE_SWITCHED = "workspace_switched"
    WORKSPACE_DESTROYED = "workspace_destroyed"
    ITEM_EJECTED = "item_ejected"
    ITEM_CANCELLED = "item_cancelled"
    TEST_STARTED = "test_started"
    MAIN_TESTED = "main_tested"
    TARGETS_DECLARED = "targets_declared"
    QUEUE_STATE = "queue_state"
    TREE_CLOSED = "tree_closed"
    TREE_OPENED = "tree_opened"
    ITEM_JUMPED = "item_jumped"
    FILE_SKIPPED = "file_skipped"
    FILE_SET_ASIDE = "file_set_aside"
    BLOB_DAMAGED = "blob_damaged"
    CONTENT_LOST = "content_lost"
    CONFIG_CHANGED = "config_changed"


@dataclass(frozen=True, slots=True)
class Event:
    """One stored event; ``payload`` is plain JSON data."""

    id: EventId
    type: EventType
    timestamp: datetime
    payload: dict[str, object]
