"""Send what is due for one destination; what is due is decided anew each time, from the tables."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import sqlalchemy as sa

from medfake_pacs import crashpoints
from medfake_pacs.config import DestinationSettings
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.tables import deliveries
from medfake_pacs.delivery import OutgoingReport, client_context, dead_letters, due, record, send_batch
from medfake_pacs.entities import Delivery
from medfake_pacs.errors import DeliveryError
from medfake_pacs.report import as_comprehensive
from medfake_pacs.workflows.context import Context

_BATCH = 50


def send_due(context: Context, destination_name: str) -> int:
    """Send every report that is due for a destination, up to 50 by one association; return how many were tried.

    One batch at a time goes to a destination. Where one is under way, this returns 0 at once: whoever
    sends that looks for more before it ends.
    """
    destination = next((item for item in context.settings.destinations if item.name == destination_name), None)
    if destination is None:
        return 0
    lock = context.destination_locks[destination_name]
    if not lock.acquire(blocking=False):
        return 0
    count = 0
    try:
        with _sole_sender(context, destination_name) as sole:
            while sole and (sent := _send(context, destination)):
                count += sent
    finally:
        lock.release()
    return count


@contextmanager
def _sole_sender(context: Context, destination_name: str) -> Iterator[bool]:
    """Tell whether no other node sends to the destination, and keep it so: an advisory lock on PostgreSQL."""
    if context.engine.dialect.name != "postgresql":
        yield True
        return
    key = int.from_bytes(hashlib.sha256(destination_name.encode()).digest()[:8], signed=True)
    with context.engine.connect() as connection:
        held = connection.execute(sa.select(sa.func.pg_try_advisory_lock(key))).scalar_one()
        connection.commit()
        try:
            yield bool(held)
        finally:
            if held:
                connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))
                connection.commit()


def give_up_unknown(context: Context, now: float, waiting_for_s: float = 0.0) -> int:
    """Make dead letters of what has waited for destinations that aren't configured; return how many.

    They stay to be seen, and `deliveries retry` sends them once a destination has that name again.
    """
    known = [item.name for item in context.settings.destinations]
    unknown = sa.select(deliveries.c.delivery_id).where(
        deliveries.c.state == "waiting",
        deliveries.c.destination.not_in(known),
        deliveries.c.created_at <= now - waiting_for_s,
    )
    with reading(context.engine) as connection:
        if connection.execute(unknown.limit(1)).first() is None:
            return 0
    with transaction(context.engine) as connection:
        return dead_letters.give_up_unknown(connection, known, now, waiting_for_s)


def _send(context: Context, destination: DestinationSettings) -> int:
    with reading(context.engine) as connection:
        found = due(connection, destination.name, time.time(), _BATCH, destination.retry)
    items = [
        OutgoingReport(
            delivery_id=item.delivery_id,
            report_uid=item.report_uid,
            path=context.settings.spool_dir / item.path,
            comprehensive=partial(as_comprehensive, context.settings.spool_dir / item.path),
            attempt=item.attempt,
            sha256=item.sha256,
        )
        for item in found
    ]
    if not items:
        return 0
    outcomes = _attempt(context, destination, items)
    crashpoints.reach("delivery.before-record")
    now = time.time()
    with transaction(context.engine) as connection:
        for outcome in outcomes:
            record(connection, outcome, destination.retry, now, ae_title=destination.ae_title)
    crashpoints.reach("delivery.after-record")
    return len(outcomes)


def _attempt(context: Context, destination: DestinationSettings, items: Sequence[OutgoingReport]) -> list[Delivery]:
    """Send, or have every item fail with the reason where the node's own TLS files can't be used."""
    try:
        tls = client_context(context.settings.tls) if destination.tls else None
    except DeliveryError as error:
        return [
            Delivery(
                delivery_id=item.delivery_id,
                report_uid=item.report_uid,
                destination=destination.name,
                sop_class_uid="",
                status=None,
                succeeded=False,
                comment=str(error),
                attempt=item.attempt,
            )
            for item in items
        ]
    return send_batch(destination, context.settings.node.ae_title, items, tls_context=tls)


def destinations_due(context: Context, now: float) -> list[tuple[str, str]]:
    """Return (destination, batch) for each destination that something is due for.

    The batch names the first delivery due and its attempt, so that one moment is handed over once; the
    minute is part of it, so that a hand-over which broke off is made again.
    """
    found = []
    with reading(context.engine) as connection:
        for destination in context.settings.destinations:
            first = due(connection, destination.name, now, 1, destination.retry)
            if first:
                batch = f"{first[0].delivery_id}:{first[0].attempt}:{int(now // 60)}"
                found.append((destination.name, batch))
    return found
