"""Accounts that sign in by OpenID Connect: known by issuer and subject, never by a name or an e-mail address.

What a sign-in must bring back is kept in the database for ten minutes, under a cookie of the browser that began it:
nobody can finish a sign-in in another's browser.
"""

import hmac
import logging
import re
import secrets
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.config.console import OidcSettings
from medfake_pacs.console.errors import TooManyRequestsError
from medfake_pacs.console.security import accounts
from medfake_pacs.console.security.actors import ROLES_CHANGED, Actor, log_change
from medfake_pacs.console.security.permissions import Role, parse_roles
from medfake_pacs.console.security.sessions import digest, printable
from medfake_pacs.console.security.throttle import network_of
from medfake_pacs.database.console_tables import oidc_flows, users

FLOW_S = 600.0
_FLOWS_OF_HOST = 50
_LONGEST_NAME = 48
_VERIFIER_BYTES = 48
_SECRET_BYTES = 32
_log = logging.getLogger(__name__)
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9._@-]+")


def begin(connection: sa.Connection, where: str, host: str, now: float) -> tuple[str, Any]:
    """Record a new flow; return the cookie's value and the row.

    Raises
    ------
    TooManyRequestsError
        If this host has begun too many that it never finished.
    """
    connection.execute(sa.delete(oidc_flows).where(oidc_flows.c.expires_at <= now))
    of_host = sa.select(sa.func.count()).where(oidc_flows.c.host == network_of(host))
    if connection.execute(of_host).scalar_one() >= _FLOWS_OF_HOST:
        raise TooManyRequestsError("Too many sign-ins were begun from this address and not finished.", int(FLOW_S))
    cookie = secrets.token_urlsafe(_SECRET_BYTES)
    row = {
        "flow_sha256": digest(cookie),
        "state": secrets.token_urlsafe(_SECRET_BYTES),
        "nonce": secrets.token_urlsafe(_SECRET_BYTES),
        "code_verifier": secrets.token_urlsafe(_VERIFIER_BYTES),
        "next": where,
        "host": network_of(host),
        "expires_at": now + FLOW_S,
    }
    connection.execute(sa.insert(oidc_flows).values(row))
    return cookie, row


def finish(connection: sa.Connection, cookie: str, state: str, now: float) -> Any:
    """Use up the flow of a browser, and return its row if ``state`` is the one that it was begun with, else None."""
    mine = oidc_flows.c.flow_sha256 == digest(cookie)
    row = connection.execute(sa.delete(oidc_flows).where(mine).returning(*oidc_flows.c)).first()
    if row is None or row.expires_at <= now or not hmac.compare_digest(row.state.encode(), state.encode()):
        return None
    return row


def account_for(connection: sa.Connection, settings: OidcSettings, claims: Mapping[str, Any], host: str) -> Any:
    """Return the row of the account that the claims are of; it is made at the first sign-in, its roles kept current."""
    audit.take_turn(connection)
    subject = f"{claims['iss']}\n{claims['sub']}"
    known = sa.select(users).where(users.c.oidc_subject == subject)
    user = connection.execute(known).first()
    roles = _roles(settings, claims)
    if user is None:
        _make(connection, settings, claims, subject, host, roles)
    elif settings.roles_claim and user.state == "active" and ",".join(roles) != user.roles:
        _follow(connection, _provider(settings, host), user, roles)
    return connection.execute(known).one()


def _follow(connection: sa.Connection, provider: Actor, user: Any, roles: tuple[Role, ...]) -> None:
    """Give an account the provider's roles; the last administrator stays one, or nobody could mend a wrong claim."""
    before, facts = parse_roles(user.roles), {}
    last = Role.ADMINISTRATOR in before and Role.ADMINISTRATOR not in roles
    if last and accounts.is_last_administrator(connection, user.user_id):
        roles = tuple(sorted({*roles, Role.ADMINISTRATOR}))
        facts = {"kept": Role.ADMINISTRATOR, "reason": "nobody else is left to administer accounts"}
        _log.warning("single sign-on would have taken the last administrator's role; it is kept")
        if roles == before:
            return
    connection.execute(sa.update(users).where(users.c.user_id == user.user_id).values(roles=",".join(roles)))
    facts |= {"account": user.user_name, "roles": list(roles), "roles_before": list(before)}
    log_change(connection, provider, "account-roles-changed", ROLES_CHANGED, **facts)


def _make(
    connection: sa.Connection,
    settings: OidcSettings,
    claims: Mapping[str, Any],
    subject: str,
    host: str,
    roles: tuple[Role, ...],
) -> None:
    account = accounts.NewAccount(
        user_name=_free_name(connection, claims),
        display_name=_text(claims, "name"),
        email=_text(claims, "email"),
        roles=roles,
        state="active" if settings.approve_automatically else "pending",
        oidc_subject=subject,
    )
    accounts.create(connection, _provider(settings, host), account, "account-registered")


def _provider(settings: OidcSettings, host: str) -> Actor:
    return Actor(who=settings.issuer, host=host, via="OpenID Connect")


def _roles(settings: OidcSettings, claims: Mapping[str, Any]) -> tuple[Role, ...]:
    """Return the roles that the claim lists, or the default ones where no claim is configured."""
    if not settings.roles_claim:
        return accounts.checked_roles(settings.default_roles)
    value: Any = claims.get(settings.roles_claim)
    if value is None:
        # Some providers nest it: realm_access.roles.
        value = claims
        for key in settings.roles_claim.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
    listed = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    named = {str(item).lower() for item in listed}
    return tuple(sorted(role for role in Role if role in named))


def _free_name(connection: sa.Connection, claims: Mapping[str, Any]) -> str:
    """Return a name like the one at the provider that no account has yet; a taken one is never shared."""
    wanted = next((text for key in ("preferred_username", "email", "sub") if (text := _text(claims, key))), "account")
    base = _NOT_IN_A_NAME.sub("-", wanted.lower()).strip("._@-")[:_LONGEST_NAME] or "account"
    name, number = base, 1
    while connection.execute(sa.select(users.c.user_id).where(users.c.user_name == name)).first():
        number += 1
        name = f"{base}-{number}"
    return name


def _text(claims: Mapping[str, Any], key: str) -> str:
    value = claims.get(key)
    return printable(value.strip())[:128] if isinstance(value, str) else ""
