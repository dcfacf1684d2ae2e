"""What an administrator sees of the outgoing queue: deliveries, their attempts in order, the circuits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from medfake_pacs.database.tables import deliveries, delivery_attempts

_DELIVERIES_PER_FETCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at a delivery; ``status`` is None where no answer came."""

    number: int
    attempted_at: float
    sop_class_uid: str
    status: int | None
    succeeded: bool
    comment: str


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
    query = sa.select(deliveries).order_by(deliveries.c.delivery_id).limit(limit)
    conditions = {
        deliveries.c.state: state, deliveries.c.destination: destination, deliveries.c.study_instance_uid: study,
    }  # fmt: skip
    for column, value in conditions.items():
        if value:
            query = query.where(column == value)
    with connection.execute(query, execution_options={"yield_per": _DELIVERIES_PER_FETCH}) as result:
        for partition in result.partitions():
            ids = [row.delivery_id for row in partition]
            history = _attempts(connection, ids) if with_attempts else {}
            for row in partition:
                yield ListedDelivery(**row._mapping, history=tuple(history.get(row.delivery_id, ())))


def _attempts(connection: sa.Connection, delivery_ids: Sequence[int]) -> dict[int, list[Attempt]]:
    query = sa.select(delivery_attempts).where(delivery_attempts.c.delivery_id.in_(delivery_ids))
    found: dict[int, list[Attempt]] = {}
    for row in connection.execute(query.order_by(delivery_attempts.c.attempt_id)):
        attempt = Attempt(
            number=row.number,
            attempted_at=row.attempted_at,
            sop_class_uid=row.sop_class_uid,
            status=row.status,
            succeeded=row.succeeded,
            comment=row.comment,
        )
        found.setdefault(row.delivery_id, []).append(attempt)
    return found
