"""``/api/openapi.json``: the API described for programs, made of the routes themselves."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from quart import Blueprint, Quart, Response, current_app

from pwfs.model.problems import MEDIA_TYPE
from pwfs_daemon import __version__
from pwfs_daemon.web.answers import Body, answer

routes = Blueprint("openapi", __name__)

_DESCRIPTION = "_patchwork_description"
_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
_NUMBERS = frozenset({"limit", "since", "until", "version", "attempt"})
_FLAGS = frozenset({"newest_first", "follow"})
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

Route = TypeVar("Route", bound=Callable[..., object])


class Description(msgspec.Struct, frozen=True):
    """What a route takes beside the parts of its path."""

    body: type[Body] | None = None
    query: tuple[str, ...] = ()


def takes(body: type[Body] | None = None, *query: str) -> Callable[[Route], Route]:
    """Notes the shape of a route's body and the names of its query parameters."""

    def note(route: Route) -> Route:
        setattr(route, _DESCRIPTION, Description(body, query))
        return route

    return note


@routes.get("/openapi.json")
async def get_description() -> Response:
    """Describes this API (OpenAPI 3.1)."""
    return answer(describe(current_app))


def describe(application: Quart) -> dict[str, Any]:
    """Describes every route of an application."""
    found = []
    for rule in application.url_map.iter_rules():
        route = application.view_functions[rule.endpoint]
        for method in _METHODS:
            if method in (rule.methods or ()):
                noted = getattr(route, _DESCRIPTION, Description())
                found.append((_PARAMETER.sub(r"{\1}", rule.rule), method, route, noted))
    bodies = {noted.body for _, _, _, noted in found if noted.body is not None}
    _, schemas = msgspec.json.schema_components(
        sorted(bodies, key=lambda body: body.__name__),
        schema_hook=_anything,
        ref_template="#/components/schemas/{name}",
    )
    paths: dict[str, dict[str, Any]] = {}
    for path, method, route, noted in sorted(found, key=lambda each: each[:2]):
        operation = _operation(path, route, noted)
        paths.setdefault(path, {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Patchwork", "version": __version__},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Problem": _PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(path: str, route: Callable[..., object], noted: Description) -> dict[str, Any]:
    summary = (route.__doc__ or "").strip().split("\n", 1)[0]
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", path)
    ]
    parameters += [{"name": name, "in": "query", "schema": _query(name)} for name in noted.query]
    operation: dict[str, Any] = {
        "operationId": route.__name__,
        "summary": summary,
        "responses": {
            "2XX": {"description": "Done."},
            "default": {
                "description": "A problem document (RFC 9457).",
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        },
    }
    if parameters:
        operation["parameters"] = parameters
    if noted.body is not None:
        reference = {"$ref": f"#/components/schemas/{noted.body.__name__}"}
        operation["requestBody"] = {"content": {"application/json": {"schema": reference}}}
    return operation


def _anything(kind: type) -> dict[str, Any]:
    """Describes ``object``: any JSON value."""
    if kind is object:
        # An empty schema would say the same, but msgspec takes it for none.
        return {"description": "Any JSON value."}
    raise NotImplementedError


def _query(name: str) -> dict[str, str]:
    if name in _FLAGS:
        return {"type": "boolean"}
    return {"type": "integer"} if name in _NUMBERS else {"type": "string"}


_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "category", "hint", "fields"],
    "properties": {
        **{
            name: {"type": "string"}
            for name in ("type", "title", "detail", "code", "category", "hint")
        },
        "status": {"type": "integer"},
        "fields": {"type": "object"},
    },
}
