"""The queue of notifications: who is told of which verdict, when it is tried next, and what became of it.

A notification is ``waiting`` until it is ``sent`` or, after ``give_up_after_s``, ``dead``; an administrator
puts a dead one back. Every function works in the caller's transaction. Those that write to the log take their
turn at it first, so that two of them never wait for each other's rows crosswise.
"""

import random as random_module
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.config import NotificationSettings, RetrySettings
from medfake_pacs.database.console_tables import notifications
from medfake_pacs.database.engine import insert_into
from medfake_pacs.database.tables import studies, verdicts
from medfake_pacs.entities import AuditEvent, Verdict
from medfake_pacs.notification.outcome import Outcome
from medfake_pacs.retrying import next_attempt

WAITING, SENT, DEAD = "waiting", "sent", "dead"
STATES = (WAITING, SENT, DEAD)
_COMMENT_LENGTH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class DueNotification:
    """A notification whose time has come; ``attempts`` were begun before."""

    notification_id: int
    target: str
    study_instance_uid: str
    revision: int
    attempts: int


def enqueue(
    connection: sa.Connection, verdict: Verdict, targets: Sequence[NotificationSettings], now: float
) -> list[str]:
    """Queue a notification for each target that wants to know of such a verdict; return their names.

    A target that was told of the study is told again only when the verdict isn't the one before.
    """
    interested = [target.name for target in targets if str(verdict.label) in target.on]
    if interested and _verdict_before(connection, verdict) == str(verdict.label):
        told = sa.select(notifications.c.target).where(
            notifications.c.study_instance_uid == verdict.study_instance_uid,
            notifications.c.revision < verdict.revision,
        )
        known = set(connection.execute(told).scalars())
        interested = [name for name in interested if name not in known]
    for name in interested:
        row = {
            "target": name,
            "study_instance_uid": verdict.study_instance_uid,
            "revision": verdict.revision,
            "created_at": now,
            "queued_at": now,
            "next_attempt_at": now,
        }
        connection.execute(insert_into(connection, notifications).values(row).on_conflict_do_nothing())
    return interested


def _verdict_before(connection: sa.Connection, verdict: Verdict) -> str | None:
    query = sa.select(verdicts.c.verdict).where(
        verdicts.c.study_instance_uid == verdict.study_instance_uid,
        verdicts.c.scope == "study",
        verdicts.c.revision < verdict.revision,
    )
    return connection.execute(query.order_by(verdicts.c.revision.desc()).limit(1)).scalar_one_or_none()


def due(connection: sa.Connection, target: str, now: float, limit: int) -> list[DueNotification]:
    """Return at most ``limit`` of a target's notifications whose time has come, the longest waiting first."""
    columns = notifications.c
    query = sa.select(
        columns.notification_id, columns.target, columns.study_instance_uid, columns.revision, columns.attempts
    ).where(columns.state == WAITING, columns.next_attempt_at <= now, columns.target == target)
    query = query.order_by(columns.next_attempt_at, columns.notification_id).limit(limit)
    return [DueNotification(**row._mapping) for row in connection.execute(query)]


def claim(connection: sa.Connection, item: DueNotification, until: float) -> bool:
    """Take a due notification in hand until ``until``, as its next attempt; False if another process was first."""
    claimed = connection.execute(
        sa.update(notifications)
        .where(
            notifications.c.notification_id == item.notification_id,
            notifications.c.state == WAITING,
            notifications.c.attempts == item.attempts,
        )
        .values(attempts=item.attempts + 1, next_attempt_at=until)
    )
    return claimed.rowcount == 1


def record(
    connection: sa.Connection,
    item: DueNotification,
    outcome: Outcome,
    retry: RetrySettings,
    now: float,
    random: Callable[[], float] = random_module.random,
) -> str:
    """Record the outcome of a claimed attempt, and the facts for the log; return the new state, empty if none.

    Where the notification was taken in hand again meanwhile, nothing is changed.
    """
    audit.take_turn(connection)
    number = item.attempts + 1
    mine = notifications.c.notification_id == item.notification_id
    row = connection.execute(sa.select(notifications).where(mine).with_for_update()).one_or_none()
    if row is None or row.state != WAITING or row.attempts != number:
        return ""
    state, next_attempt_at = _outcome(row, outcome, retry, now, random)
    values = {
        "state": state,
        "next_attempt_at": next_attempt_at,
        "finished_at": None if state == WAITING else now,
        "last_status": outcome.status,
        "last_comment": audit.storable(outcome.comment)[:_COMMENT_LENGTH],
    }
    connection.execute(sa.update(notifications).where(mine).values(values))
    if outcome.everyone and state == WAITING:
        _hold_others(connection, item, now, next_attempt_at)
    facts = {
        "attempt": number,
        "status": outcome.status,
        "comment": outcome.comment,
        "next_attempt_at": audit.timestamp(next_attempt_at) if state == WAITING else None,
    }
    kind = "notification-sent" if outcome.succeeded else "notification-failed"
    audit.append(connection, _event(connection, kind, row, facts), occurred_at=now)
    if state == DEAD:
        audit.append(connection, _event(connection, "notification-dead", row, facts), occurred_at=now)
    return state


def _outcome(
    row: sa.Row[Any], outcome: Outcome, retry: RetrySettings, now: float, random: Callable[[], float]
) -> tuple[str, float]:
    """Return the new state and when to try again."""
    if outcome.succeeded:
        return SENT, now
    if now - row.queued_at >= retry.give_up_after_s:
        return DEAD, now
    delay_s = next_attempt(row.attempts - row.attempts_before, retry, random)
    return WAITING, now + max(delay_s, min(outcome.retry_after_s, retry.max_delay_s))


def retry(
    connection: sa.Connection,
    ids: Iterable[int] | None,
    now: float,
    *,
    who: str = "",
    host: str = "",
    via: str = "command line",
    target: str = "",
) -> list[int]:
    """Have notifications sent at once: every dead one, or those that ``ids`` name, dead or waiting.

    Returns which they were. Their time to give up starts anew at ``now``. ``who``, ``host`` and ``via`` go to the log.
    """
    audit.take_turn(connection)
    query = sa.select(notifications).order_by(notifications.c.notification_id)
    if ids is None:
        query = query.where(notifications.c.state == DEAD)
    else:
        query = query.where(notifications.c.state.in_((DEAD, WAITING)), notifications.c.notification_id.in_(list(ids)))
    if target:
        query = query.where(notifications.c.target == target)
    rows = connection.execute(query.with_for_update()).all()
    for row in rows:
        connection.execute(
            sa.update(notifications)
            .where(notifications.c.notification_id == row.notification_id)
            .values(state=WAITING, queued_at=now, next_attempt_at=now, finished_at=None, attempts_before=row.attempts)
        )
    for row in rows:
        event = _event(connection, "notification-retried", row, {"who": who, "host": host, "via": via})
        audit.append(connection, event, occurred_at=now)
    return [row.notification_id for row in rows]


def give_up_unknown(connection: sa.Connection, known: Sequence[str], now: float) -> int:
    """Make dead letters of what waits for targets that aren't configured any more; return how many."""
    audit.take_turn(connection)
    query = sa.select(notifications).where(notifications.c.state == WAITING, notifications.c.target.not_in(known))
    rows = connection.execute(query).all()
    for row in rows:
        comment = f"no notification is named {row.target!r} any more"
        connection.execute(
            sa.update(notifications)
            .where(notifications.c.notification_id == row.notification_id)
            .values(state=DEAD, finished_at=now, last_comment=comment)
        )
        facts = {"attempt": row.attempts, "comment": comment}
        audit.append(connection, _event(connection, "notification-dead", row, facts), occurred_at=now)
    return len(rows)


def _hold_others(connection: sa.Connection, item: DueNotification, now: float, until: float) -> None:
    """Put off what is due for the same target: it is asked once for each delay, not once for each notification."""
    connection.execute(
        sa.update(notifications)
        .where(
            notifications.c.target == item.target,
            notifications.c.state == WAITING,
            notifications.c.next_attempt_at <= now,
        )
        .values(next_attempt_at=until)
    )


def _event(connection: sa.Connection, kind: str, row: sa.Row[Any], facts: dict[str, object]) -> AuditEvent:
    """Build an event about a notification, with the patient and the order so that auditors find it by them."""
    query = sa.select(studies.c.patient_id, studies.c.accession_number)
    study = connection.execute(query.where(studies.c.study_instance_uid == row.study_instance_uid)).first()
    told = {"notification_id": row.notification_id, "target": row.target, "revision": row.revision}
    return AuditEvent(
        kind=kind,
        study_instance_uid=row.study_instance_uid,
        patient_id=study.patient_id if study else "",
        accession_number=study.accession_number if study else "",
        payload=told | facts,
    )
