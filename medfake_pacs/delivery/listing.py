"""What an administrator sees of the outgoing queue: deliveries, their attempts in order, the circuits."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from medfake_pacs.database.tables import audit_events, deliveries, delivery_attempts
from medfake_pacs.delivery.queue import ATTEMPTED, DEAD, DISMISSED, SENT, SENT_UID, WAITING

STATES = (WAITING, SENT, DEAD, DISMISSED)
_DELIVERIES_PER_FETCH = 200
_ATTEMPTS_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at a delivery; ``status`` is None where no answer came.

    ``sent_sop_instance_uid`` is that of the object on the wire, as the log has it; empty if nothing was sent.
    """

    number: int
    attempted_at: float
    sop_class_uid: str
    status: int | None
    succeeded: bool
    comment: str
    sent_sop_instance_uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDelivery:
    """One delivery as it stands; times are seconds since the epoch."""

    delivery_id: int
    report_uid: str
    study_instance_uid: str
    destination: str
    state: str
    attempts: int
    created_at: float
    next_attempt_at: float
    finished_at: float | None
    last_status: int | None
    last_comment: str
    history: tuple[Attempt, ...] = ()


def listing(
    connection: sa.Connection,
    *,
    state: str = "",
    destination: str = "",
    study: str = "",
    with_attempts: bool = False,
    limit: int | None = None,
) -> Iterator[ListedDelivery]:
    """Yield the deliveries that meet every given condition, in the order in which they were queued."""
    query = matching(state, destination, study).order_by(deliveries.c.delivery_id).limit(limit)
    with connection.execute(query, execution_options={"yield_per": _DELIVERIES_PER_FETCH}) as result:
        for partition in result.partitions():
            history = _attempts(connection, partition) if with_attempts else {}
            for row in partition:
                yield ListedDelivery(**row._mapping, history=tuple(history.get(row.delivery_id, ())))


def newest(
    connection: sa.Connection,
    *,
    state: str = "",
    destination: str = "",
    study: str = "",
    before: int | None = None,
    after: int | None = None,
    limit: int,
) -> list[ListedDelivery]:
    """Return a page of the deliveries that meet every given condition, those queued last first.

    ``before`` and ``after`` are delivery numbers: only older, or only newer ones; the page is the nearest to it.
    A destination is searched state by state, since the index that serves it is in that order.
    """
    column = deliveries.c.delivery_id
    states = (state,) if state or study or not destination else STATES
    rows: list[sa.Row[tuple[object, ...]]] = []
    for each in states:
        query = matching(each, destination, study).order_by(column if after is not None else column.desc())
        if before is not None:
            query = query.where(column < before)
        if after is not None:
            query = query.where(column > after)
        rows += connection.execute(query.limit(limit)).all()
    rows.sort(key=lambda row: int(row.delivery_id), reverse=after is None)
    return [ListedDelivery(**row._mapping) for row in sorted(rows[:limit], key=lambda row: -int(row.delivery_id))]


def delivery_with_attempts(connection: sa.Connection, delivery_id: int) -> ListedDelivery | None:
    """Return one delivery with its last attempts in order, or None if no delivery has this number."""
    row = connection.execute(sa.select(deliveries).where(deliveries.c.delivery_id == delivery_id)).one_or_none()
    if row is None:
        return None
    history = _attempts(connection, [row], newest_only=_ATTEMPTS_SHOWN)
    return ListedDelivery(**row._mapping, history=tuple(history.get(delivery_id, ())))


def matching(state: str, destination: str, study: str) -> sa.Select[tuple[object, ...]]:
    """Return the query for the deliveries that meet every given condition, in no order."""
    query = sa.select(deliveries)
    conditions = {
        deliveries.c.state: state, deliveries.c.destination: destination, deliveries.c.study_instance_uid: study,
    }  # fmt: skip
    for column, value in conditions.items():
        if value:
            query = query.where(column == value)
    return query


def _attempts(
    connection: sa.Connection, rows: Sequence[sa.Row], newest_only: int | None = None
) -> dict[int, list[Attempt]]:
    mine = delivery_attempts.c.delivery_id.in_([row.delivery_id for row in rows])
    query = sa.select(delivery_attempts).where(mine).order_by(delivery_attempts.c.attempt_id.desc()).limit(newest_only)
    sent = _sent_uids(connection, {row.report_uid for row in rows})
    found: dict[int, list[Attempt]] = {}
    for row in reversed(connection.execute(query).all()):
        attempt = Attempt(
            number=row.number,
            attempted_at=row.attempted_at,
            sop_class_uid=row.sop_class_uid,
            status=row.status,
            succeeded=row.succeeded,
            comment=row.comment,
            sent_sop_instance_uid=sent.get((row.delivery_id, row.number), ""),
        )
        found.setdefault(row.delivery_id, []).append(attempt)
    return found


def _sent_uids(connection: sa.Connection, report_uids: set[str]) -> dict[tuple[int, int], str]:
    """Return what went out, by delivery and number of the attempt: only the log keeps it."""
    columns = audit_events.c
    query = sa.select(columns.payload).where(columns.sop_instance_uid.in_(report_uids), columns.kind.in_(ATTEMPTED))
    found = {}
    for payload in connection.execute(query).scalars():
        try:
            facts = json.loads(payload)["payload"]
            found[facts["delivery_id"], facts["attempt"]] = str(facts.get(SENT_UID, ""))
        except (ValueError, LookupError, TypeError, AttributeError):
            # The row isn't what was written: saying so is up to ``audit verify``.
            continue
    return found
