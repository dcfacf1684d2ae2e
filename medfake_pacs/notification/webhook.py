"""Tell a program: one POST, signed as Standard Webhooks asks for (https://www.standardwebhooks.com)."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

import httpx

from medfake_pacs import __version__
from medfake_pacs.config import NotificationSettings
from medfake_pacs.errors import NotificationError
from medfake_pacs.notification.outcome import Outcome

_PREFIX = "whsec_"
_BUSY = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


def send_webhook(target: NotificationSettings, event_id: str, body: bytes, now: float) -> Outcome:
    """POST ``body`` and return what came of it; only 2xx is success, and a redirect isn't followed.

    The whole call ends within ``target.timeout_s``, however slowly the server answers. What it answers isn't read.

    Raises
    ------
    NotificationError
        If the secret or the trusted certificates can't be read.
    """
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"medfake-pacs/{__version__}",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now)),
    }
    if target.secret_file:
        headers["webhook-signature"] = signature(read_secret(target.secret_file), event_id, int(now), body)
    context = trusted(target.ca)
    try:
        status, answered = asyncio.run(_post(target, headers, body, context))
    except TimeoutError:
        return Outcome(succeeded=False, status=None, comment=f"no answer within {target.timeout_s:g} s", everyone=True)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        reason = str(error) or type(error).__name__
        return Outcome(succeeded=False, status=None, comment=f"can't be reached: {reason}", everyone=True)
    return _outcome(status, answered)


def signature(secret: bytes, event_id: str, timestamp: int, body: bytes) -> str:
    """Return the header ``webhook-signature``: version 1, HMAC-SHA256 of ``id.timestamp.body`` in base64."""
    signed = b".".join((event_id.encode(), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


def read_secret(path: Path) -> bytes:
    """Return the key in a file: its text without the white space around it, or what follows ``whsec_`` from base64.

    Raises
    ------
    NotificationError
        If there is none, or it isn't base64.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
        secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True) if text.startswith(_PREFIX) else text
    except OSError as error:
        raise NotificationError(f"the secret can't be read: {error.strerror}") from None
    except (binascii.Error, UnicodeDecodeError):
        raise NotificationError(f"the secret isn't text, or what follows {_PREFIX} isn't base64") from None
    if not secret:
        raise NotificationError("the file of the secret is empty")
    return secret if isinstance(secret, bytes) else secret.encode("utf-8")


def trusted(ca: Path | None) -> ssl.SSLContext:
    """Return a TLS context that trusts the certificates in ``ca``, or those that the system trusts.

    Raises
    ------
    NotificationError
        If the file can't be used.
    """
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise NotificationError(f"the trusted certificates can't be read: {error}") from None


async def _post(
    target: NotificationSettings, headers: Mapping[str, str], body: bytes, context: ssl.SSLContext
) -> tuple[int, str]:
    """Return the status and what Retry-After says."""
    async with (
        asyncio.timeout(target.timeout_s),
        httpx.AsyncClient(verify=context, timeout=target.timeout_s, follow_redirects=False) as client,
        client.stream("POST", str(target.url), headers=dict(headers), content=body) as response,
    ):
        return response.status_code, response.headers.get("retry-after", "")


def _outcome(status: int, retry_after: str) -> Outcome:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    comment = f"answered {status} {phrase}".rstrip()
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        comment += "; a redirect isn't followed"
    return Outcome(
        succeeded=HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES,
        status=status,
        comment=comment,
        everyone=status in _BUSY,
        retry_after_s=float(retry_after) if retry_after.isascii() and retry_after.isdecimal() else 0.0,
    )
