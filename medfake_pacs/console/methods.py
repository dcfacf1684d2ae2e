"""Methods that no route answers: HEAD is GET without the body, OPTIONS and 405 name what is allowed."""

import re
from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send


class AllowedMethods:
    """Which methods the application's routes answer at a path."""

    def __init__(self, app: FastAPI) -> None:
        self._routes: list[tuple[re.Pattern[str], frozenset[str]]] = []
        for context in iter_route_contexts(app.routes):
            methods = frozenset(getattr(context, "methods", None) or ())
            if context.path is not None and methods:
                self._routes.append((compile_path(str(context.path))[0], methods))

    def at(self, path: str) -> Sequence[str]:
        """Return them in alphabetic order; none where there is no such path."""
        found: set[str] = set()
        for pattern, methods in self._routes:
            if pattern.match(path):
                found |= methods
        if "GET" in found:
            found.add("HEAD")
        return sorted(found | {"OPTIONS"}) if found else []


class Methods:
    """Answers HEAD as GET (the server leaves the body out, RFC 9110 9.3.2), and OPTIONS with what is allowed."""

    def __init__(self, app: ASGIApp, *, allowed: AllowedMethods) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            methods = self._allowed.at(scope["path"])
            if methods:
                headers = [(b"allow", ", ".join(methods).encode()), (b"content-length", b"0")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": b""})
                return
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)
