"""The outgoing queue: which report goes where, when it is tried next, and what became of each attempt.

A delivery is ``waiting`` until it is ``sent`` or, after ``give_up_after_s``, ``dead``; an administrator puts a dead
one back or makes it ``dismissed`` (see ``dead_letters``). Every function works in the caller's transaction. Those
that write to the log take their turn at it first, so that two of them never wait for each other's rows crosswise.
"""

import math
import random as random_module
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.config import RetrySettings
from medfake_pacs.database.console_tables import reviews
from medfake_pacs.database.engine import insert_into
from medfake_pacs.database.tables import deliveries, delivery_attempts, instances, reports
from medfake_pacs.delivery.retrying import FAILURES_TO_OPEN, Circuit, CircuitState, circuit
from medfake_pacs.entities import AuditEvent, Delivery, Report
from medfake_pacs.errors import DeliveryError
from medfake_pacs.retrying import next_attempt

WAITING, SENT, DEAD, DISMISSED = "waiting", "sent", "dead", "dismissed"
ATTEMPTED = ("report-sent", "report-failed")
SENT_UID = "sent_sop_instance_uid"
_OUT_OF_RESOURCES = (0xA700, 0xA7FF)
_REMEMBERED_FAILURES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class DueDelivery:
    """A delivery whose time has come; ``attempt`` is the number that this attempt has, from 1."""

    delivery_id: int
    report_uid: str
    study_instance_uid: str
    destination: str
    attempt: int
    path: Path
    sha256: str = ""


def enqueue(connection: sa.Connection, report: Report, destinations: Sequence[str], now: float) -> None:
    """Have ``report`` sent to each destination, by name; those that have it queued already stay as they are."""
    for destination in destinations:
        row = {
            "report_uid": report.sop_instance_uid,
            "study_instance_uid": report.study_instance_uid,
            "destination": destination,
            "created_at": now,
            "next_attempt_at": now,
        }
        connection.execute(insert_into(connection, deliveries).values(row).on_conflict_do_nothing())


def due(
    connection: sa.Connection, destination: str, now: float, limit: int, retry: RetrySettings | None = None
) -> list[DueDelivery]:
    """Return at most ``limit`` deliveries whose time has come, the longest waiting first.

    With ``retry`` the destination's circuit counts: while it is open there is none, or one that probes.
    A review's report isn't due while the report that it points to waits for the same destination.
    """
    deliverable = sa.and_(
        deliveries.c.destination == destination,
        deliveries.c.state == WAITING,
        deliveries.c.next_attempt_at <= now,
        sa.or_(reports.c.kind != "review", ~_reviewed_waits().exists()),
    )
    if retry is not None:
        state = circuit_of(connection, destination, retry, now)
        if state.state is CircuitState.OPEN:
            if now < state.fresh_probe_at:
                return []
            deliverable = sa.and_(deliverable, _untried())
        limit = limit if state.state is CircuitState.CLOSED else min(limit, 1)
    query = (
        sa.select(deliveries, reports.c.path, reports.c.sha256)
        .join_from(deliveries, reports, deliveries.c.report_uid == reports.c.sop_instance_uid)
        .where(deliverable)
        .order_by(deliveries.c.next_attempt_at, deliveries.c.delivery_id)
        .limit(limit)
    )
    return [
        DueDelivery(
            delivery_id=row.delivery_id,
            report_uid=row.report_uid,
            study_instance_uid=row.study_instance_uid,
            destination=row.destination,
            attempt=row.attempts + 1,
            path=Path(row.path),
            sha256=row.sha256,
        )
        for row in connection.execute(query)
    ]


def circuit_of(connection: sa.Connection, destination: str, retry: RetrySettings, now: float) -> Circuit:
    """Return the state of the destination's circuit, from the attempts on record."""
    failed_at = _unanswered_attempts(connection, destination)
    return circuit(failed_at, retry, now)


def record(
    connection: sa.Connection,
    delivery: Delivery,
    retry: RetrySettings,
    now: float,
    random: Callable[[], float] = random_module.random,
    *,
    ae_title: str = "",
) -> None:
    """Record the outcome of one attempt: the delivery's state, the attempt, and the facts for the log.

    Doing it again for the same ``delivery.attempt`` changes nothing. Give all outcomes of one association
    the same ``now``: the circuit counts associations. ``ae_title`` is the destination's, for the log.

    Raises
    ------
    DeliveryError
        If there is no such delivery.
    """
    audit.take_turn(connection)
    row = connection.execute(
        sa.select(deliveries).where(deliveries.c.delivery_id == delivery.delivery_id).with_for_update()
    ).one_or_none()
    if row is None:
        raise DeliveryError(f"there is no delivery {delivery.delivery_id}")
    number = delivery.attempt or row.attempts + 1
    if row.state == SENT or number <= row.attempts:
        return
    unanswered = _unanswered_attempts(connection, delivery.destination) if delivery.succeeded else ()
    _insert_attempt(connection, delivery, number, now)
    state, next_attempt_at = _outcome(connection, row, delivery, retry, now, random)
    values = {
        "state": state,
        "attempts": number,
        "next_attempt_at": next_attempt_at,
        "finished_at": None if state == WAITING else now,
        "last_status": delivery.status,
        "last_comment": audit.storable(delivery.comment),
    }
    connection.execute(sa.update(deliveries).where(deliveries.c.delivery_id == delivery.delivery_id).values(values))
    if len(unanswered) >= FAILURES_TO_OPEN:
        _release_others(connection, delivery.destination, now)
    payload = _attempt_facts(delivery, number, state, next_attempt_at)
    kind = ATTEMPTED[0] if delivery.succeeded else ATTEMPTED[1]
    audit.append(connection, event_of(connection, kind, row, ae_title, payload), occurred_at=now)
    if state == DEAD:
        audit.append(connection, event_of(connection, "delivery-dead", row, ae_title, payload), occurred_at=now)
        if _is_unanswered(delivery):
            _give_up_others(connection, delivery, retry, now, ae_title)


def _unanswered_attempts(connection: sa.Connection, destination: str) -> Sequence[float]:
    """Return when associations failed since the destination last answered, newest first.

    Only what isn't sent can have such attempts, and a sent delivery's ``next_attempt_at`` is when it was
    sent, which the index gives at once: the history of what was sent is never read.
    """
    attempts = delivery_attempts.c
    unanswered = sa.or_(attempts.status.is_(None), attempts.status.between(*_OUT_OF_RESOURCES))
    unsent = sa.select(deliveries.c.delivery_id)
    unsent = unsent.where(deliveries.c.destination == destination, deliveries.c.state.in_((WAITING, DEAD, DISMISSED)))
    sent_at = sa.select(sa.func.max(deliveries.c.next_attempt_at))
    sent_at = sent_at.where(deliveries.c.destination == destination, deliveries.c.state == SENT)
    refused_at = sa.select(sa.func.max(attempts.attempted_at)).where(attempts.delivery_id.in_(unsent), ~unanswered)
    answers = [connection.execute(query).scalar_one() for query in (sent_at, refused_at)]
    answered_at = max((moment for moment in answers if moment is not None), default=-math.inf)
    query = sa.select(attempts.attempted_at).distinct()
    query = query.where(attempts.delivery_id.in_(unsent), unanswered, attempts.attempted_at > answered_at)
    query = query.order_by(attempts.attempted_at.desc()).limit(_REMEMBERED_FAILURES)
    return connection.execute(query).scalars().all()


def _untried() -> sa.ColumnElement[bool]:
    """Tell the deliveries that were not tried since they were queued or put back."""
    return deliveries.c.next_attempt_at == deliveries.c.created_at


def _reviewed_waits() -> sa.Select[tuple[object, ...]]:
    """Select the waiting delivery, to the same destination, of the report that a delivery's review is about."""
    theirs, reviewed = deliveries.alias("theirs"), reports.alias("reviewed")
    return sa.select(theirs.c.delivery_id).where(
        reviews.c.study_instance_uid == reports.c.study_instance_uid,
        reviews.c.report_uid == reports.c.sop_instance_uid,
        reviewed.c.study_instance_uid == reviews.c.study_instance_uid,
        reviewed.c.kind == "verdict",
        reviewed.c.revision == reviews.c.revision,
        theirs.c.report_uid == reviewed.c.sop_instance_uid,
        theirs.c.destination == deliveries.c.destination,
        theirs.c.state == WAITING,
    )


def _insert_attempt(connection: sa.Connection, delivery: Delivery, number: int, now: float) -> None:
    connection.execute(
        sa.insert(delivery_attempts).values(
            delivery_id=delivery.delivery_id,
            number=number,
            attempted_at=now,
            sop_class_uid=delivery.sop_class_uid,
            status=delivery.status,
            succeeded=delivery.succeeded,
            comment=audit.storable(delivery.comment),
        )
    )


def _outcome(
    connection: sa.Connection,
    row: sa.Row[tuple[object, ...]],
    delivery: Delivery,
    retry: RetrySettings,
    now: float,
    random: Callable[[], float],
) -> tuple[str, float]:
    """Return the new state and when to try again."""
    if delivery.succeeded:
        return SENT, now
    if now - row.created_at >= retry.give_up_after_s:
        return DEAD, now
    tried = sa.select(sa.func.count()).where(
        delivery_attempts.c.delivery_id == delivery.delivery_id, delivery_attempts.c.attempted_at >= row.created_at
    )
    return WAITING, now + next_attempt(connection.execute(tried).scalar_one(), retry, random)


def _release_others(connection: sa.Connection, destination: str, now: float) -> None:
    """Bring forward what waits only because the destination didn't answer: it does now."""
    connection.execute(
        sa.update(deliveries)
        .where(deliveries.c.destination == destination, deliveries.c.state == WAITING)
        .where(deliveries.c.next_attempt_at > now, deliveries.c.last_status.is_(None), deliveries.c.attempts > 0)
        .values(next_attempt_at=now)
    )


def _is_unanswered(delivery: Delivery) -> bool:
    first, last = _OUT_OF_RESOURCES
    return delivery.status is None or first <= delivery.status <= last


def _give_up_others(
    connection: sa.Connection, delivery: Delivery, retry: RetrySettings, now: float, ae_title: str
) -> None:
    """Give up what has waited as long for the same silent destination: its circuit let none of them try."""
    query = sa.select(deliveries).where(
        deliveries.c.destination == delivery.destination,
        deliveries.c.state == WAITING,
        deliveries.c.created_at <= now - retry.give_up_after_s,
        deliveries.c.last_status.is_(None),
    )
    for row in connection.execute(query.order_by(deliveries.c.delivery_id)).all():
        values = {"state": DEAD, "next_attempt_at": now, "finished_at": now}
        connection.execute(sa.update(deliveries).where(deliveries.c.delivery_id == row.delivery_id).values(values))
        facts = {"delivery_id": row.delivery_id, "destination": row.destination, "attempt": row.attempts}
        payload = {**facts, "comment": delivery.comment}
        audit.append(connection, event_of(connection, "delivery-dead", row, ae_title, payload), occurred_at=now)


def _attempt_facts(delivery: Delivery, number: int, state: str, next_attempt_at: float) -> dict[str, object]:
    return {
        "delivery_id": delivery.delivery_id,
        "destination": delivery.destination,
        "attempt": number,
        "sop_class_uid": delivery.sop_class_uid,
        SENT_UID: delivery.sent_sop_instance_uid,
        "sent_sha256": delivery.sent_sha256,
        "status": None if delivery.status is None else f"0x{delivery.status:04X}",
        "comment": delivery.comment,
        "next_attempt_at": audit.timestamp(next_attempt_at) if state == WAITING else None,
    }


def event_of(
    connection: sa.Connection,
    kind: str,
    row: sa.Row[tuple[object, ...]],
    ae_title: str,
    payload: dict[str, object],
) -> AuditEvent:
    """Build an event about a delivery, with the patient and the order so that auditors find it by them."""
    query = sa.select(instances.c.patient_id, instances.c.accession_number)
    query = query.where(instances.c.study_instance_uid == row.study_instance_uid).limit(1)
    study = connection.execute(query).first()
    return AuditEvent(
        kind=kind,
        study_instance_uid=row.study_instance_uid,
        sop_instance_uid=row.report_uid,
        patient_id=study.patient_id if study else "",
        accession_number=study.accession_number if study else "",
        ae_title=ae_title,
        payload=payload,
    )
