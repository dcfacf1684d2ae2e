"""Tokens for the REST API: shown once, kept as SHA-256, never more than their owner may."""

import time

import sqlalchemy as sa
from fastapi import Request

from medfake_pacs.console.security.known import Identity
from medfake_pacs.console.security.permissions import Permission, parse_roles, permissions_of
from medfake_pacs.console.security.sessions import client_host, digest
from medfake_pacs.console.services import Services
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.console_tables import api_tokens, users

# Recognisable, so that a scanner for leaked secrets finds one.
PREFIX = "mfp_"
_USED_EVERY_S = 60.0


def identity_of(services: Services, request: Request) -> Identity | None:
    """Return who the request's bearer token stands for (RFC 6750 2.1); None without a valid one."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.startswith(PREFIX):
        return None
    now = time.time()
    query = (
        sa.select(api_tokens, users)
        .join(users, users.c.user_id == api_tokens.c.user_id)
        .where(
            api_tokens.c.token_sha256 == digest(secret),
            api_tokens.c.revoked_at.is_(None),
            api_tokens.c.expires_at > now,
            users.c.state == "active",
        )
    )
    with reading(services.engine) as connection:
        row = connection.execute(query).mappings().first()
    if row is None:
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
