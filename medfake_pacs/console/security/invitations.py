"""Invitations: links that let one person ask for an account, once, for a while."""

import secrets
import time
from typing import Any

import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.console.errors import InvalidInputError, NotFoundError
from medfake_pacs.console.security.actors import Actor, log_change
from medfake_pacs.console.security.permissions import Role
from medfake_pacs.console.security.sessions import digest
from medfake_pacs.database.console_tables import invitations

_SECRET_BYTES = 24
_DAY_S = 86_400.0
_LONGEST_NOTE = 200
_KEPT_S = 90 * _DAY_S
_SHOWN_DIGITS = 16
DEFAULT_DAYS = 7
MAXIMUM_DAYS = 30


def invite(connection: sa.Connection, actor: Actor, roles: tuple[Role, ...], note: str, days: int) -> str:
    """Record an invitation and return the secret that its link carries; it is shown once and not kept.

    Raises
    ------
    InvalidInputError
        If the number of days or the note can't be.
    """
    if not 1 <= days <= MAXIMUM_DAYS:
        text = f"An invitation is good for 1 to {MAXIMUM_DAYS} days."
        raise InvalidInputError(text, {"days": text})
    note = note.strip()
    if len(note) > _LONGEST_NOTE or not note.isprintable():
        text = f"Write at most {_LONGEST_NOTE} printable characters."
        raise InvalidInputError(text, {"note": text})
    secret, now = secrets.token_urlsafe(_SECRET_BYTES), time.time()
    audit.take_turn(connection)
    connection.execute(sa.delete(invitations).where(invitations.c.expires_at < now - _KEPT_S))
    connection.execute(
        sa.insert(invitations).values(
            invitation_sha256=digest(secret),
            roles=",".join(roles),
            note=note,
            created_by=actor.who,
            created_at=now,
            expires_at=now + days * _DAY_S,
        )
    )
    log_change(connection, actor, "invitation-created", roles=list(roles), days=days)
    return secret


def valid(connection: sa.Connection, secret: str) -> Any:
    """Return the row of an invitation that can still be used, or None."""
    query = sa.select(invitations).where(
        invitations.c.invitation_sha256 == digest(secret),
        invitations.c.used_at.is_(None),
        invitations.c.expires_at > time.time(),
    )
    return connection.execute(query).first()


def use(connection: sa.Connection, secret: str, user_name: str) -> bool:
    """Use an invitation up; False if it was used, has expired, or never was."""
    if valid(connection, secret) is None:
        return False
    unused = sa.and_(invitations.c.invitation_sha256 == digest(secret), invitations.c.used_at.is_(None))
    values = {"used_at": time.time(), "used_by": user_name}
    return connection.execute(sa.update(invitations).where(unused).values(values)).rowcount == 1


def revoke(connection: sa.Connection, actor: Actor, key: str) -> None:
    """Make an unused invitation worthless; ``key`` is its digest.

    Raises
    ------
    NotFoundError
        If there is no such unused invitation.
    """
    audit.take_turn(connection)
    named = sa.and_(invitations.c.invitation_sha256 == key, invitations.c.used_at.is_(None))
    if connection.execute(sa.delete(invitations).where(named)).rowcount == 0:
        raise NotFoundError("There is no such unused invitation.")
    log_change(connection, actor, "invitation-revoked", invitation=key[:_SHOWN_DIGITS])
