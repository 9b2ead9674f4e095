"""Failures as problem documents (RFC 9457), whatever raised them."""

import errno

import msgspec
import structlog
from quart import Response
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from pwfs.model.errors import Category, NoSpace, PatchworkError
from pwfs.model.problems import MEDIA_TYPE, STATUS, problem, to_problem

log = structlog.get_logger(__name__)

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def install(application: QuartTrio) -> None:
    """Lets an application answer every failure with a document."""
    application.register_error_handler(PatchworkError, answer_expected)
    application.register_error_handler(HTTPException, answer_http)
    application.register_error_handler(Exception, answer_unexpected)


def answer_expected(error: PatchworkError) -> Response:
    """Answers a failure that Patchwork knows."""
    if error.category is Category.CORRUPT:
        log.error("something stored is damaged", error=error.message)
    status = STATUS[error.category]
    response = _respond(to_problem(error), status)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="patchwork"'
    return response


def answer_http(error: HTTPException) -> Response:
    """Answers what the framework refuses: no such address, another method, a cut-off body."""
    status = error.code or 500
    code = (error.name or "error").lower().replace(" ", "_")
    category = {404: "not_found", 405: "invalid", 413: "too_large"}.get(status, "invalid")
    response = _respond(
        problem(
            code="no_such_endpoint" if status == 404 else code,
            status=status,
            detail=error.description or error.name or "",
            category=category,
            hint="GET /api/openapi.json describes the endpoints." if status in (404, 405) else "",
        ),
        status,
    )
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def answer_unexpected(error: Exception) -> Response:
    """Answers a defect: the details are for the log, not for the network.

    A full disk is no defect, wherever it was noticed.
    """
    if isinstance(error, OSError) and error.errno in FULL:
        return answer_expected(NoSpace(what=error.strerror or "no room is left"))
    log.error("request failed", exc_info=error)
    return _respond(
        problem(
            code="internal",
            status=500,
            detail="Something unexpected happened in the daemon",
            category="internal",
            hint="The daemon's log, .patchwork/daemon.log, has the details.",
        ),
        500,
    )


def _respond(document: dict[str, object], status: int) -> Response:
    return Response(msgspec.json.encode(document), status=status, content_type=MEDIA_TYPE)
