"""Sign in by name and password: count the attempt, look at the password, and only then at the account."""

import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from fastapi import Request

from medfake_pacs import audit
from medfake_pacs.console.security import accounts, known_devices, passwords, sessions, throttle
from medfake_pacs.console.security.actors import Actor, log_authentication, log_change
from medfake_pacs.console.services import Services
from medfake_pacs.database import transaction
from medfake_pacs.database.console_tables import users

WRONG = "Name or password is wrong."
STATE_MESSAGES = {
    "pending": "The password is right, but this account waits until an administrator approves it.",
    "disabled": "The password is right, but this account is disabled. Ask an administrator.",
    "expired": "This one-time password has expired. Ask an administrator for another.",
}
_TEMPORARY_LIFE_S = 3 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an attempt: the new session's secret, or the answer's status and what to tell the person.

    ``device`` is what the browser keeps to be known by later.
    """

    secret: str = ""
    device: str = ""
    status: int = 303
    message: str = ""
    retry_after_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    name: str
    host: str
    user: Any
    device: str
    attempt: throttle.Attempt
    now: float


def sign_in(services: Services, request: Request, typed_name: str, password: str) -> Outcome:
    """Check name and password, and begin a session that replaces the one this browser had.

    Whether an account exists shows neither in the answer nor in how long it takes.
    """
    name, host, now = typed_name.strip().lower(), sessions.client_host(request), time.time()
    with transaction(services.engine) as connection:
        known = sa.select(users).where(users.c.user_name == name)
        user = connection.execute(known).first() if accounts.is_name(name) else None
        device = known_devices.device_of(services, request, user.password_hash if user else None)
        attempt = throttle.begin_sign_in(connection, name, host, now, device)
    if attempt.wait_s > 0:
        return _throttled("Too many wrong passwords for this name, or from this address.", attempt.wait_s, now)
    tried = _Try(name=name, host=host, user=user, device=device, attempt=attempt, now=now)
    with services.hashing:
        right = passwords.matches(user.password_hash if user else None, password)
        newer = passwords.hashed(password) if right and passwords.needs_rehash(user.password_hash) else ""
    if not right:
        return _refuse(services, tried)
    state = "expired" if user.state == "active" and _is_expired(user, now) else user.state
    if state != "active":
        return _turn_away(services, tried, state)
    return _let_in(services, request, tried, newer)


def begin_session(connection: sa.Connection, services: Services, request: Request, user: Any, **facts: Any) -> str:
    """Begin a session for an account that has proved itself, log it, and return the cookie's value."""
    host, old = sessions.client_host(request), sessions.secret_in(services, request)
    if old:
        sessions.end_in(connection, sessions.digest(old))
    agent = request.headers.get("user-agent", "")
    secret = sessions.begin_in(connection, services.settings.console, user.user_id, host, agent, time.time())
    log_authentication(connection, Actor(who=user.user_name, host=host), "signed-in", outcome="success", **facts)
    return secret


def wait_text(wait_s: float, now: float) -> str:
    """Return when to try again: ``Try again at 09:30:00Z, in 2 min.``"""
    whole_s = math.ceil(wait_s)
    moment = datetime.fromtimestamp(math.ceil(now + wait_s), UTC).strftime("%H:%M:%SZ")
    minutes, seconds = divmod(whole_s, 60)
    span = f"{minutes} min {seconds} s" if minutes and seconds else f"{minutes} min" if minutes else f"{seconds} s"
    return f"Try again at {moment}, in {span}."


def _throttled(text: str, wait_s: float, now: float) -> Outcome:
    return Outcome(status=429, message=f"{text} {wait_text(wait_s, now)}", retry_after_s=math.ceil(wait_s))


def _refuse(services: Services, tried: _Try) -> Outcome:
    # A name that is no account may be a password in the wrong field.
    who = tried.user.user_name if tried.user else ""
    actor = Actor(who=who, host=tried.host)
    with transaction(services.engine) as connection:
        log_authentication(connection, actor, "sign-in-refused", outcome="failure", reason="wrong name or password")
        wait_s = tried.attempt.then_wait_s
        if wait_s > 0:
            log_change(connection, actor, "sign-in-throttled", outcome="failure", wait_s=round(wait_s))
            text = f"{WRONG} {wait_text(wait_s, tried.now)}"
            return Outcome(status=401, message=text, retry_after_s=math.ceil(wait_s))
    return Outcome(status=401, message=WRONG)


def _is_expired(user: Any, now: float) -> bool:
    """Tell whether the password is a one-time one that nobody has used in time."""
    return bool(user.must_change_password) and (user.password_changed_at or 0.0) < now - _TEMPORARY_LIFE_S


def _turn_away(services: Services, tried: _Try, state: str) -> Outcome:
    # The attempt stays counted: with an account that waits, anybody could fill the log otherwise.
    actor = Actor(who=tried.user.user_name, host=tried.host)
    reason = f"the account is {state}" if state != "expired" else "the one-time password has expired"
    with transaction(services.engine) as connection:
        log_authentication(connection, actor, "sign-in-refused", outcome="failure", reason=reason)
    return Outcome(status=403, message=STATE_MESSAGES[state])


def _let_in(services: Services, request: Request, tried: _Try, newer_hash: str) -> Outcome:
    """Begin the session, if the account is still what the password was looked at for."""
    with transaction(services.engine) as connection:
        audit.take_turn(connection)
        mine = users.c.user_id == tried.user.user_id
        now = connection.execute(sa.select(users).where(mine)).first()
        unchanged = now is not None and (now.state, now.password_hash) == ("active", tried.user.password_hash)
        if unchanged:
            if newer_hash:
                connection.execute(sa.update(users).where(mine).values(password_hash=newer_hash))
            throttle.forget_from(connection, tried.name, tried.host, tried.device)
            throttle.forget_old(connection, tried.now)
            secret = begin_session(connection, services, request, now, method="password")
            return Outcome(secret=secret, device=known_devices.issue(newer_hash or tried.user.password_hash))
    return _refuse(services, tried)
