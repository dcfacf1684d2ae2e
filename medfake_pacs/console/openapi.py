"""The OpenAPI document: what FastAPI finds out by itself, and what each call needs and how it fails."""

import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from medfake_pacs.console.security.identity import Requirement
from medfake_pacs.console.security.permissions import PERMISSION_MEANINGS

PROBLEM_TYPE = "application/problem+json"
# What each tag is about; the tag is the name of the module.
TAGS: Mapping[str, str] = {
    "studies": "Studies by their Study Instance UID, their series, instances and reports.",
    "images": "One-off checks of uploaded images.",
    "reviews": "What radiologists said of verdicts.",
    "log": "The hash-chained log: search, export, verify; counts.",
    "node": "The node's state, queues and destinations.",
    "deliveries": "Reports on their way to destinations, and dead letters.",
    "models": "The models, their cards and digests.",
    "notifications": "Who was told of verdicts, and who couldn't be.",
}
_MEANINGS: Mapping[int, str] = {
    400: "The body can't be read.",
    401: "No token, or one that is unknown, has expired or was revoked.",
    403: "The token, or the account behind it, lacks the scope.",
    404: "There is no such thing, or not any more.",
    409: "What is asked for contradicts what is there.",
    410: "It was here, and its retention is over.",
    413: "The body is larger than is taken.",
    415: "The body isn't of a kind that is taken.",
    422: "A value is missing or wrong; `fields` says which and why.",
    429: "Too often; `Retry-After` says when to try again.",
    503: "The database or the disk doesn't answer; try again in a moment.",
}
_PROBLEM: Mapping[str, Any] = {
    "type": "object",
    "description": "Why a call failed (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "examples": ["about:blank"]},
        "title": {"type": "string", "description": "The kind of problem in a few words."},
        "status": {"type": "integer", "description": "The HTTP status again."},
        "detail": {"type": "string", "description": "What is wrong, and what to do."},
        "fields": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "What is wrong with each parameter, by its name.",
        },
    },
}
_SECTION = re.compile(r"\n\s*\n\s*(Raises|Parameters|Returns)\n", re.MULTILINE)
_METHODS = {"get", "put", "post", "delete", "patch"}
_BODY_METHODS = {"put", "post", "patch"}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what goes into a route's ``responses=`` for the failures that only this route has.

    401, 403, 422, 429 and 503, and 404 where the path has a parameter, are declared for every call already.
    """
    return {status: {"description": _MEANINGS.get(status, HTTPStatus(status).phrase)} for status in statuses}


def operation_id(route: APIRoute) -> str:
    """Return a call's id, by which generated clients name it: module and function."""
    return f"{route.endpoint.__module__.rpartition('.')[2]}_{route.name}"


def install(app: FastAPI, public_url: str | None) -> None:
    """Have the application serve this document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = build(app, public_url)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def build(app: FastAPI, public_url: str | None) -> dict[str, Any]:
    """Return the document on every call under ``/api``."""
    document = get_openapi(
        title="medfake_pacs",
        version=app.version,
        description=_DESCRIPTION,
        routes=app.routes,
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        servers=[{"url": public_url or "/"}],
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "A token made on the account's page."}
    }
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = dict(_PROBLEM)
    for context, method in _calls(app):
        _complete(document["paths"][context.path_format][method], context, method)
    return document


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method in lower case and operation of each call in a document."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in _METHODS:
                yield path, method, operation


def _calls(app: FastAPI) -> Iterator[tuple[RouteContext, str]]:
    for context in iter_route_contexts(app.routes):
        original = context.original_route
        if isinstance(original, APIRoute) and original.include_in_schema and str(context.path).startswith("/api/"):
            for method in sorted(context.methods or ()):
                if method.lower() in _METHODS:
                    yield context, method.lower()


def _complete(operation: dict[str, Any], context: RouteContext, method: str) -> None:
    """Say of a call what it is for, which scope it needs, and how it can fail."""
    route = context.original_route
    assert isinstance(route, APIRoute)
    summary, text = _docstring(route.endpoint.__doc__ or "")
    if route.summary:
        summary, text = route.summary.rstrip("."), f"{summary}.\n\n{text}".strip()
    requirement = _requirement(route.dependant)
    scopes: list[str] = []
    if requirement and requirement.permission:
        scopes = [str(requirement.permission)]
        text += f"\n\nScope: `{requirement.permission}` ({PERMISSION_MEANINGS[requirement.permission]})."
    operation["summary"] = summary.replace("`", "")
    operation["description"] = text.strip().replace("``", "`")
    if requirement:
        operation["security"] = [{"token": scopes}]
    responses = operation["responses"]
    for status in _statuses(operation, requirement, method):
        responses.setdefault(str(status), {"description": _MEANINGS[status]})
    for status, response in responses.items():
        if status.isdecimal() and int(status) >= HTTPStatus.BAD_REQUEST:
            response["description"] = _MEANINGS.get(int(status), response.get("description", ""))
            response["content"] = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    operation["responses"] = dict(sorted(responses.items()))


def _statuses(operation: Mapping[str, Any], requirement: Requirement | None, method: str) -> Iterable[int]:
    statuses = {422, 429, 503}
    if requirement:
        statuses.add(401)
        if requirement.permission:
            statuses.add(403)
    if any(item["in"] == "path" for item in operation.get("parameters", ())):
        statuses.add(404)
    if method in _BODY_METHODS:
        statuses |= {400, 413, 415}
    return sorted(statuses)


def _requirement(dependant: Dependant) -> Requirement | None:
    for inner in dependant.dependencies:
        if isinstance(inner.call, Requirement):
            return inner.call
        found = _requirement(inner)
        if found:
            return found
    return None


def _docstring(text: str) -> tuple[str, str]:
    """Return the first line without its full stop, and the rest up to what is for programmers."""
    first, _, rest = text.strip().partition("\n")
    lines = [line.strip() for line in _SECTION.split(f"\n{rest}\n")[0].splitlines()]
    return first.rstrip("."), "\n".join(lines).strip()


_DESCRIPTION = """\
Verdicts on images, series and studies, the log of what was done, and the state of the node.

**Authentication.** Each call needs a token: `Authorization: Bearer mfp_...`. Make one on your account's page; it \
carries the scopes that you choose, as far as your account has them. Browsers' sessions don't work here.

**Errors** are `application/problem+json` (RFC 9457) with `title`, `status`, `detail`, and `fields` where single \
parameters are wrong.

**Times** are seconds since 1970-01-01 00:00:00 UTC unless they are said to be text. **Lists** are paged by key: take \
the cursor of a page to ask for the next one.
"""
