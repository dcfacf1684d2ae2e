"""Counts of studies by day, verdict, model and source, over a span of days; what has no verdict, and why."""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa
from fastapi import Request

from medfake_pacs.console.errors import InvalidInputError
from medfake_pacs.database.tables import studies
from medfake_pacs.entities import VerdictLabel

IN_PROGRESS = "in progress"
NO_MODEL = "no model, or several"
UNKNOWN_SOURCE = "unknown"
LABELS = (*VerdictLabel, IN_PROGRESS)
DEFAULT_DAYS = 30
MAX_DAYS = 366
_DAY_S = 86_400.0
# A day this long ago hardly changes any more; what was counted of it is taken for a while.
_SETTLED_AFTER_DAYS = 2
_SETTLED_FOR_S = 600.0
_MOST_DAYS_KEPT = 800
# (verdict, source, model) and how many studies
DayCounts = Mapping[tuple[str, str, str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Days in UTC, both included."""

    since: date
    until: date

    @property
    def days(self) -> tuple[date, ...]:
        """Every day of it, in order."""
        return tuple(self.since + timedelta(days=at) for at in range((self.until - self.since).days + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """How many studies were received. ``by_day`` has a count for each of ``LABELS``, in that order."""

    period: Period
    total: int
    by_day: tuple[tuple[date, tuple[int, ...]], ...]
    by_verdict: tuple[tuple[str, int], ...]
    by_model: tuple[tuple[str, int], ...]
    by_source: tuple[tuple[str, int], ...]


def read_period(since: str, until: str, today: date) -> Period:
    """Return the days that two ISO dates mean; empty text is the last thirty days.

    Raises
    ------
    InvalidInputError
        If one is no date, they are the wrong way round, or too far apart.
    """
    wrong: dict[str, str] = {}
    last = _day("until", until, wrong) or today
    try:
        first = _day("since", since, wrong) or last - timedelta(days=DEFAULT_DAYS - 1)
        datetime(last.year, last.month, last.day) + timedelta(days=1)
    except OverflowError:
        first = last
        wrong["until"] = "that is beyond what a calendar holds"
    if not wrong and first > last:
        wrong["since"] = f"it is after the last day, {last.isoformat()}"
    elif not wrong and (last - first).days >= MAX_DAYS:
        wrong["since"] = f"{MAX_DAYS} days are counted at most; choose {last - timedelta(days=MAX_DAYS - 1)} or later"
    if wrong:
        raise InvalidInputError("; ".join(f"{name}: {what}" for name, what in wrong.items()), wrong)
    return Period(since=first, until=last)


class DayCache:
    """What was counted of each day, for as long as it is taken to be so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[date, tuple[float, DayCounts]] = {}

    def counts(self, connection: sa.Connection, days: Iterable[date], now: float) -> dict[date, DayCounts]:
        """Return the counts of each day; only what isn't known or may have changed is counted."""
        today = datetime.fromtimestamp(now, UTC).date()
        found: dict[date, DayCounts] = {}
        for day in days:
            settled = (today - day).days > _SETTLED_AFTER_DAYS
            with self._lock:
                counted_at, counts = self._counts.get(day, (0.0, {}))
            if not settled or now - counted_at > _SETTLED_FOR_S:
                counts = _count(connection, day)
                self._keep(day, now, counts)
            found[day] = counts
        return found

    def _keep(self, day: date, now: float, counts: DayCounts) -> None:
        with self._lock:
            self._counts.pop(day, None)
            self._counts[day] = (now, counts)
            while len(self._counts) > _MOST_DAYS_KEPT:
                del self._counts[next(iter(self._counts))]


async def day_cache_of(request: Request) -> DayCache:
    """Return the application's one cache; use as a dependency. Made in the event loop, so that there is only one."""
    state = request.app.state
    if getattr(state, "day_cache", None) is None:
        state.day_cache = DayCache()
    found: DayCache = state.day_cache
    return found


def statistics(connection: sa.Connection, cache: DayCache, period: Period, now: float | None = None) -> Statistics:
    """Return the counts of the period."""
    counted = cache.counts(connection, period.days, time.time() if now is None else now)
    verdicts: Counter[str] = Counter(dict.fromkeys(LABELS, 0))
    models: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    by_day = []
    for day, counts in counted.items():
        of_day: Counter[str] = Counter()
        for (verdict, source, model), count in counts.items():
            of_day[verdict or IN_PROGRESS] += count
            sources[source or UNKNOWN_SOURCE] += count
            if verdict:
                models[model or NO_MODEL] += count
        verdicts.update(of_day)
        by_day.append((day, tuple(of_day[label] for label in LABELS)))
    return Statistics(
        period=period,
        total=verdicts.total(),
        by_day=tuple(by_day),
        by_verdict=tuple((label, verdicts[label]) for label in LABELS),
        by_model=tuple(models.most_common()),
        by_source=tuple(sources.most_common()),
    )


def start_of(day: date) -> float:
    """Return a day's first moment, in seconds since the epoch."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _count(connection: sa.Connection, day: date) -> DayCounts:
    """Count one day by the index that begins with the time and holds all the rest."""
    columns = studies.c
    facts = (columns.verdict, columns.calling_ae_title, columns.model_name)
    first = start_of(day)
    query = sa.select(*facts, sa.func.count().label("count")).group_by(*facts)
    query = query.where(columns.first_received_at >= first, columns.first_received_at < first + _DAY_S)
    return {(row[0], row[1], row[2]): row[3] for row in connection.execute(query)}


def _day(name: str, text: str, wrong: dict[str, str]) -> date | None:
    if not text.strip():
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        wrong[name] = f"{text!r} is no ISO date such as 2026-01-31"
        return None
