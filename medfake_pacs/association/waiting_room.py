"""Bound the connections that have no association yet: each costs two threads and says nothing of itself.

Who isn't a configured peer's host gets little room, and never that of the peers: a stranger's silence keeps
nobody out. What has become an association is counted by the policy instead.
"""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from medfake_pacs.association.policy import plain_address


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many connections may wait at once: of one address, and of all together."""

    of_address: int
    in_total: int


class Seat:
    """The place of one waiting connection."""

    def __init__(self, room: "WaitingRoom", address: str, known: bool) -> None:
        self._room = room
        self._place: tuple[str, bool] | None = (address, known)

    def leave(self) -> None:
        """Give the place back; may be called twice, in one thread at a time."""
        place, self._place = self._place, None
        if place:
            self._room.leave(*place)


class WaitingRoom:
    """Counts the waiting connections, those of known addresses apart from the others. Thread-safe."""

    def __init__(
        self, *, known: Room, unknown: Room, is_known: Callable[[str], bool], refused: Callable[[str], None]
    ) -> None:
        """``is_known`` tells whether an address is a peer's, at once; ``refused`` is told of who had no room."""
        self._rooms = {True: known, False: unknown}
        self._is_known = is_known
        self._refused = refused
        self._lock = threading.Lock()
        self._waiting: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}

    def enter(self, host: str) -> Seat | None:
        """Return a seat for a connection from the IP address ``host``, or None if there is no room for it."""
        address = str(plain_address(host))
        known = self._is_known(address)
        room = self._rooms[known]
        with self._lock:
            waiting = self._waiting[known]
            has_room = waiting[address] < room.of_address and waiting.total() < room.in_total
            if has_room:
                waiting[address] += 1
        if has_room:
            return Seat(self, address, known)
        self._refused(address)
        return None

    def leave(self, address: str, known: bool) -> None:
        """Count one less; ``Seat.leave`` calls it."""
        with self._lock:
            waiting = self._waiting[known]
            waiting[address] -= 1
            if waiting[address] <= 0:
                del waiting[address]
