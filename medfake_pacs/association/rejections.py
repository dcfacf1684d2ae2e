"""Log what was turned away, within a limit per minute, and without keeping anybody waiting."""

import logging
import queue
import threading
import time
from collections.abc import Callable

import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.database import transaction
from medfake_pacs.entities import AuditEvent
from medfake_pacs.errors import AuditError

_LOGGER = logging.getLogger(__name__)
_WINDOW_S = 60.0
_WAITING_EVENTS = 1000


class Throttle:
    """Lets so many events of each kind a minute through and counts the others. Thread-safe.

    Each kind has its own budget: a flood of strangers doesn't hide that a legitimate object was refused.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._window_start = clock()
        self._admitted: dict[str, int] = {}
        self._suppressed: dict[str, int] = {}

    def admit(self, kind: str) -> bool:
        """Tell whether an event may be logged; one that may not is counted."""
        with self._lock:
            if self._clock() - self._window_start >= _WINDOW_S:
                self._window_start, self._admitted = self._clock(), {}
            admitted = self._admitted.get(kind, 0)
            if admitted < self._per_minute:
                self._admitted[kind] = admitted + 1
                return True
            self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
            return False

    def count(self, kind: str, number: int = 1) -> None:
        """Count events that couldn't be logged for another reason."""
        with self._lock:
            self._suppressed[kind] = self._suppressed.get(kind, 0) + number

    def take_suppressed(self, *, at_once: bool = False) -> dict[str, int]:
        """Return the counts by kind and forget them, once the minute they fell into is over."""
        with self._lock:
            if not at_once and self._clock() - self._window_start < _WINDOW_S:
                return {}
            counts, self._suppressed = self._suppressed, {}
            return counts


class Clerk:
    """Writes events to the log in a thread of its own: an answer never waits for them.

    When the log can't be written the events are counted, and the count is logged when it can be again.
    """

    def __init__(self, engine: sa.Engine, throttle: Throttle) -> None:
        self._engine = engine
        self._throttle = throttle
        self._events: queue.Queue[AuditEvent | None] = queue.Queue(_WAITING_EVENTS)
        self._thread = threading.Thread(target=self._run, name="clerk", daemon=True)
        self._thread.start()

    def log(self, event: AuditEvent) -> bool:
        """Log ``event`` soon, unless there were too many of its kind this minute; tell whether it will be."""
        if not self._throttle.admit(event.kind):
            return False
        try:
            self._events.put_nowait(event)
        except queue.Full:
            self._throttle.count(event.kind)
            return False
        return True

    def summarise(self, *, at_once: bool = False) -> None:
        """Log how many events were left out, one row for each kind; call it now and then."""
        for kind, count in self._throttle.take_suppressed(at_once=at_once).items():
            self._append(AuditEvent(kind=kind, payload={"suppressed": count}), count)

    def close(self) -> None:
        """Write what waits, and the counts, then end the thread."""
        self._events.put(None)
        self._thread.join()
        self.summarise(at_once=True)

    def _run(self) -> None:
        while (event := self._events.get()) is not None:
            self._append(event, 1)

    def _append(self, event: AuditEvent, count: int) -> None:
        try:
            with transaction(self._engine) as connection:
                audit.append(connection, event)
        except (sa.exc.SQLAlchemyError, AuditError, OSError) as error:
            _LOGGER.error("event not logged", extra={"kind": event.kind, "reason": type(error).__name__})
            self._throttle.count(event.kind, count)
