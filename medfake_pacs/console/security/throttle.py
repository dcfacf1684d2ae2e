"""Whoever guesses passwords waits longer and longer: by the name tried, and by the host that tries.

An attempt is counted before its password is looked at, so that many at once are no way around it; the right
password takes the count back. Unknown names are counted like known ones.
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
_FREE_FOR_HOST = 20
_FREE_REGISTRATIONS = 10
_MOST_DOUBLINGS = 10
_LONGEST_HOST = 64
_rows = sign_in_failures.c
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


def begin_sign_in(connection: sa.Connection, name: str, host: str, now: float) -> Attempt:
    """Count an attempt to sign in as ``name`` from ``host``, or say how long to wait."""
    by_name = sa.and_(_rows.action == "sign-in", _rows.name_sha256 == _digest(name))
    by_host = sa.and_(_rows.action == "sign-in", _rows.host == network_of(host))
    return _begin(connection, "sign-in", name, host, now, ((by_name, _FREE_FOR_NAME), (by_host, _FREE_FOR_HOST)))


def begin_registration(connection: sa.Connection, name: str, host: str, now: float) -> Attempt:
    """Count a registration from ``host``, or say how long to wait."""
    by_host = sa.and_(_rows.action == "registration", _rows.host == network_of(host))
    return _begin(connection, "registration", name, host, now, ((by_host, _FREE_REGISTRATIONS),))


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
    row = {"action": action, "name_sha256": _digest(name), "host": network_of(host), "failed_at": now}
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


def take_back(connection: sa.Connection, attempt: Attempt) -> None:
    """Forget one attempt, which was none."""
    connection.execute(sa.delete(sign_in_failures).where(_rows.failure_id == attempt.failure_id))


def forget(connection: sa.Connection, name: str) -> None:
    """Forget the failures of a name: its owner has signed in, or an administrator helps."""
    connection.execute(sa.delete(sign_in_failures).where(_rows.action == "sign-in", _rows.name_sha256 == _digest(name)))


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
