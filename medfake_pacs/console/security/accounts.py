"""Change accounts, for the pages and the command line alike; each change is in the log with who made it.

Every function works in the caller's ``database.transaction``, whose turn at the log it takes first: two
administrators can't demote one another at the same time.
"""

import re
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.console.errors import ConflictError, InvalidInputError, NotFoundError
from medfake_pacs.console.security import throttle
from medfake_pacs.console.security.actors import ROLES_CHANGED, Actor, log_change
from medfake_pacs.console.security.permissions import Role, parse_roles
from medfake_pacs.database.console_tables import api_tokens, console_sessions, users

_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
_MAIL = re.compile(r"[^\s@<>,;\"]+@[^\s@<>,;\"]+")
_LONGEST_TEXT = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """What an account is made of; ``password_hash`` is None for one that signs in by OpenID Connect."""

    user_name: str
    display_name: str = ""
    email: str = ""
    password_hash: str | None = None
    roles: tuple[Role, ...] = ()
    state: str = "pending"
    oidc_subject: str | None = None


def checked_name(text: str) -> str:
    """Return an account's name in lower case.

    Raises
    ------
    InvalidInputError
        If it can't be one.
    """
    name = text.strip().lower()
    if not is_name(name):
        problem = (
            "A name has 1 to 64 letters, digits, dots, hyphens, underscores or @, and begins with one of the first."
        )
        raise InvalidInputError(problem, {"user_name": problem})
    return name


def is_name(text: str) -> bool:
    """Tell whether an account could have this name; nothing else is looked up."""
    return bool(_NAME.fullmatch(text))


def checked_profile(display_name: str, email: str) -> dict[str, str]:
    """Return what a person says of themself, as columns.

    Raises
    ------
    InvalidInputError
        If the name is too long or holds control characters, or the address isn't one.
    """
    found = {"display_name": display_name.strip(), "email": email.strip()}
    wrong = {}
    if len(found["display_name"]) > _LONGEST_TEXT or not found["display_name"].isprintable():
        wrong["display_name"] = f"Write at most {_LONGEST_TEXT} printable characters."
    if found["email"] and (len(found["email"]) > _LONGEST_TEXT or not _MAIL.fullmatch(found["email"])):
        wrong["email"] = "This is no e-mail address; write name@host, or nothing."
    if wrong:
        raise InvalidInputError(" ".join(wrong.values()), wrong)
    return found


def checked_roles(names: Iterable[str]) -> tuple[Role, ...]:
    """Return roles in alphabetic order, each once.

    Raises
    ------
    InvalidInputError
        If there is no such role.
    """
    known = set(Role)
    wrong = sorted(set(names) - known)
    if wrong:
        text = f"There is no role {', '.join(map(repr, wrong))}; there are {', '.join(Role)}."
        raise InvalidInputError(text, {"roles": text})
    return tuple(sorted({Role(name) for name in names}))


def find(connection: sa.Connection, user_name: str) -> Any:
    """Return the row of the account with this name.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    row = connection.execute(sa.select(users).where(users.c.user_name == user_name.strip().lower())).first()
    if row is None:
        raise NotFoundError(f"There is no account named {user_name!r}.")
    return row


def create(connection: sa.Connection, actor: Actor, account: NewAccount, kind: str = "account-created") -> int:
    """Make an account and return its id.

    Raises
    ------
    ConflictError
        If the name is taken.
    """
    audit.take_turn(connection)
    name = account.user_name
    if connection.execute(sa.select(users.c.user_id).where(users.c.user_name == name)).first():
        raise ConflictError(f"There is an account named {name!r} already; choose another name.")
    now = time.time()
    row: dict[str, Any] = {
        "user_name": name,
        "display_name": account.display_name,
        "email": account.email,
        "password_hash": account.password_hash,
        "password_changed_at": now if account.password_hash else None,
        "roles": ",".join(account.roles),
        "state": account.state,
        "created_at": now,
        "oidc_subject": account.oidc_subject,
    }
    if account.state == "active":
        row |= {"approved_by": actor.who, "approved_at": now}
    user_id = int(connection.execute(sa.insert(users).values(row)).inserted_primary_key[0])
    log_change(connection, actor, kind, account=name, roles=list(account.roles), state=account.state)
    return user_id


def approve(connection: sa.Connection, actor: Actor, user_id: int, roles: tuple[Role, ...]) -> None:
    """Let a new account in, with these roles.

    Raises
    ------
    NotFoundError, ConflictError
        If there is no such account, or it doesn't wait for approval.
    """
    user = _in_state(connection, user_id, {"pending"})
    values = {"state": "active", "roles": ",".join(roles), "approved_by": actor.who, "approved_at": time.time()}
    _change(connection, user_id, values)
    log_change(connection, actor, "account-approved", account=user.user_name, roles=list(roles))


def reject(connection: sa.Connection, actor: Actor, user_id: int) -> None:
    """Delete an account that waits for approval; its name is free again."""
    user = _in_state(connection, user_id, {"pending"})
    connection.execute(sa.delete(users).where(users.c.user_id == user_id))
    log_change(connection, actor, "account-rejected", account=user.user_name)


def set_roles(connection: sa.Connection, actor: Actor, user_id: int, roles: tuple[Role, ...]) -> None:
    """Give an account exactly these roles.

    Raises
    ------
    ConflictError
        If nobody would be left to administer accounts.
    """
    user = _in_state(connection, user_id, {"pending", "active", "disabled"})
    before = parse_roles(user.roles)
    if user.state == "active" and Role.ADMINISTRATOR in before and Role.ADMINISTRATOR not in roles:
        _refuse_without_administrator(connection, user_id)
    if before == roles:
        return
    _change(connection, user_id, {"roles": ",".join(roles)})
    facts = {"account": user.user_name, "roles": list(roles), "roles_before": list(before)}
    log_change(connection, actor, "account-roles-changed", ROLES_CHANGED, **facts)


def disable(connection: sa.Connection, actor: Actor, user_id: int) -> None:
    """Shut an account out at once: its sessions and tokens end."""
    user = _in_state(connection, user_id, {"active"})
    if Role.ADMINISTRATOR in parse_roles(user.roles):
        _refuse_without_administrator(connection, user_id)
    _change(connection, user_id, {"state": "disabled"})
    _revoke(connection, user_id)
    log_change(connection, actor, "account-disabled", account=user.user_name)


def enable(connection: sa.Connection, actor: Actor, user_id: int) -> None:
    """Let a disabled account in again; its old sessions and tokens stay ended."""
    user = _in_state(connection, user_id, {"disabled"})
    _change(connection, user_id, {"state": "active"})
    log_change(connection, actor, "account-enabled", account=user.user_name)


def reset_password(
    connection: sa.Connection, actor: Actor, user_id: int, password_hash: str, *, must_change: bool
) -> None:
    """Give an account another password, end its sessions and tokens, and forget that it was guessed at."""
    user = _in_state(connection, user_id, {"pending", "active", "disabled"})
    values = {"password_hash": password_hash, "must_change_password": must_change, "password_changed_at": time.time()}
    _change(connection, user_id, values)
    _revoke(connection, user_id)
    throttle.forget(connection, user.user_name)
    log_change(connection, actor, "password-reset", account=user.user_name, must_change=must_change)


def change_own_password(
    connection: sa.Connection, actor: Actor, user_id: int, password_hash: str, keep_session: str
) -> None:
    """Set the password that its owner has chosen; every other session of theirs ends."""
    audit.take_turn(connection)
    values = {"password_hash": password_hash, "must_change_password": False, "password_changed_at": time.time()}
    _change(connection, user_id, values)
    end_sessions(connection, user_id, except_for=keep_session)
    log_change(connection, actor, "password-changed", account=actor.who)


def end_access(connection: sa.Connection, actor: Actor, user_id: int) -> None:
    """End every session and token of an account."""
    user = _in_state(connection, user_id, {"pending", "active", "disabled"})
    _revoke(connection, user_id)
    log_change(connection, actor, "access-revoked", account=user.user_name, what="sessions and tokens")


def end_sessions(connection: sa.Connection, user_id: int, except_for: str = "") -> None:
    """End an account's sessions, all but the one with this digest."""
    mine = sa.and_(console_sessions.c.user_id == user_id, console_sessions.c.revoked_at.is_(None))
    others = console_sessions.c.session_sha256 != except_for
    connection.execute(sa.update(console_sessions).where(mine, others).values(revoked_at=time.time()))


def end_session(connection: sa.Connection, actor: Actor, user_id: int, key: str) -> None:
    """End one of an account's sessions; ``key`` is its digest.

    Raises
    ------
    NotFoundError
        If it has no such session.
    """
    audit.take_turn(connection)
    mine = sa.and_(console_sessions.c.user_id == user_id, console_sessions.c.revoked_at.is_(None))
    named = console_sessions.c.session_sha256 == key
    ended = connection.execute(sa.update(console_sessions).where(mine, named).values(revoked_at=time.time())).rowcount
    if not ended:
        raise NotFoundError("Your account has no such session; it may have ended by itself.")
    log_change(connection, actor, "access-revoked", account=actor.who, what="one session")


def _revoke(connection: sa.Connection, user_id: int) -> None:
    end_sessions(connection, user_id)
    mine = sa.and_(api_tokens.c.user_id == user_id, api_tokens.c.revoked_at.is_(None))
    connection.execute(sa.update(api_tokens).where(mine).values(revoked_at=time.time()))


def _in_state(connection: sa.Connection, user_id: int, states: Collection[str]) -> Any:
    audit.take_turn(connection)
    user = connection.execute(sa.select(users).where(users.c.user_id == user_id)).first()
    if user is None:
        raise NotFoundError("There is no such account; it may have been rejected meanwhile.")
    if user.state not in states:
        raise ConflictError(
            f"The account {user.user_name!r} is {user.state}; this is for one that is {' or '.join(states)}."
        )
    return user


def is_last_administrator(connection: sa.Connection, user_id: int) -> bool:
    """Tell whether nobody else is left to administer accounts."""
    query = sa.select(users.c.roles).where(users.c.state == "active", users.c.user_id != user_id)
    return not any(Role.ADMINISTRATOR in parse_roles(row.roles) for row in connection.execute(query))


def _refuse_without_administrator(connection: sa.Connection, user_id: int) -> None:
    if is_last_administrator(connection, user_id):
        raise ConflictError("Nobody would be left to administer accounts; make another administrator first.")


def _change(connection: sa.Connection, user_id: int, values: dict[str, Any]) -> None:
    connection.execute(sa.update(users).where(users.c.user_id == user_id).values(values))
