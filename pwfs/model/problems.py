"""Problem documents (RFC 9457): the one JSON shape in which every door tells of a failure.

The daemon answers requests with it, writes it to the pipe of whoever started it in vain, and the
CLI prints it with ``--json``.
"""

from typing import Final

from pwfs.model.errors import Category, PatchworkError

STATUS: Final[dict[Category, int]] = {
    Category.INVALID: 400,
    Category.NOT_FOUND: 404,
    Category.CONFLICT: 409,
    Category.FORBIDDEN: 403,
    Category.UNAUTHENTICATED: 401,
    Category.TOO_LARGE: 413,
    Category.NO_SPACE: 507,
    Category.UNAVAILABLE: 503,
    Category.CORRUPT: 500,
}
"""The HTTP status of each category of expected failures."""

MEDIA_TYPE = "application/problem+json"


def to_problem(error: PatchworkError) -> dict[str, object]:
    """Describes a failure to a program.

    ``fields`` holds the error's own typed fields, which may contain dataclasses: encode the
    document with msgspec. They are kept apart because some share a name with RFC 9457's members.
    """
    return problem(
        code=error.code,
        status=STATUS[error.category],
        detail=error.message,
        category=error.category,
        hint=error.hint,
        fields=error.fields,
    )


def problem(
    *,
    code: str,
    status: int,
    detail: str,
    category: str,
    hint: str = "",
    fields: dict[str, object] | None = None,
) -> dict[str, object]:
    """Builds a document; ``code`` is stable, ``detail`` is for people."""
    return {
        "type": f"urn:patchwork:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
        "category": category,
        "hint": hint,
        "fields": fields or {},
    }
