"""Sessions in the database: a random cookie whose SHA-256 is the key, so that a copy of the table signs nobody in."""

import hashlib
import ipaddress
import secrets
import time

import sqlalchemy as sa
from fastapi import Request, Response

from medfake_pacs.config.console import ConsoleSettings
from medfake_pacs.console.security.known import Identity
from medfake_pacs.console.security.permissions import parse_roles, permissions_of
from medfake_pacs.console.services import Services
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.console_tables import console_sessions, users

_SECRET_BYTES = 32
_LONGEST_AGENT = 200
# Writing each request's time would make every reader a writer.
_SEEN_EVERY_S = 60.0
_SEEN_PER_IDLE_TIME = 10


def cookie_name(services: Services) -> str:
    """Return the cookie's name; the prefix makes browsers keep it to this host and TLS (RFC 6265bis 4.1.3)."""
    return "__Host-medfake-session" if services.settings.console.is_https else "medfake-session"


def begin(services: Services, user_id: int, host: str, user_agent: str, now: float) -> str:
    """Record a new session and return the cookie's value."""
    with transaction(services.engine) as connection:
        return begin_in(connection, services.settings.console, user_id, host, user_agent, now)


def begin_in(
    connection: sa.Connection, settings: ConsoleSettings, user_id: int, host: str, user_agent: str, now: float
) -> str:
    """Record a new session in the caller's transaction, delete those that have ended, return the cookie's value."""
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    mine = users.c.user_id == user_id
    before = connection.execute(sa.select(users.c.last_sign_in_at, users.c.last_sign_in_host).where(mine)).one()
    connection.execute(sa.update(users).where(mine).values(last_sign_in_at=now, last_sign_in_host=host))
    connection.execute(
        sa.insert(console_sessions).values(
            session_sha256=digest(secret),
            user_id=user_id,
            created_at=now,
            last_seen_at=now,
            expires_at=now + settings.session_max_s,
            previous_sign_in_at=before.last_sign_in_at,
            previous_sign_in_host=before.last_sign_in_host,
            host=host,
            user_agent=printable(user_agent)[:_LONGEST_AGENT],
        )
    )
    connection.execute(sa.delete(console_sessions).where(sa.not_(_is_alive(settings, now))))
    return secret


def set_cookie(services: Services, response: Response, secret: str) -> None:
    """Give the browser its session."""
    response.set_cookie(
        cookie_name(services),
        secret,
        httponly=True,
        samesite="lax",
        secure=services.settings.console.is_https,
        path="/",
        max_age=int(services.settings.console.session_max_s),
    )


def delete_cookie(services: Services, response: Response) -> None:
    """Take the browser's session away; a ``__Host-`` cookie is only overwritten by one with the same attributes."""
    secure = services.settings.console.is_https
    response.delete_cookie(cookie_name(services), path="/", secure=secure, httponly=True, samesite="lax")


def secret_in(services: Services, request: Request) -> str:
    """Return the cookie that a request brings, or nothing."""
    return request.cookies.get(cookie_name(services), "")


def identity_of(services: Services, request: Request, *, touch: bool = True) -> Identity | None:
    """Return who the request's session cookie stands for; None without one, or when it has ended.

    Without ``touch`` nothing is written: the session counts as unused.
    """
    secret = secret_in(services, request)
    if not secret:
        return None
    settings, now = services.settings.console, time.time()
    query = (
        sa.select(console_sessions, users)
        .join(users, users.c.user_id == console_sessions.c.user_id)
        .where(
            console_sessions.c.session_sha256 == digest(secret),
            _is_alive(settings, now),
            users.c.state == "active",
        )
    )
    with reading(services.engine) as connection:
        row = connection.execute(query).mappings().first()
    if row is None:
        return None
    noted_s = min(_SEEN_EVERY_S, settings.session_idle_s / _SEEN_PER_IDLE_TIME)
    unnoted = row[console_sessions.c.last_seen_at] < now - noted_s
    if touch and unnoted and not _is_by_itself(request):
        _touch(services, row[console_sessions.c.session_sha256], now)
    roles = parse_roles(row[users.c.roles])
    return Identity(
        user_id=row[users.c.user_id],
        user_name=row[users.c.user_name],
        display_name=row[users.c.display_name],
        roles=roles,
        permissions=permissions_of(roles),
        host=client_host(request),
        session_sha256=row[console_sessions.c.session_sha256],
        must_change_password=row[users.c.must_change_password],
        previous_sign_in_at=row[console_sessions.c.previous_sign_in_at],
        previous_sign_in_host=row[console_sessions.c.previous_sign_in_host],
    )


def _is_by_itself(request: Request) -> bool:
    """Tell whether a page that lies open sent a request, and nobody need be there."""
    return request.headers.get("X-Refresh") == "poll"


def rotate_in(connection: sa.Connection, session_sha256: str) -> str:
    """Give a session another cookie in the caller's transaction, and return its value; the old one is worthless."""
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    mine = console_sessions.c.session_sha256 == session_sha256
    connection.execute(sa.update(console_sessions).where(mine).values(session_sha256=digest(secret)))
    return secret


def end_in(connection: sa.Connection, session_sha256: str) -> None:
    """Revoke a session in the caller's transaction."""
    mine = sa.and_(console_sessions.c.session_sha256 == session_sha256, console_sessions.c.revoked_at.is_(None))
    connection.execute(sa.update(console_sessions).where(mine).values(revoked_at=time.time()))


def _is_alive(settings: ConsoleSettings, now: float) -> sa.ColumnElement[bool]:
    return sa.and_(
        console_sessions.c.revoked_at.is_(None),
        console_sessions.c.expires_at > now,
        console_sessions.c.last_seen_at > now - settings.session_idle_s,
    )


def alive(settings: ConsoleSettings, user_id: int, now: float) -> sa.Select[tuple[object, ...]]:
    """Return the query for an account's sessions that haven't ended, the last used first."""
    mine = sa.and_(console_sessions.c.user_id == user_id, _is_alive(settings, now))
    return sa.select(console_sessions).where(mine).order_by(console_sessions.c.last_seen_at.desc())


def digest(secret: str) -> str:
    """Return what the tables keep of a cookie or token."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def client_host(request: Request) -> str:
    """Return the address that a request came from, as the server saw or a trusted proxy said; IPv4 as such."""
    try:
        address = ipaddress.ip_address((request.client.host if request.client else "").partition("%")[0])
    except ValueError:
        return "unknown"
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def printable(text: str) -> str:
    """Return text that a client sent as pages and tables may hold it."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _touch(services: Services, session_sha256: str, now: float) -> None:
    with transaction(services.engine) as connection:
        mine = console_sessions.c.session_sha256 == session_sha256
        connection.execute(sa.update(console_sessions).where(mine).values(last_seen_at=now))
