"""What the account pages and the command line show of accounts, sessions, tokens and invitations."""

import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from medfake_pacs.config.console import ConsoleSettings
from medfake_pacs.console.security import sessions
from medfake_pacs.console.security.permissions import Permission, Role, parse_roles
from medfake_pacs.database.console_tables import api_tokens, invitations, users

PAGE_SIZE = 100
STATES = ("pending", "active", "disabled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account as administrators see it. Times are seconds since the epoch."""

    user_id: int
    user_name: str
    display_name: str
    email: str
    roles: tuple[Role, ...]
    state: str
    created_at: float
    approved_by: str
    approved_at: float | None
    last_sign_in_at: float | None
    last_sign_in_host: str
    password_changed_at: float | None
    has_password: bool
    must_change_password: bool
    oidc_issuer: str

    @property
    def signs_in_by(self) -> str:
        """The ways that this account can sign in."""
        ways = [way for way, there in (("password", self.has_password), ("single sign-on", self.oidc_issuer)) if there]
        return ", ".join(ways) or "nothing yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One session; ``key`` names it without being the cookie."""

    key: str
    host: str
    user_agent: str
    created_at: float
    last_seen_at: float
    expires_at: float
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One API token; the token itself isn't kept."""

    token_id: int
    name: str
    scopes: tuple[Permission, ...]
    created_at: float
    expires_at: float
    last_used_at: float | None
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """One invitation; ``key`` names it without being the link."""

    key: str
    roles: tuple[Role, ...]
    note: str
    created_by: str
    created_at: float
    expires_at: float
    state: str
    used_by: str


def list_accounts(connection: sa.Connection, state: str = "", search: str = "", after: str = "") -> list[Account]:
    """Return up to ``PAGE_SIZE`` + 1 accounts by name after ``after``, those that wait for approval if asked."""
    query = sa.select(users).where(users.c.user_name > after).order_by(users.c.user_name).limit(PAGE_SIZE + 1)
    if state:
        query = query.where(users.c.state == state)
    if search:
        word = search.strip().lower()
        found_in = (users.c.user_name, sa.func.lower(users.c.display_name), sa.func.lower(users.c.email))
        query = query.where(sa.or_(*(column.contains(word, autoescape=True) for column in found_in)))
    return [_account(row) for row in connection.execute(query)]


def all_accounts(connection: sa.Connection) -> list[Account]:
    """Return every account by name."""
    return [_account(row) for row in connection.execute(sa.select(users).order_by(users.c.user_name))]


def count_pending(connection: sa.Connection) -> int:
    """Return how many accounts wait for approval."""
    query = sa.select(sa.func.count()).select_from(users).where(users.c.state == "pending")
    return int(connection.execute(query).scalar_one())


def account(connection: sa.Connection, user_id: int) -> Account | None:
    """Return an account, or None."""
    row = connection.execute(sa.select(users).where(users.c.user_id == user_id)).first()
    return _account(row) if row else None


def sessions_of(connection: sa.Connection, settings: ConsoleSettings, user_id: int, current: str) -> list[Session]:
    """Return an account's sessions that haven't ended; ``current`` is the digest of the one that asks."""
    return [
        Session(
            key=row.session_sha256,
            host=row.host,
            user_agent=row.user_agent,
            created_at=row.created_at,
            last_seen_at=row.last_seen_at,
            expires_at=row.expires_at,
            current=row.session_sha256 == current,
        )
        for row in connection.execute(sessions.alive(settings, user_id, time.time()))
    ]


def tokens_of(connection: sa.Connection, user_id: int) -> list[Token]:
    """Return an account's tokens, the newest first."""
    query = sa.select(api_tokens).where(api_tokens.c.user_id == user_id).order_by(api_tokens.c.token_id.desc())
    return [
        Token(
            token_id=row.token_id,
            name=row.name,
            scopes=tuple(Permission(name) for name in row.scopes.split(",") if name),
            created_at=row.created_at,
            expires_at=row.expires_at,
            last_used_at=row.last_used_at,
            state=_state(row.revoked_at is not None, "revoked", row.expires_at),
        )
        for row in connection.execute(query.limit(PAGE_SIZE))
    ]


def list_invitations(connection: sa.Connection) -> list[Invitation]:
    """Return the newest invitations."""
    query = sa.select(invitations).order_by(invitations.c.created_at.desc()).limit(PAGE_SIZE)
    return [
        Invitation(
            key=row.invitation_sha256,
            roles=parse_roles(row.roles),
            note=row.note,
            created_by=row.created_by,
            created_at=row.created_at,
            expires_at=row.expires_at,
            state=_state(row.used_at is not None, "used", row.expires_at),
            used_by=row.used_by,
        )
        for row in connection.execute(query)
    ]


def _state(ended: bool, how: str, expires_at: float) -> str:
    if ended:
        return how
    return "valid" if expires_at > time.time() else "expired"


def _account(row: Any) -> Account:
    return Account(
        user_id=row.user_id,
        user_name=row.user_name,
        display_name=row.display_name,
        email=row.email,
        roles=parse_roles(row.roles),
        state=row.state,
        created_at=row.created_at,
        approved_by=row.approved_by,
        approved_at=row.approved_at,
        last_sign_in_at=row.last_sign_in_at,
        last_sign_in_host=row.last_sign_in_host,
        password_changed_at=row.password_changed_at,
        has_password=row.password_hash is not None,
        must_change_password=row.must_change_password,
        oidc_issuer=(row.oidc_subject or "").partition("\n")[0],
    )
