"""What every request and response passes: size limits, the origin check, security headers. Plain ASGI."""

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medfake_pacs.console.errors import NotAllowedError, RequestTimeoutError, TooLargeError
from medfake_pacs.console.failures import respond, respond_to_anything

# No inline script or style, nothing from another host, no frame: what a peer sends can't become code.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_FIXED_HEADERS = (
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
    ("X-Frame-Options", "DENY"),
)
_RELOAD = "Go to the page again and repeat it there."
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
# Such a body is kept in memory before anybody knows who sends it.
BODY_BYTES = 65_536
BODY_S = 30.0
# How long an upload may send nothing; its own limit is shorter, and says more.
_SILENCE_S = 90.0
# What the form around an upload may add to its files.
_FORM_BYTES = 65_536
UPLOAD_PATHS = ("/checks", "/api/images", "/node/route-test")


class SecurityHeaders:
    """Adds to each response the headers that browsers act on; data is never cached."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app = app
        self._https = https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _FIXED_HEADERS:
                    headers[name] = value
                if self._https:
                    headers["Strict-Transport-Security"] = "max-age=31536000"
                if scope["path"].startswith("/static/"):
                    headers.setdefault("Cache-Control", "public, max-age=3600")
                else:
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class BodyLimit:
    """Refuses a body that is larger than its path takes: by what it announces, and by what really comes.

    One that isn't an upload must be there within ``body_s``, an upload must go on coming.
    """

    def __init__(
        self, app: ASGIApp, *, upload_bytes: int, body_s: float = BODY_S, upload_paths: Sequence[str] = UPLOAD_PATHS
    ) -> None:
        self._app = app
        self._upload_bytes = upload_bytes
        self._upload_paths = tuple(upload_paths)
        self._body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] in _SAFE_METHODS:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        # Only files go to the disk, and only once the account was looked at; other bodies are kept in memory.
        is_form_data = headers.get("content-type", "").lower().startswith("multipart/form-data")
        uploading = is_form_data and scope["path"] in self._upload_paths
        limit = self._upload_bytes + _FORM_BYTES if uploading else BODY_BYTES
        error = TooLargeError(f"A request here may have {limit:,} bytes at most.")
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            await respond(error, scope, receive, send)
            return
        body = _BoundedBody(receive, limit, error, silence_s=_SILENCE_S if uploading else None, body_s=self._body_s)
        started = False

        async def send_noted(message: Message) -> None:
            nonlocal started
            started = True
            if body.late and message["type"] == "http.response.start":
                # Who sends so slowly isn't waited for any longer.
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        try:
            await self._app(scope, body.receive, send_noted)
        except (TooLargeError, RequestTimeoutError) as refused:
            if started:
                raise
            await respond(refused, scope, receive, send_noted)


class _BoundedBody:
    """One request's body as it arrives, bounded in size and time."""

    def __init__(
        self, receive: Receive, limit: int, too_large: TooLargeError, *, silence_s: float | None, body_s: float
    ) -> None:
        self._receive = receive
        self._limit = limit
        self._too_large = too_large
        self._silence_s = silence_s
        self._until = asyncio.get_running_loop().time() + body_s
        self._taken = 0
        self._ended = False
        self.late = False

    async def receive(self) -> Message:
        """Return the next message.

        Raises
        ------
        TooLargeError
            If the body is larger than is taken.
        RequestTimeoutError
            If it doesn't come in time.
        """
        if self._ended:
            # What comes after the body is only that the sender is gone, which may take as long as it likes.
            return await self._receive()
        now = asyncio.get_running_loop().time()
        until = self._until if self._silence_s is None else now + self._silence_s
        try:
            async with asyncio.timeout_at(until):
                message = await self._receive()
        except TimeoutError as error:
            self.late = True
            raise RequestTimeoutError("The rest of this request didn't come in time. Send it again.") from error
        self._ended = message["type"] != "http.request" or not message.get("more_body")
        self._taken += len(message.get("body", b""))
        if self._taken > self._limit:
            raise self._too_large
        return message


class OriginCheck:
    """Refuses what another site makes a signed-in browser send (CSRF), by Sec-Fetch-Site or else Origin.

    Cookies are SameSite=Lax besides. The REST API takes no cookie, so that it needs no check. With
    ``only_own_url`` the Host header says nothing of which origin is our own.
    """

    def __init__(self, app: ASGIApp, *, own_url: str, only_own_url: bool = False) -> None:
        self._app = app
        self._own_origin = _origin(own_url)
        self._by_host_header = not only_own_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        harmless = scope["type"] != "http" or scope["method"] in _SAFE_METHODS or scope["path"].startswith("/api/")
        if harmless or self._is_own(Headers(scope=scope), scope.get("scheme", "http")):
            await self._app(scope, receive, send)
            return
        error = NotAllowedError(text="This request came from another site.", remedy=_RELOAD)
        await respond(error, scope, receive, send)

    def _is_own(self, headers: Headers, scheme: str) -> bool:
        site, origin, host = headers.get("sec-fetch-site"), headers.get("origin"), headers.get("host")
        if site is not None:
            # Not same-site: another service under the same domain is another site here.
            return site in {"same-origin", "none"}
        if origin is not None:
            named = {_origin(f"{scheme}://{host}")} if host and self._by_host_header else set()
            return _origin(origin) in {self._own_origin, *named}
        return "medfake-session=" not in headers.get("cookie", "")


def _origin(url: str) -> str:
    """Return scheme, host and port of an address as browsers write an origin (RFC 6454 6.2): no default port."""
    parts = urlsplit(url.lower())
    default = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return f"{parts.scheme}://{parts.netloc.removesuffix(default)}" if parts.scheme else "null"


class LastResort:
    """Answers what nobody foresaw, within reach of the security headers: the web's one broad boundary."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = False

        async def send_noted(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except ClientDisconnect:
            # Whoever asked is gone.
            return
        except (TooLargeError, RequestTimeoutError):
            raise
        except Exception as error:
            if started or scope["type"] != "http":
                raise
            await respond_to_anything(error, scope, receive, send)
