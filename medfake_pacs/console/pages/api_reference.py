"""The REST API's reference for people, made from its OpenAPI document."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from medfake_pacs.console.openapi import operations
from medfake_pacs.console.security.identity import SignedIn
from medfake_pacs.console.services import Services, services_of

router = APIRouter()
# How many levels of what a call answers are listed.
_DEPTH = 3
Using = Annotated[Services, Depends(services_of)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter, or one field of a body or answer, in words."""

    name: str
    place: str
    kind: str
    required: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of the REST API; ``answer`` is what it gives, ``failures`` are its other statuses."""

    anchor: str
    method: str
    path: str
    summary: str
    paragraphs: tuple[str, ...]
    scope: str
    parameters: tuple[Parameter, ...]
    answers: tuple[tuple[str, str], ...]
    fields: tuple[Parameter, ...]
    failures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The calls on one kind of thing."""

    name: str
    text: str
    calls: tuple[Call, ...]


@router.get("/api-reference")
def show(request: Request, services: Using, identity: SignedIn) -> Response:
    """Show every call, what it needs and what it gives."""
    document = request.app.openapi()
    groups = tuple(_groups(document))
    facts = {
        "groups": groups,
        "url": services.settings.console.public_url or str(request.base_url).rstrip("/"),
        "mine": identity.permissions,
    }
    return services.templates.TemplateResponse(request, "api_reference.html", facts)


def _groups(document: Mapping[str, Any]) -> Iterator[Group]:
    make = partial(_call, document)
    for tag in document["tags"]:
        calls = tuple(make(*item) for item in operations(document) if tag["name"] in item[2].get("tags", ()))
        if calls:
            yield Group(name=tag["name"], text=tag["description"], calls=calls)


def _call(document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> Call:
    text = operation.get("description", "").partition("Scope: `")[0]
    scopes = [scope for item in operation.get("security", ()) for scope in item.get("token", ())]
    parameters = [
        Parameter(
            name=item["name"],
            place=item["in"],
            kind=_kind(document, item.get("schema", {})),
            required=item.get("required", False),
            text=item.get("description") or item.get("schema", {}).get("description", ""),
        )
        for item in operation.get("parameters", ())
    ]
    for content_type, content in operation.get("requestBody", {}).get("content", {}).items():
        parameters += _fields(document, content.get("schema", {}), content_type)
    good = {status: item for status, item in operation["responses"].items() if status < "400"}
    return Call(
        anchor=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation.get("summary", ""),
        paragraphs=tuple(part.replace("`", "") for part in text.split("\n\n") if part.strip()),
        scope=", ".join(scopes),
        parameters=tuple(parameters),
        answers=tuple((status, _answer(document, item)) for status, item in good.items()),
        fields=tuple(field for item in good.values() for field in _answer_fields(document, item)),
        failures=tuple(
            (status, item["description"].replace("`", ""))
            for status, item in operation["responses"].items()
            if status not in good
        ),
    )


def _answer(document: Mapping[str, Any], response: Mapping[str, Any]) -> str:
    kinds = [
        f"{content_type}: {_kind(document, content.get('schema', {}))}".removesuffix(": ")
        for content_type, content in response.get("content", {}).items()
    ]
    return "; ".join(kinds) or str(response.get("description", ""))


def _answer_fields(document: Mapping[str, Any], response: Mapping[str, Any]) -> Iterator[Parameter]:
    for content_type, content in response.get("content", {}).items():
        if content_type == "application/json":
            yield from _fields(document, content.get("schema", {}), "", depth=_DEPTH)


def _fields(
    document: Mapping[str, Any], schema: Mapping[str, Any], place: str, prefix: str = "", depth: int = 1
) -> Iterator[Parameter]:
    """Yield the fields of an object, or of the objects in a list, and ``depth - 1`` levels of what they hold."""
    schema, listed = _object_in(document, schema)
    for name, item in schema.get("properties", {}).items():
        full = f"{prefix}{'[].' if listed and prefix else '.' if prefix else ''}{name}"
        yield Parameter(
            name=full,
            place=place,
            kind=_kind(document, item),
            required=name in schema.get("required", ()),
            text=item.get("description", ""),
        )
        if depth > 1:
            yield from _fields(document, item, place, full, depth - 1)


def _object_in(document: Mapping[str, Any], schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """Return the object that a schema is, lists, or is unless it is null; and whether it is listed."""
    schema = _resolved(document, schema)
    if schema.get("type") == "array":
        return _resolved(document, schema.get("items", {})), True
    choices = [item for item in schema.get("anyOf", ()) if item.get("type") != "null"]
    if len(choices) == 1:
        return _object_in(document, choices[0])
    return schema, False


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _kind(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Return a type in words: "whole number", "list of Study", "text: waiting, sent or dead"."""
    if "$ref" in schema:
        target = _resolved(document, schema)
        return _kind(document, target) if "enum" in target else str(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return "one of " + ", ".join(str(value) if value != "" else "(empty)" for value in schema["enum"])
    if "const" in schema:
        return repr(schema["const"])
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(_kind(document, item) for item in schema[key]))
    if schema.get("type") == "array":
        items = schema.get("items") or next(iter(schema.get("prefixItems", ())), {})
        return f"list of {_kind(document, items)}"
    if schema.get("format") == "binary" or "contentMediaType" in schema:
        return "file"
    names = {"integer": "whole number", "string": "text", "boolean": "true or false", "null": "null"}
    return names.get(str(schema.get("type", "")), str(schema.get("type", "")) or "any")
