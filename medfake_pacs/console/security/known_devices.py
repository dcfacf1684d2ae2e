"""Browsers in which an account has signed in: strangers who guess at its password don't shut its owner out there.

The cookie is signed with the account's password hash, so that nothing is kept of it and another password ends it.
"""

import hashlib
import hmac
import secrets
import time

from fastapi import Request, Response

from medfake_pacs.console.services import Services

_LIFE_S = 180 * 86_400
_NONCE_BYTES = 16
_LONGEST = 200


def issue(password_hash: str) -> str:
    """Return the cookie's value for a browser in which the account with this password has signed in."""
    said = f"{secrets.token_urlsafe(_NONCE_BYTES)}.{int(time.time()) + _LIFE_S}"
    return f"{said}.{_signature(said, password_hash)}"


def device_of(services: Services, request: Request, password_hash: str | None) -> str:
    """Return what a request's browser is counted as; empty unless it has proved to be one of the account's."""
    cookie = request.cookies.get(_cookie_name(services), "")
    said, _, signature = cookie.rpartition(".")
    expires_at = said.rpartition(".")[2]
    if not password_hash or len(cookie) > _LONGEST or not (expires_at.isascii() and expires_at.isdecimal()):
        return ""
    if not hmac.compare_digest(signature.encode(), _signature(said, password_hash).encode()):
        return ""
    return hashlib.sha256(said.encode()).hexdigest() if int(expires_at) > time.time() else ""


def set_cookie(services: Services, response: Response, value: str) -> None:
    """Let the browser prove later that this account has signed in there."""
    response.set_cookie(
        _cookie_name(services),
        value,
        httponly=True,
        samesite="strict",
        secure=services.settings.console.is_https,
        path="/",
        max_age=_LIFE_S,
    )


def _cookie_name(services: Services) -> str:
    return "__Host-medfake-device" if services.settings.console.is_https else "medfake-device"


def _signature(said: str, password_hash: str) -> str:
    return hmac.new(password_hash.encode(), f"known device {said}".encode(), hashlib.sha256).hexdigest()
