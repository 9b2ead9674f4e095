"""What an expected failure is: a code, who has to act, and what to do next."""

import dataclasses
import enum
from dataclasses import dataclass
from typing import ClassVar


class Category(enum.StrEnum):
    """Who has to act, and how each door answers."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    FORBIDDEN = "forbidden"
    UNAUTHENTICATED = "unauthenticated"
    TOO_LARGE = "too_large"
    NO_SPACE = "no_space"
    UNAVAILABLE = "unavailable"
    CORRUPT = "corrupt"


@dataclass
class PatchworkError(Exception):
    """The root of all expected failures.

    ``hint`` tells the reader what to do next. ``index`` is set where one of several things that were
    asked for together is refused, and all with it: which one, from 0.
    """

    code: ClassVar[str] = "error"
    category: ClassVar[Category] = Category.INVALID
    hint: ClassVar[str] = ""

    def __post_init__(self) -> None:
        self.index: int | None = None
        Exception.__init__(self, self.message)

    @property
    def message(self) -> str:
        """One sentence for people, without the hint."""
        return self.code.replace("_", " ")

    @property
    def fields(self) -> dict[str, object]:
        """The typed fields, for programs; ``index`` too where it is set."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return fields if self.index is None else {**fields, "index": self.index}

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else f"{self.message}."
