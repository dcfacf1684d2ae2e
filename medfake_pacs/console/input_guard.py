"""Refuse what no page or call can use: NUL characters, which PostgreSQL can't keep, and bodies of other kinds."""

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medfake_pacs.console.errors import InvalidInputError, RequestError, UnsupportedContentError
from medfake_pacs.console.failures import respond

_TAKEN = {"application/json", "application/x-www-form-urlencoded", "multipart/form-data"}
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_NUL_IN = {_FORM: re.compile(rb"\x00|%00"), _JSON: re.compile(rb"\x00|\\u0000")}
_BODY_METHODS = {"POST", "PUT", "PATCH", "DELETE"}


class InputGuard:
    """Refuses NUL in addresses and bodies with 422, and bodies that are neither JSON nor a form with 415."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        error = _objection(scope)
        if error is None and scope["method"] in _BODY_METHODS:
            pattern = _NUL_IN.get(_content_type(scope))
            if pattern:
                body, ended = await _body(receive)
                receive = _replayed(body, ended, receive)
                error = _no_nul() if pattern.search(body) else None
        if error:
            await respond(error, scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _content_type(scope: Scope) -> str:
    return Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()


def _objection(scope: Scope) -> RequestError | None:
    if "\x00" in scope["path"] or b"%00" in scope["query_string"] or b"\x00" in scope["query_string"]:
        return _no_nul()
    if scope["method"] not in _BODY_METHODS:
        return None
    headers = Headers(scope=scope)
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if has_body and _content_type(scope) not in _TAKEN:
        return UnsupportedContentError(f"Send one of {', '.join(sorted(_TAKEN))}, and say so in Content-Type.")
    return None


def _no_nul() -> InvalidInputError:
    return InvalidInputError("A value holds the character U+0000, which can't be kept. Leave it out.")


async def _body(receive: Receive) -> tuple[bytes, bool]:
    """Return the whole body, which is bounded already, and whether it came to its end."""
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts), False
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts), True


def _replayed(body: bytes, ended: bool, receive: Receive) -> Receive:
    """Return a receive function that gives the body once more and then what comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        if not ended:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": body, "more_body": False}

    return again
