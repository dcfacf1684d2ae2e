"""Sessions in the database: a random cookie whose SHA-256 is the key, so that a copy of the table signs nobody in."""

import hashlib
import secrets
import time

import sqlalchemy as sa
from fastapi import Request, Response

from medfake_pacs.console.security.known import Identity
from medfake_pacs.console.security.permissions import parse_roles, permissions_of
from medfake_pacs.console.services import Services
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.console_tables import console_sessions, users

_SECRET_BYTES = 32
# Writing each request's time would make every reader a writer.
_SEEN_EVERY_S = 60.0


def cookie_name(services: Services) -> str:
    """Return the cookie's name; the prefix makes browsers keep it to this host and TLS (RFC 6265bis 4.1.3)."""
    return "__Host-medfake-session" if services.settings.console.is_https else "medfake-session"


def begin(services: Services, user_id: int, host: str, user_agent: str, now: float) -> str:
    """Record a new session and return the cookie's value."""
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    with transaction(services.engine) as connection:
        mine = users.c.user_id == user_id
        before = connection.execute(sa.select(users.c.last_sign_in_at).where(mine)).scalar_one()
        connection.execute(sa.update(users).where(mine).values(last_sign_in_at=now))
        connection.execute(
            sa.insert(console_sessions).values(
                session_sha256=digest(secret),
                user_id=user_id,
                created_at=now,
                last_seen_at=now,
                expires_at=now + services.settings.console.session_max_s,
                previous_sign_in_at=before,
                host=host,
                user_agent=user_agent[:200],
            )
        )
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


def identity_of(services: Services, request: Request) -> Identity | None:
    """Return who the request's session cookie stands for; None without one, or when it has ended."""
    secret = request.cookies.get(cookie_name(services), "")
    if not secret:
        return None
    now = time.time()
    query = (
        sa.select(console_sessions, users)
        .join(users, users.c.user_id == console_sessions.c.user_id)
        .where(
            console_sessions.c.session_sha256 == digest(secret),
            console_sessions.c.revoked_at.is_(None),
            console_sessions.c.expires_at > now,
            console_sessions.c.last_seen_at > now - services.settings.console.session_idle_s,
            users.c.state == "active",
        )
    )
    with reading(services.engine) as connection:
        row = connection.execute(query).mappings().first()
    if row is None:
        return None
    if row[console_sessions.c.last_seen_at] < now - _SEEN_EVERY_S:
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
    )


def end(services: Services, session_sha256: str, now: float) -> None:
    """Revoke a session."""
    with transaction(services.engine) as connection:
        mine = console_sessions.c.session_sha256 == session_sha256
        connection.execute(sa.update(console_sessions).where(mine).values(revoked_at=now))


def digest(secret: str) -> str:
    """Return what the tables keep of a cookie or token."""
    return hashlib.sha256(secret.encode()).hexdigest()


def client_host(request: Request) -> str:
    """Return the address that a request came from, as the server saw or a trusted proxy said."""
    return request.client.host if request.client else ""


def _touch(services: Services, session_sha256: str, now: float) -> None:
    with transaction(services.engine) as connection:
        mine = console_sessions.c.session_sha256 == session_sha256
        connection.execute(sa.update(console_sessions).where(mine).values(last_seen_at=now))
