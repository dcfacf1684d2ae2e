"""Who may open an association: pure functions over the configuration and what a peer says of itself.

Rejections carry the codes of PS3.8 Table 9-21. An address or a TLS subject that isn't the calling AE
title's is answered as "calling AE title not recognised": the table has no code for a host, and a stranger
learns nothing of which half was wrong.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

_PERMANENT, _TRANSIENT = 1, 2
_USER, _PRESENTATION = 1, 3
# A comma inside a value is escaped (RFC 4514 2.4), or a common name could pose as another one.
_SEPARATOR = re.compile(r"(?<!\\),")
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str], frozenset[IpAddress]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """An A-ASSOCIATE-RJ: result, source and reason as in PS3.8 Table 9-21, and what the log says."""

    result: int
    source: int
    reason: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedPeer:
    """A calling AE title, from where it may come, and the TLS subject that it must have, if any."""

    ae_title: str
    hosts: tuple[str, ...]
    tls_subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is accepted; by default nothing. ``called_ae_titles`` None takes any."""

    called_ae_titles: frozenset[str] | None
    peers: Mapping[str, AllowedPeer]
    accept_unknown_peers: bool
    max_associations: int
    max_associations_per_peer: int


def judge(
    policy: Policy, *, calling_ae_title: str, called_ae_title: str, host: str, tls_subject: str, resolve: Resolver
) -> Rejection | None:
    """Return why an association is rejected, or None if it is welcome.

    ``host`` is the peer's IP address as text; ``tls_subject`` is empty without a client certificate;
    ``resolve`` gives the addresses of a host name.
    """
    if policy.called_ae_titles is not None and called_ae_title not in policy.called_ae_titles:
        return Rejection(result=_PERMANENT, source=_USER, reason=7, text="called AE title not recognised")
    peer = policy.peers.get(calling_ae_title)
    if peer is None:
        return None if policy.accept_unknown_peers and calling_ae_title else _stranger("calling AE title unknown")
    if not is_allowed_host(host, peer.hosts, resolve):
        return _stranger("calling AE title known, but not from this address")
    if peer.tls_subject and not is_subject(tls_subject, peer.tls_subject):
        return _stranger("calling AE title known, but not with this TLS subject")
    return None


def judge_load(policy: Policy, *, open_associations: int, open_of_peer: int) -> Rejection | None:
    """Return why one more association is too many, or None; the counts don't include it."""
    if open_associations >= policy.max_associations:
        return Rejection(result=_TRANSIENT, source=_PRESENTATION, reason=2, text="too many associations")
    if open_of_peer >= policy.max_associations_per_peer:
        return Rejection(result=_TRANSIENT, source=_PRESENTATION, reason=2, text="too many associations of this peer")
    return None


def congested() -> Rejection:
    """Return the rejection for a node that can't judge or is about to stop: try again later."""
    return Rejection(result=_TRANSIENT, source=_PRESENTATION, reason=1, text="temporary congestion")


def is_allowed_host(host: str, allowed: Iterable[str], resolve: Resolver) -> bool:
    """Tell whether an IP address is one of, in a network of, or the address of a name in ``allowed``."""
    try:
        address = plain_address(host)
    except ValueError:
        return False
    return any(_matches(address, entry, resolve) for entry in allowed)


def is_peers_host(policy: Policy, host: str, resolve: Resolver) -> bool:
    """Tell whether an association could come from ``host``: whether it is one of any peer's hosts."""
    return any(is_allowed_host(host, peer.hosts, resolve) for peer in policy.peers.values())


def plain_address(text: str) -> IpAddress:
    """Return an IP address, without its scope, and as IPv4 where it is IPv4-mapped (RFC 4291 2.5.5.2).

    Raises
    ------
    ValueError
        If it is no address.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_subject(subject: str, wanted: str) -> bool:
    """Tell whether a TLS subject is the wanted one: the whole subject (RFC 4514), or its common name alone."""
    if "=" in wanted:
        return _normal(subject) == _normal(wanted)
    return f"cn={wanted.strip().casefold()}" in _normal(subject)


def _matches(address: IpAddress, entry: str, resolve: Resolver) -> bool:
    if "/" in entry:
        return address in ipaddress.ip_network(entry)
    try:
        return address == plain_address(entry)
    except ValueError:
        return address in resolve(entry)


def _normal(subject: str) -> list[str]:
    return [part.strip().casefold() for part in _SEPARATOR.split(subject)]


def _stranger(text: str) -> Rejection:
    return Rejection(result=_PERMANENT, source=_USER, reason=3, text=text)
