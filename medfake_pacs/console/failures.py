"""Turn errors into answers: pages for people, problem+json (RFC 9457) for programs."""

import json
import logging
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from medfake_pacs.console.errors import (
    BusyError,
    NotSignedInError,
    PasswordChangeNeededError,
    RequestError,
    TooManyRequestsError,
)
from medfake_pacs.console.security import sessions
from medfake_pacs.console.services import services_of

_PROBLEM = "application/problem+json"
_log = logging.getLogger(__name__)


def install(app: FastAPI) -> None:
    """Have the application answer every error."""
    app.add_exception_handler(RequestError, _on_request_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(SQLAlchemyError, _on_database_error)
    app.add_exception_handler(Exception, _on_anything)


async def respond(error: RequestError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request with an error before any page has seen it."""
    request = Request(scope, receive)
    response = await _response(request, error.status, error.title, str(error))
    await response(scope, receive, send)


async def respond_to_anything(error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request that broke, and log why."""
    response = await _on_anything(Request(scope, receive), error)
    await response(scope, receive, send)


async def _on_request_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    if isinstance(error, NotSignedInError) and not _is_api(request):
        return _to_sign_in(request)
    if isinstance(error, PasswordChangeNeededError) and request.method == "GET" and not _is_api(request):
        return _go(request, "/account/password")
    extra = {"fields": error.fields} if getattr(error, "fields", None) else {}
    response = await _response(request, error.status, error.title, str(error), **extra)
    if isinstance(error, NotSignedInError):
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, (TooManyRequestsError, BusyError)):
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _go(request: Request, where: str) -> Response:
    """Return what takes a browser elsewhere, and htmx too."""
    if request.headers.get("hx-request"):
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"HX-Redirect": where})
    return RedirectResponse(where, HTTPStatus.SEE_OTHER)


def _is_api(request: Request) -> bool:
    return str(request.scope["path"]).startswith("/api/")


def _to_sign_in(request: Request) -> Response:
    if request.headers.get("hx-request") or request.method != "GET":
        return _go(request, "/sign-in")
    where = str(request.scope["path"]) + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse("/sign-in" if where == "/" else f"/sign-in?next={quote(where)}", HTTPStatus.SEE_OTHER)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    detail = str(error.detail)
    if error.status_code == HTTPStatus.NOT_FOUND:
        thing = "call" if _is_api(request) else "page"
        phrase, detail = f"There is no such {thing} here", "The address may be mistyped, or what it named is gone."
    response = await _response(request, error.status_code, phrase, detail)
    response.headers.update(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = ", ".join(request.app.state.allowed_methods.at(request.scope["path"]))
    return response


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # Not the rejected values: they can be patient data.
    fields = {".".join(str(part) for part in item["loc"][1:]): str(item["msg"]) for item in error.errors()}
    text = "; ".join(f"{name}: {reason}" for name, reason in fields.items())
    return await _response(request, 422, "Something needs to be corrected", text, fields=fields)


async def _on_database_error(request: Request, error: Exception) -> Response:
    incident = _log_incident(request, error)
    if not hasattr(request.state, "identity"):
        # The error's own page would ask the database again who it is for.
        request.state.identity = None
    text = f"The database doesn't answer. Try again in a moment; the console's log has the reason as {incident}."
    return await _response(request, HTTPStatus.SERVICE_UNAVAILABLE, "Out of reach just now", text)


async def _on_anything(request: Request, error: Exception) -> Response:
    if not hasattr(request.state, "identity"):
        request.state.identity = None
    incident = _log_incident(request, error)
    text = f"That is our fault, not yours. Nothing was lost; the console's log has the reason as {incident}."
    return await _response(request, HTTPStatus.INTERNAL_SERVER_ERROR, "Something broke", text)


def _log_incident(request: Request, error: Exception) -> str:
    incident = secrets.token_hex(4)
    route = request.scope.get("route")
    where = getattr(route, "path", "")
    _log.error("a request broke", exc_info=error, extra={"incident": incident, "route": where})
    return incident


async def _response(request: Request, status: int, title: str, detail: str, **extra: object) -> Response:
    if _is_api(request):
        body = {"type": "about:blank", "title": title, "status": int(status), "detail": detail, **extra}
        return Response(json.dumps(body), status_code=status, media_type=_PROBLEM)
    facts = {"title": title, "detail": detail, "status": int(status)}
    # The page shows whose it is, and looking that up may wait for the database.
    return await run_in_threadpool(_page, request, facts)


def _page(request: Request, facts: Mapping[str, Any]) -> Response:
    services = services_of(request)
    if not hasattr(request.state, "identity"):
        # Nobody has used the session: an error needn't wait for those who write.
        request.state.identity = sessions.identity_of(services, request, touch=False)
    name = "partials/error.html" if request.headers.get("hx-request") else "error.html"
    return services.templates.TemplateResponse(request, name, dict(facts), status_code=int(facts["status"]))
