"""What waits, and for how long: every queue of the node. Each query is served by an index and has a bound."""

from collections.abc import Iterable
from typing import Annotated

import sqlalchemy as sa
from pydantic import Field

from medfake_pacs.console.queries.facts import COUNT_LIMIT, Count, Fact, count
from medfake_pacs.database.console_tables import checks, notifications, reviews
from medfake_pacs.database.tables import deliveries, instances, revisions, studies

_SAMPLE = 1000


class Queue(Fact):
    """One queue: what waits in it."""

    name: Annotated[str, Field(description="which queue, as the metrics name it")]
    destination: Annotated[str, Field(description="whose queue it is; empty but for reports")] = ""
    label: Annotated[str, Field(description="the same for people")]
    depth: Annotated[Count, Field(description="how many wait")]
    oldest_at: Annotated[float | None, Field(description="since when the oldest waits, seconds since the epoch")]
    late_after_s: Annotated[float, Field(description="waiting longer than this is reported as a problem")]
    if_late: Annotated[str, Field(description="what to do then")]

    def is_late(self, now: float) -> bool:
        """Tell whether the oldest has waited for too long."""
        return self.oldest_at is not None and now - self.oldest_at > self.late_after_s


class DeadLetters(Fact):
    """How many reports were given up for one destination."""

    destination: str
    count: Count


def queues(
    connection: sa.Connection, destinations: Iterable[str], *, max_wait_s: float, limit: int = COUNT_LIMIT
) -> list[Queue]:
    """Return every queue, in the order in which a study passes them; also those of names that no destination has."""
    waiting = _destinations_named(connection, "waiting", destinations)
    reports = [_reports(connection, name, limit) for name in waiting]
    return [
        _arriving(connection, max_wait_s, limit),
        _images(connection, limit),
        _revisions(connection, limit),
        *reports,
        _checks(connection, limit),
        _reviews(connection, limit),
        _notifications(connection, limit),
    ]


def dead_letters(connection: sa.Connection, destinations: Iterable[str], limit: int = COUNT_LIMIT) -> list[DeadLetters]:
    """Return how many reports were given up, for the named destinations and for those that dead letters name."""
    dead = sa.select(deliveries.c.destination).where(deliveries.c.state == "dead")
    return [
        DeadLetters(destination=name, count=count(connection, dead.where(deliveries.c.destination == name), limit))
        for name in _destinations_named(connection, "dead", destinations)
    ]


def _destinations_named(connection: sa.Connection, state: str, destinations: Iterable[str]) -> list[str]:
    """Return the configured destinations and the others that deliveries in ``state`` are for: one seek for each."""
    column = deliveries.c.destination
    mine = deliveries.c.state == state
    step = sa.select(sa.func.min(column).label("name")).where(mine).cte("step", recursive=True)
    following = sa.select(sa.func.min(column)).where(mine, column > step.c.name).scalar_subquery()
    step = step.union_all(sa.select(following).where(step.c.name.is_not(None)))
    found = connection.execute(sa.select(step.c.name).where(step.c.name.is_not(None)).limit(_SAMPLE)).scalars()
    return list(dict.fromkeys([*destinations, *sorted(found)]))


def _arriving(connection: sa.Connection, max_wait_s: float, limit: int) -> Queue:
    waiting = studies.c.opened_at.is_not(None)
    oldest = connection.execute(sa.select(sa.func.min(studies.c.opened_at)).where(waiting)).scalar_one()
    return Queue(
        name="arriving",
        label="studies that are arriving",
        depth=count(connection, sa.select(studies.c.opened_at).where(waiting), limit),
        oldest_at=oldest,
        late_after_s=max_wait_s + 60.0,
        if_late="see whether the worker is alive; a study is closed after completion.max_wait_s at the latest",
    )


def _images(connection: sa.Connection, limit: int) -> Queue:
    depth, oldest = 0, []
    more = False
    for state in ("received", "queued"):
        mine = instances.c.state == state
        part = count(connection, sa.select(instances.c.instance_id).where(mine), limit)
        depth, more = depth + part.value, more or part.more
        first = sa.select(instances.c.received_at).where(mine).order_by(instances.c.instance_id).limit(1)
        oldest += connection.execute(first).scalars().all()
    return Queue(
        name="images",
        label="images to score",
        depth=Count(value=min(depth, limit), more=more or depth > limit),
        oldest_at=min(oldest, default=None),
        late_after_s=900.0,
        if_late="see whether the worker is alive, and how many images a minute it scores; scoring.threads limits it",
    )


def _revisions(connection: sa.Connection, limit: int) -> Queue:
    waiting = sa.select(revisions.c.completed_at).where(revisions.c.state == "completed")
    return Queue(
        name="revisions",
        label="complete studies to assess",
        depth=count(connection, waiting, limit),
        oldest_at=_oldest(connection, waiting),
        late_after_s=900.0,
        if_late="they wait for their images, or assessing them breaks off: the log has assessment-failed",
    )


def _reports(connection: sa.Connection, destination: str, limit: int) -> Queue:
    waiting = sa.select(deliveries.c.created_at).where(
        deliveries.c.state == "waiting", deliveries.c.destination == destination
    )
    return Queue(
        name="reports",
        destination=destination,
        label=f"reports to send to {destination}",
        depth=count(connection, waiting, limit),
        oldest_at=_oldest(connection, waiting.order_by(deliveries.c.delivery_id)),
        late_after_s=900.0,
        if_late="its deliveries say what it answered; try a C-ECHO",
    )


def _checks(connection: sa.Connection, limit: int) -> Queue:
    waiting = sa.select(checks.c.created_at).where(checks.c.state.in_(("waiting", "running")))
    return Queue(
        name="checks",
        label="uploaded images to check",
        depth=count(connection, waiting, limit),
        oldest_at=_oldest(connection, waiting),
        late_after_s=600.0,
        if_late="see whether the worker is alive, and whether it sees the console's spool folder",
    )


def _reviews(connection: sa.Connection, limit: int) -> Queue:
    waiting = sa.select(reviews.c.created_at).where(reviews.c.state == "recorded")
    failed = sa.select(reviews.c.study_instance_uid, reviews.c.problem)
    failed = failed.where(reviews.c.state == "recorded", reviews.c.next_attempt_at > 0)
    first = connection.execute(failed.order_by(reviews.c.next_attempt_at).limit(1)).first()
    why = f"the report of one can't be written: {first.problem}; study {first.study_instance_uid}" if first else ""
    return Queue(
        name="reviews",
        label="radiologists' reviews to report",
        depth=count(connection, waiting, limit),
        oldest_at=_oldest(connection, waiting),
        late_after_s=600.0,
        if_late=why or "see whether the worker is alive; a review waits for the report that it is about",
    )


def _notifications(connection: sa.Connection, limit: int) -> Queue:
    waiting = sa.select(notifications.c.created_at).where(notifications.c.state == "waiting")
    return Queue(
        name="notifications",
        label="notifications to send",
        depth=count(connection, waiting, limit),
        oldest_at=_oldest(connection, waiting),
        late_after_s=900.0,
        if_late="see the comments of the notifications",
    )


def _oldest(connection: sa.Connection, waiting: sa.Select[tuple[float]]) -> float | None:
    """Return the smallest of the first times that a query gives; of a queue of many, the first thousand."""
    moments = waiting.limit(_SAMPLE).subquery()
    value = connection.execute(sa.select(sa.func.min(moments.c[0]))).scalar_one()
    return None if value is None else float(value)
