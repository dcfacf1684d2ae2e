"""What becomes of deliveries that were given up, or can't go on: sent again, dismissed, without a destination.

Every function works in the caller's transaction and takes its turn at the log first.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.database.tables import deliveries
from medfake_pacs.delivery.queue import DEAD, DISMISSED, WAITING, event_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """Which deliveries were put back, by number, and which were not since no destination has their name any more."""

    done: tuple[int, ...]
    homeless: tuple[tuple[int, str], ...] = ()


def retry(
    connection: sa.Connection,
    ids: Iterable[int] | None,
    now: float,
    *,
    ae_titles: Mapping[str, str],
    who: str = "",
    host: str = "",
    via: str = "command line",
    destination: str | None = None,
) -> Retried:
    """Have deliveries tried at once: every dead one, or those that ``ids`` name, whatever they are but sent.

    ``ae_titles`` are the configured destinations', by name; what is for another isn't put back, since nobody would
    send it. The time to give up starts anew at ``now``; attempts stay on record. ``who``, ``host`` and ``via`` go to
    the log: which account asked for it, from where, by what.
    """
    audit.take_turn(connection)
    query = sa.select(deliveries).order_by(deliveries.c.delivery_id)
    if ids is None:
        query = query.where(deliveries.c.state == DEAD)
    else:
        states = (DEAD, WAITING, DISMISSED)
        query = query.where(deliveries.c.state.in_(states), deliveries.c.delivery_id.in_(list(ids)))
    if destination is not None:
        query = query.where(deliveries.c.destination == destination)
    rows = connection.execute(query.with_for_update()).all()
    found = [row for row in rows if row.destination in ae_titles]
    values = {"state": WAITING, "created_at": now, "next_attempt_at": now, "finished_at": None}
    for row in found:
        mine = deliveries.c.delivery_id == row.delivery_id
        connection.execute(sa.update(deliveries).where(mine).values(values))
        payload = {"delivery_id": row.delivery_id, "destination": row.destination}
        payload |= {"who": who, "host": host, "via": via}
        event = event_of(connection, "delivery-retried", row, ae_titles[row.destination], payload)
        audit.append(connection, event, occurred_at=now)
    homeless = tuple((row.delivery_id, row.destination) for row in rows if row.destination not in ae_titles)
    return Retried(done=tuple(row.delivery_id for row in found), homeless=homeless)


def dismiss(
    connection: sa.Connection,
    ids: Iterable[int],
    now: float,
    *,
    ae_titles: Mapping[str, str],
    who: str,
    host: str = "",
    via: str = "command line",
) -> list[int]:
    """Put the dead letters that ``ids`` name aside, so that nobody is told of them any more; return which they were.

    They stay on record, and ``retry`` brings them back.
    """
    audit.take_turn(connection)
    query = sa.select(deliveries).where(deliveries.c.state == DEAD, deliveries.c.delivery_id.in_(list(ids)))
    rows = connection.execute(query.order_by(deliveries.c.delivery_id).with_for_update()).all()
    for row in rows:
        mine = deliveries.c.delivery_id == row.delivery_id
        connection.execute(sa.update(deliveries).where(mine).values(state=DISMISSED, finished_at=now))
        payload = {"delivery_id": row.delivery_id, "destination": row.destination}
        payload |= {"who": who, "host": host, "via": via}
        event = event_of(connection, "delivery-dismissed", row, ae_titles.get(row.destination, ""), payload)
        audit.append(connection, event, occurred_at=now)
    return [row.delivery_id for row in rows]


def give_up_unknown(connection: sa.Connection, known: Collection[str], now: float, waiting_for_s: float = 0.0) -> int:
    """Make dead letters of what waits for destinations of other names than ``known``; return how many.

    Only what was queued, or put back, ``waiting_for_s`` ago or earlier.
    """
    audit.take_turn(connection)
    unknown = sa.select(deliveries).where(
        deliveries.c.state == WAITING,
        deliveries.c.destination.not_in(known),
        deliveries.c.created_at <= now - waiting_for_s,
    )
    rows = connection.execute(unknown.order_by(deliveries.c.delivery_id).with_for_update()).all()
    for row in rows:
        comment = f"no destination is named {row.destination!r} any more"
        mine = deliveries.c.delivery_id == row.delivery_id
        connection.execute(
            sa.update(deliveries).where(mine).values(state=DEAD, finished_at=now, last_comment=comment)
        )  # fmt: skip
        payload = {"delivery_id": row.delivery_id, "destination": row.destination, "comment": comment}
        audit.append(connection, event_of(connection, "delivery-dead", row, "", payload), occurred_at=now)
    return len(rows)
