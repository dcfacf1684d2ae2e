"""Pages of what a search finds: as many rows as fit, by work that is bounded however long the log is."""

from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice

import sqlalchemy as sa

from medfake_pacs.audit.chain import timestamp
from medfake_pacs.audit.plan import Clause, Plan, make_plan, unindexed
from medfake_pacs.audit.rows import AuditFilter, AuditRow
from medfake_pacs.database import reading
from medfake_pacs.database.tables import audit_events

_ROWS_A_LOOK = 500
_LOOKS_A_PAGE = 10
_ROWS_PER_FETCH = 1000
# By how much the clocks of those who write may differ for a page to find every row of a span of time.
_CLOCK_TOLERANCE = timedelta(hours=1)
_LAST = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """Rows in the order that was asked for. ``next_after`` is where to go on, None at the end.

    Where ``looked_at_enough`` is set, the page ends because many rows were looked at, not because it is full.
    """

    rows: tuple[AuditRow, ...]
    next_after: int | None
    looked_at_enough: bool = False


def page(
    connection: sa.Connection,
    conditions: AuditFilter,
    *,
    size: int,
    newest_first: bool = True,
    after: int | None = None,
) -> AuditPage:
    """Return the first ``size`` rows that meet every condition beyond the row ``after``.

    At most five thousand rows are looked at. A span of time is found by the log's order: a row is missed whose
    writer's clock was off by more than an hour (``query`` misses none).
    """
    plan = make_plan(connection, conditions)
    walk = _Walk(connection, plan, _span(connection, conditions), newest_first)
    return walk.page(size, after)


def batches(engine: sa.Engine, conditions: AuditFilter, last_seq: int) -> Generator[list[AuditRow], None, None]:
    """Yield all rows up to ``last_seq`` that meet every condition, the oldest first, some at a time.

    No snapshot is held between two batches, so that a slow reader keeps nothing from being tidied up; rows of
    the log don't change.
    """
    with reading(engine) as connection:
        plan = make_plan(connection, conditions)
    after, remaining = 0, conditions.limit if conditions.limit is not None else _LAST
    while remaining > 0:
        with reading(engine) as connection:
            walk = _Walk(connection, plan, (0, last_seq), newest_first=False)
            rows, after = walk.look(min(_ROWS_PER_FETCH, remaining), after)
        if rows:
            yield rows
        remaining -= len(rows)
        if after is None:
            return


class _Walk:
    """Goes through the candidates in order of ``seq``, a few hundred at a time."""

    def __init__(self, connection: sa.Connection, plan: Plan, span: tuple[int, int], newest_first: bool) -> None:
        self._connection = connection
        self._plan = plan
        self._first, self._last = span
        self._newest_first = newest_first

    def page(self, size: int, after: int | None) -> AuditPage:
        rows: list[AuditRow] = []
        at = after
        for _ in range(_LOOKS_A_PAGE):
            found, at = self.look(size + 1 - len(rows), at)
            rows += found
            if len(rows) > size:
                return AuditPage(rows=tuple(rows[:size]), next_after=rows[size - 1].seq)
            if at is None:
                return AuditPage(rows=tuple(rows), next_after=None)
        return AuditPage(rows=tuple(rows), next_after=at, looked_at_enough=True)

    def look(self, wanted: int, after: int | None) -> tuple[list[AuditRow], int | None]:
        """Return up to ``wanted`` rows of the next candidates, and where to go on: None where there are no more."""
        count = max(wanted, _ROWS_A_LOOK) if self._plan.checks else wanted
        candidates = self._candidates(count, after)
        rows = self._checked(candidates, wanted)
        if len(rows) == wanted:
            return rows, rows[-1].seq
        return rows, candidates[-1] if len(candidates) == count else None

    def _candidates(self, count: int, after: int | None) -> list[int]:
        seq = audit_events.c.seq
        first, last = self._first, self._last
        if after is not None:
            first, last = (first, min(last, after - 1)) if self._newest_first else (max(first, after + 1), last)
        order = seq.desc() if self._newest_first else seq
        times = self._plan.times(unindexed(audit_events.c.occurred_at))
        found = [
            self._connection.execute(
                sa.select(seq).where(driver, seq >= first, seq <= last, *times).order_by(order).limit(count)
            )
            .scalars()
            .all()
            for driver in self._plan.drivers or (sa.true(),)
        ]
        distinct = dict.fromkeys(merge(*found, reverse=self._newest_first))
        return list(islice(distinct, count))

    def _checked(self, candidates: list[int], wanted: int) -> list[AuditRow]:
        rows: list[AuditRow] = []
        seq = audit_events.c.seq
        order = seq.desc() if self._newest_first else seq
        for start in range(0, len(candidates), _ROWS_A_LOOK):
            some = candidates[start : start + _ROWS_A_LOOK]
            query = sa.select(audit_events).where(seq.in_(some), *self._plan.checks).order_by(order)
            result = self._connection.execute(query.limit(wanted - len(rows)))
            rows += [AuditRow(**row._mapping) for row in result]
            if len(rows) == wanted:
                break
        return rows


def _span(connection: sa.Connection, conditions: AuditFilter) -> tuple[int, int]:
    """Return between which rows a span of time lies, by the index of times: one look for each end."""
    first, last = 0, _LAST
    if conditions.since:
        earlier = audit_events.c.occurred_at < _moved(conditions.since, -_CLOCK_TOLERANCE)
        first = _seq_at(connection, earlier, audit_events.c.occurred_at.desc()) or first
    if conditions.until:
        later = audit_events.c.occurred_at >= _moved(conditions.until, _CLOCK_TOLERANCE)
        last = _seq_at(connection, later, audit_events.c.occurred_at) or last
    return first, last


def _seq_at(connection: sa.Connection, condition: Clause, order: sa.ColumnElement[str]) -> int | None:
    query = sa.select(audit_events.c.seq).where(condition).order_by(order).limit(1)
    return connection.execute(query).scalar_one_or_none()


def _moved(moment: str, by: timedelta) -> str:
    try:
        return timestamp((datetime.fromisoformat(moment) + by).timestamp())
    except OverflowError:
        return moment
