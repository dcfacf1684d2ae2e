"""How many events of each kind the log holds: counted whole once, and from there on only what is new."""

import logging
import threading
from collections import Counter

import sqlalchemy as sa

from medfake_pacs.database import reading
from medfake_pacs.database.tables import audit_events

_FIRST_COUNT_WAIT_S = 0.1
_ROWS_AT_ONCE = 20_000
_log = logging.getLogger(__name__)


class EventCounts:
    """Counts by kind. Thread-safe; it remembers up to which row it has counted.

    The first count reads the whole index of kinds, seconds for tens of millions of rows: it runs beside the
    scrapes, which are without these counts until it is done.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._counted_to: int | None = None
        self._first: threading.Thread | None = None

    def current(self) -> dict[str, int] | None:
        """Return the counts as of now, or None while the first count is under way."""
        with self._lock:
            if self._counted_to is None:
                self._begin()
            if self._counted_to is None:
                return None
            with reading(self._engine) as connection:
                while self._add(connection):
                    pass
            return dict(self._counts)

    def _begin(self) -> None:
        """Start the first count, or see whether it is done."""
        if self._first is None or not self._first.is_alive():
            self._first = threading.Thread(target=self._count_all, name="event-counts", daemon=True)
            self._first.start()
        self._first.join(_FIRST_COUNT_WAIT_S)

    def _count_all(self) -> None:
        columns = audit_events.c
        try:
            with reading(self._engine) as connection:
                head = connection.execute(sa.select(sa.func.max(columns.seq))).scalar_one() or 0
                query = sa.select(columns.kind, sa.func.count().label("number")).group_by(columns.kind)
                if connection.dialect.name == "postgresql":
                    # Its statements needn't see one snapshot.
                    query = query.where(columns.seq <= head)
                counts = Counter({row.kind: row.number for row in connection.execute(query)})
        except sa.exc.SQLAlchemyError as error:
            _log.error("events can't be counted", extra={"reason": type(error).__name__})
            return
        self._counts, self._counted_to = counts, int(head)

    def _add(self, connection: sa.Connection) -> bool:
        """Count the next rows; tell whether there may be more. Rows become visible in order."""
        columns = audit_events.c
        query = sa.select(columns.seq, columns.kind).where(columns.seq > self._counted_to)
        rows = connection.execute(query.order_by(columns.seq).limit(_ROWS_AT_ONCE)).all()
        self._counts.update(row.kind for row in rows)
        if rows:
            self._counted_to = int(rows[-1].seq)
        return len(rows) == _ROWS_AT_ONCE
