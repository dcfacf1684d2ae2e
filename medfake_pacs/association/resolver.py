"""Resolve the host names of the configured peers, with a short memory."""

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterable

from medfake_pacs.association.policy import IpAddress, plain_address

_KEEP_S = 60.0


def lookup(name: str) -> frozenset[IpAddress]:
    """Return the addresses of a host name; none if it can't be resolved."""
    try:
        entries = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return frozenset()
    return frozenset(plain_address(str(entry[4][0])) for entry in entries)


class CachingResolver:
    """Answers from memory for a minute; keeps the last answer while the name service is away. Thread-safe."""

    def __init__(
        self,
        look_up: Callable[[str], frozenset[IpAddress]] = lookup,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look_up = look_up
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, frozenset[IpAddress]]] = {}

    def __call__(self, name: str) -> frozenset[IpAddress]:
        """Return the addresses of ``name``."""
        with self._lock:
            asked_at, addresses = self._known.get(name, (float("-inf"), frozenset()))
        if self._clock() - asked_at < _KEEP_S:
            return addresses
        addresses = self._look_up(name) or addresses
        with self._lock:
            self._known[name] = (self._clock(), addresses)
        return addresses

    def remembered(self, name: str) -> frozenset[IpAddress]:
        """Return the last addresses of ``name``, without asking the name service."""
        with self._lock:
            return self._known.get(name, (0.0, frozenset()))[1]

    def warm(self, hosts: Iterable[str]) -> None:
        """Resolve the names among ``hosts``, so that the first association needn't wait."""
        for host in hosts:
            if "/" in host:
                continue
            try:
                ipaddress.ip_address(host)
            except ValueError:
                self(host)
