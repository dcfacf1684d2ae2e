"""Change one's own password: the old one is asked for, so that an unlocked screen isn't enough."""

import time
from dataclasses import dataclass

import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.console.errors import InvalidInputError
from medfake_pacs.console.security import accounts, known_devices, passwords, sessions, throttle
from medfake_pacs.console.security.actors import actor_of, log_authentication
from medfake_pacs.console.security.known import Identity
from medfake_pacs.console.security.signing_in import wait_text
from medfake_pacs.console.services import Services
from medfake_pacs.database import transaction
from medfake_pacs.database.console_tables import users


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was typed: the password until now, the new one, and the new one again."""

    old: str
    password: str
    repeated: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """The values of this browser's new cookies: its session's, and what it is known by later."""

    secret: str
    device: str


def change(services: Services, identity: Identity, wanted: Wanted) -> Changed:
    """Change the password, end the account's other sessions, and return this session's new cookie.

    Guesses at the old password make wait like guesses when signing in, but are counted apart: whoever is shut out there
    can still change it.

    Raises
    ------
    InvalidInputError
        If the old password is wrong, or the new one isn't good enough.
    """
    problem = passwords.problem_of(wanted.password, identity.user_name)
    if problem:
        raise InvalidInputError(problem, {"password": problem})
    if wanted.password != wanted.repeated:
        raise _wrong("repeated", "This isn't the same as above.")
    if wanted.password == wanted.old:
        raise _wrong("password", "This is the password until now; choose another.")
    now = time.time()
    with transaction(services.engine) as connection:
        attempt = throttle.begin_own_password(connection, identity.user_name, identity.host, now)
        mine = users.c.user_id == identity.user_id
        old_hash = connection.execute(sa.select(users.c.password_hash).where(mine)).scalar_one()
    if attempt.wait_s > 0:
        raise _wrong("old", f"Too many wrong passwords. {wait_text(attempt.wait_s, now)}")
    with services.hashing:
        right = passwords.matches(old_hash, wanted.old)
        new_hash = passwords.hashed(wanted.password) if right else ""
    actor = actor_of(identity)
    with transaction(services.engine) as connection:
        audit.take_turn(connection)
        # Looking at the password takes a while, in which an administrator may have set another.
        if right and connection.execute(sa.select(users.c.password_hash).where(mine)).scalar_one() == old_hash:
            throttle.forget_own_password(connection, identity.user_name)
            accounts.change_own_password(connection, actor, identity.user_id, new_hash, identity.session_sha256)
            secret = sessions.rotate_in(connection, identity.session_sha256)
            return Changed(secret=secret, device=known_devices.issue(new_hash))
        facts = {"outcome": "failure", "reason": "wrong password, when it was to be changed"}
        log_authentication(connection, actor, "sign-in-refused", **facts)
    raise _wrong("old", "This isn't your password until now.")


def _wrong(field: str, text: str) -> InvalidInputError:
    return InvalidInputError(text, {field: text})
