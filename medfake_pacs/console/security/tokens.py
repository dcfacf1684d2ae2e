"""Tokens for the REST API: shown once, kept as SHA-256, never more than their owner may."""

import secrets
import time
from dataclasses import dataclass

import sqlalchemy as sa
from fastapi import Request

from medfake_pacs import audit
from medfake_pacs.console.errors import InvalidInputError, NotFoundError
from medfake_pacs.console.record import DicomEvent, record
from medfake_pacs.console.security.actors import actor_of, log_change
from medfake_pacs.console.security.known import Identity
from medfake_pacs.console.security.permissions import Permission, parse_roles, permissions_of
from medfake_pacs.console.security.sessions import client_host, digest
from medfake_pacs.console.services import Services
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.console_tables import api_tokens, users
from medfake_pacs.entities import AuditEvent

# Recognisable, so that a scanner for leaked secrets finds one.
PREFIX = "mfp_"
_USED_EVERY_S = 60.0
_SECRET_BYTES = 32
_DAY_S = 86_400.0
_LONGEST_NAME = 64
DEFAULT_DAYS = 90
MAXIMUM_DAYS = 365


def identity_of(services: Services, request: Request) -> Identity | None:
    """Return who the request's bearer token stands for (RFC 6750 2.1); None without a valid one."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.startswith(PREFIX):
        return None
    now = time.time()
    query = (
        sa.select(api_tokens, users)
        .join(users, users.c.user_id == api_tokens.c.user_id)
        .where(api_tokens.c.token_sha256 == digest(secret))
    )
    with reading(services.engine) as connection:
        row = connection.execute(query).mappings().first()
    reason = _refusal(row, now)
    if row is None or reason:
        _log_refusal(services, request, row, reason, now)
        return None
    token_id = row[api_tokens.c.token_id]
    if (row[api_tokens.c.last_used_at] or 0.0) < now - _USED_EVERY_S:
        with transaction(services.engine) as connection:
            mine = api_tokens.c.token_id == token_id
            connection.execute(sa.update(api_tokens).where(mine).values(last_used_at=now))
    roles = parse_roles(row[users.c.roles])
    scopes = frozenset(Permission(name) for name in row[api_tokens.c.scopes].split(",") if name)
    return Identity(
        user_id=row[users.c.user_id],
        user_name=row[users.c.user_name],
        display_name=row[users.c.display_name],
        roles=roles,
        permissions=permissions_of(roles) & scopes,
        host=client_host(request),
        token_id=token_id,
    )


def _refusal(row: sa.RowMapping | None, now: float) -> str:
    """Say why a token isn't taken; empty if it is."""
    if row is None:
        return "unknown"
    if row[api_tokens.c.revoked_at] is not None:
        return "revoked"
    if row[api_tokens.c.expires_at] <= now:
        return "expired"
    if row[users.c.must_change_password]:
        return "the account has a one-time password"
    return "" if row[users.c.state] == "active" else "the account isn't active"


def _log_refusal(services: Services, request: Request, row: sa.RowMapping | None, reason: str, now: float) -> None:
    """Put a refused token into the log, and whose it was; one for each host and minute (PS3.15 Security Alert)."""
    host = client_host(request)
    unlogged = services.refused_tokens.to_log(host, now)
    if unlogged is None:
        return
    payload = {"host": host, "reason": reason, "refused_unlogged_before": unlogged}
    if row is not None:
        payload |= {"token_id": row[api_tokens.c.token_id], "owner": row[users.c.user_name]}
    record(services, DicomEvent.SECURITY_ALERT, None, AuditEvent(kind="token-refused", payload=payload))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """What a token is to be: its name, what it may do, for how many days."""

    name: str
    scopes: tuple[str, ...]
    days: int


def create(connection: sa.Connection, identity: Identity, wanted: NewToken) -> str:
    """Record a token of the account that asks, and return it; it is shown once and not kept.

    Raises
    ------
    InvalidInputError
        If it has no name, asks for a right that the account lacks, or for too long.
    """
    name = wanted.name.strip()
    wrong = {}
    if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
        wrong["name"] = f"Give it a name of 1 to {_LONGEST_NAME} printable characters: what will use it?"
    if not wanted.scopes or not set(wanted.scopes) <= set(identity.permissions):
        wrong["scopes"] = "Choose at least one right, out of those that your account has."
    if not 1 <= wanted.days <= MAXIMUM_DAYS:
        wrong["days"] = f"A token is good for 1 to {MAXIMUM_DAYS} days."
    if wrong:
        raise InvalidInputError(" ".join(wrong.values()), wrong)
    secret, now = PREFIX + secrets.token_urlsafe(_SECRET_BYTES), time.time()
    scopes = sorted(set(wanted.scopes))
    audit.take_turn(connection)
    connection.execute(
        sa.insert(api_tokens).values(
            token_sha256=digest(secret),
            user_id=identity.user_id,
            name=name,
            scopes=",".join(scopes),
            created_at=now,
            expires_at=now + wanted.days * _DAY_S,
        )
    )
    log_change(connection, actor_of(identity), "token-created", token=name, scopes=scopes, days=wanted.days)
    return secret


def revoke(connection: sa.Connection, identity: Identity, token_id: int) -> None:
    """Make one of the account's own tokens worthless.

    Raises
    ------
    NotFoundError
        If it has no such token in use.
    """
    audit.take_turn(connection)
    mine = sa.and_(api_tokens.c.token_id == token_id, api_tokens.c.user_id == identity.user_id)
    unrevoked = api_tokens.c.revoked_at.is_(None)
    found = sa.update(api_tokens).where(mine, unrevoked).values(revoked_at=time.time()).returning(api_tokens.c.name)
    name = connection.execute(found).scalar_one_or_none()
    if name is None:
        raise NotFoundError("Your account has no such token in use.")
    log_change(connection, actor_of(identity), "token-revoked", token=name)
