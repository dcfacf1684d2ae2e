"""Whoever guesses passwords waits longer and longer: by the name tried, and by the host that tries.

An attempt is counted before its password is looked at, so that many at once are no way around it; signing in takes
the count back. Unknown names are counted like known ones. A name is counted strictly for each host and loosely
altogether, and apart from both for a browser in which it has signed in before: strangers shut nobody out.
"""

import hashlib
import ipaddress
from dataclasses import dataclass

import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.database.console_tables import sign_in_failures

_WINDOW_S = 3600.0
_FIRST_WAIT_S = 60.0
_LONGEST_WAIT_S = 900.0
# Several people may share a host's address.
_FREE_FOR_NAME = 5
_FREE_FOR_NAME_ANYWHERE = 50
_FREE_FOR_HOST = 20
_FREE_REGISTRATIONS = 10
_FREE_SINGLE_SIGN_ONS = 20
_MOST_DOUBLINGS = 10
_LONGEST_HOST = 64
_rows = sign_in_failures.c
# What is counted apart, in ``sign_in_failures.action``.
_SIGN_IN, _DEVICE, _OWN_PASSWORD = "sign-in", "sign-in-device", "own-password"
_REGISTRATION, _SINGLE_SIGN_ON = "registration", "single-sign-on"
# What is counted, and how many of it are free.
_Limits = tuple[tuple[sa.ColumnElement[bool], int], ...]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that was counted; ``wait_s`` is above 0 for one that was refused and not counted.

    ``then_wait_s`` is how long the next one is refused if this one fails.
    """

    failure_id: int | None
    wait_s: float
    then_wait_s: float = 0.0


def begin_sign_in(connection: sa.Connection, name: str, host: str, now: float, device: str = "") -> Attempt:
    """Count an attempt to sign in as ``name`` from ``host``, or say how long to wait.

    ``device`` names a browser that has proved to be one of this account's (see ``known_devices``).
    """
    by_name = _rows.name_sha256 == _digest(name)
    if device:
        here = sa.and_(_rows.action == _DEVICE, by_name, _rows.host == device)
        return _begin(connection, _DEVICE, name, device, now, ((here, _FREE_FOR_NAME),))
    signing_in, by_host = _rows.action == _SIGN_IN, _rows.host == network_of(host)
    limits = (
        (sa.and_(signing_in, by_name, by_host), _FREE_FOR_NAME),
        (sa.and_(signing_in, by_name), _FREE_FOR_NAME_ANYWHERE),
        (sa.and_(signing_in, by_host), _FREE_FOR_HOST),
    )
    return _begin(connection, _SIGN_IN, name, network_of(host), now, limits)


def begin_own_password(connection: sa.Connection, name: str, host: str, now: float) -> Attempt:
    """Count a look at the old password when its owner changes it, apart from signing in."""
    mine = sa.and_(_rows.action == _OWN_PASSWORD, _rows.name_sha256 == _digest(name))
    return _begin(connection, _OWN_PASSWORD, name, network_of(host), now, ((mine, _FREE_FOR_NAME),))


def single_sign_on_wait_s(connection: sa.Connection, host: str, now: float) -> float:
    """Return how long ``host`` waits for another single sign-on, in seconds; 0 if not at all."""
    return max(0.0, _wait_s(connection, _single_sign_ons(host), now))


def count_single_sign_on(connection: sa.Connection, host: str, now: float) -> Attempt:
    """Count a single sign-on that failed, or say how long to wait."""
    return _begin(connection, _SINGLE_SIGN_ON, "", network_of(host), now, _single_sign_ons(host))


def _single_sign_ons(host: str) -> _Limits:
    by_host = sa.and_(_rows.action == _SINGLE_SIGN_ON, _rows.host == network_of(host))
    return ((by_host, _FREE_SINGLE_SIGN_ONS),)


def begin_registration(connection: sa.Connection, name: str, host: str, now: float) -> Attempt:
    """Count a registration from ``host``, or say how long to wait."""
    by_host = sa.and_(_rows.action == _REGISTRATION, _rows.host == network_of(host))
    return _begin(connection, _REGISTRATION, name, network_of(host), now, ((by_host, _FREE_REGISTRATIONS),))


def _begin(
    connection: sa.Connection,
    action: str,
    name: str,
    host: str,
    now: float,
    limits: _Limits,
) -> Attempt:
    # PostgreSQL lets two count side by side otherwise.
    audit.take_turn(connection)
    wait_s = _wait_s(connection, limits, now)
    if wait_s > 0:
        return Attempt(None, wait_s)
    row = {"action": action, "name_sha256": _digest(name), "host": host, "failed_at": now}
    failure_id = connection.execute(sa.insert(sign_in_failures).values(row)).inserted_primary_key[0]
    return Attempt(failure_id, 0.0, _wait_s(connection, limits, now))


def _wait_s(connection: sa.Connection, limits: _Limits, now: float) -> float:
    longest = 0.0
    for condition, free in limits:
        query = sa.select(sa.func.count(), sa.func.max(_rows.failed_at))
        count, latest = connection.execute(query.where(condition, _rows.failed_at > now - _WINDOW_S)).one()
        if count >= free:
            pause_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(count - free, _MOST_DOUBLINGS))
            longest = max(longest, latest + pause_s - now)
    return longest


def forget_from(connection: sa.Connection, name: str, host: str, device: str = "") -> None:
    """Forget what a name failed at from where it has signed in now; what strangers tried elsewhere still counts."""
    mine = _rows.host.in_([network_of(host), device])
    _forget(connection, name, (_SIGN_IN, _DEVICE), mine)


def forget_own_password(connection: sa.Connection, name: str) -> None:
    """Forget wrong guesses at the old password: its owner has changed it."""
    _forget(connection, name, (_OWN_PASSWORD,))


def forget(connection: sa.Connection, name: str) -> None:
    """Forget every failure of a name: an administrator helps."""
    _forget(connection, name, (_SIGN_IN, _DEVICE, _OWN_PASSWORD))


def _forget(
    connection: sa.Connection, name: str, actions: tuple[str, ...], *conditions: sa.ColumnElement[bool]
) -> None:
    mine = (_rows.action.in_(actions), _rows.name_sha256 == _digest(name), *conditions)
    connection.execute(sa.delete(sign_in_failures).where(*mine))


def forget_old(connection: sa.Connection, now: float) -> None:
    """Delete what no longer counts."""
    connection.execute(sa.delete(sign_in_failures).where(_rows.failed_at <= now - _WINDOW_S))


def network_of(host: str) -> str:
    """Return what is counted as one host: an IPv4 address, or the 64-bit network that one IPv6 subscriber has."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:_LONGEST_HOST]
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
