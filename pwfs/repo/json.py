"""The one set of JSON shapes: plain data out of the model's values."""

import dataclasses
import enum
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pwfs.model.ops import Op
from pwfs.store.codec import op_record


def to_json(value: object) -> object:
    """Turns a value into dicts, lists, text, numbers, True, False and None.

    Dataclasses become objects with their fields' names, times RFC 3339 text in UTC, and an
    operation the flat object of the design's section 3.
    """
    if isinstance(value, Op):
        return op_record(value)
    if isinstance(value, enum.Enum):
        return value.value
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no JSON shape")
