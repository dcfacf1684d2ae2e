"""Find the studies that are complete, and freeze what each revision consists of."""

import logging
from dataclasses import dataclass

import sqlalchemy as sa

from medfake_pacs import audit, crashpoints
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.heartbeat import STALE_HEARTBEAT_S
from medfake_pacs.database.tables import associations, instances, nodes, revisions, studies
from medfake_pacs.entities import AuditEvent
from medfake_pacs.study import SeriesArrival, Trigger, study_trigger
from medfake_pacs.workflows.context import Context

# A time further ahead than this comes from a clock that was set back since.
_CLOCK_TOLERANCE_S = 5.0
_FIRST_DELAY_S = 30.0
_LONGEST_DELAY_S = 3600.0
_log = logging.getLogger(__name__)


def complete_studies(context: Context, now: float) -> int:
    """Close the open revision of every study that is complete at ``now``; return how many there were."""
    with reading(context.engine) as connection:
        earliest = now - min(context.settings.completion.quiet_s, context.settings.completion.max_wait_s)
        query = sa.select(studies.c.study_instance_uid).where(
            studies.c.opened_at.is_not(None),
            sa.or_(
                studies.c.last_received_at <= earliest,
                studies.c.last_received_at > now + _CLOCK_TOLERANCE_S,
                studies.c.opened_at <= now - context.settings.completion.max_wait_s,
            ),
        )
        candidates = list(connection.execute(query.order_by(studies.c.opened_at)).scalars())
        triggers = {uid: _trigger(context, connection, uid, now) for uid in candidates}
    complete = {uid: trigger for uid, trigger in triggers.items() if trigger}
    for study_instance_uid, trigger in complete.items():
        _close_revision(context, study_instance_uid, trigger, now)
    return len(complete)


def _trigger(context: Context, connection: sa.Connection, study_instance_uid: str, now: float) -> Trigger | None:
    living = sa.select(nodes.c.node_id).where(nodes.c.heartbeat_at > now - STALE_HEARTBEAT_S)
    sender_open = sa.and_(
        associations.c.association_id.is_not(None),
        associations.c.closed_at.is_(None),
        associations.c.node_id.in_(living),
    )
    query = (
        sa.select(
            instances.c.series_instance_uid,
            sa.func.min(instances.c.received_at),
            sa.func.max(instances.c.received_at),
            sa.func.max(sa.case((sender_open, 1), else_=0)),
            sa.func.max(associations.c.closed_at),
        )
        .select_from(instances.outerjoin(associations, associations.c.association_id == instances.c.association_id))
        .where(instances.c.study_instance_uid == study_instance_uid, instances.c.revision.is_(None))
        .group_by(instances.c.series_instance_uid)
    )
    arrivals = [
        SeriesArrival(
            series_instance_uid=uid,
            first_received_at=_plausible(first, now),
            last_received_at=_plausible(last, now),
            sender_open=bool(is_open),
            senders_closed_at=None if closed_at is None else _plausible(closed_at, now),
        )
        for uid, first, last, is_open, closed_at in connection.execute(query)
    ]
    return study_trigger(arrivals, now, context.settings.completion)


def _plausible(moment: float, now: float) -> float:
    """Return ``moment``, or the distant past where it lies ahead because the clock was set back."""
    return moment if moment <= now + _CLOCK_TOLERANCE_S else 0.0


def _close_revision(context: Context, study_instance_uid: str, trigger: Trigger, now: float) -> None:
    """Make the open revision of a study a closed one, unless an image came in since it was looked at."""
    with transaction(context.engine) as connection:
        study = connection.execute(
            sa.select(studies).where(studies.c.study_instance_uid == study_instance_uid).with_for_update()
        ).one()
        quiet = _plausible(study.last_received_at, now) <= now - context.settings.completion.quiet_s
        if study.opened_at is None or not (quiet or trigger is Trigger.MAXIMUM):
            return
        revision = study.revision + 1
        mine = (instances.c.study_instance_uid == study_instance_uid, instances.c.revision.is_(None))
        connection.execute(sa.update(instances).where(*mine).values(revision=revision))
        connection.execute(
            sa.insert(revisions).values(
                study_instance_uid=study_instance_uid,
                revision=revision,
                completed_at=now,
                trigger=str(trigger),
                last_received_at=study.last_received_at,
            )
        )
        connection.execute(
            sa.update(studies)
            .where(studies.c.study_instance_uid == study_instance_uid)
            .values(revision=revision, opened_at=None)
        )
        crashpoints.reach("worker.completing-study")
    _log.info(
        "study complete",
        extra={"study_instance_uid": study_instance_uid, "revision": revision, "trigger": str(trigger)},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessable:
    """A closed revision whose every image is done, and how often assessing it was begun before."""

    study_instance_uid: str
    revision: int
    attempts: int


def postpone(context: Context, item: Assessable, now: float) -> float:
    """Have a revision whose assessment broke off assessed again later, without end; return in how many seconds.

    Zero means that it was assessed meanwhile.
    """
    delay_s = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(item.attempts, 10))
    with transaction(context.engine) as connection:
        postponed = connection.execute(
            sa.update(revisions)
            .where(
                revisions.c.study_instance_uid == item.study_instance_uid,
                revisions.c.revision == item.revision,
                revisions.c.attempts == item.attempts,
                revisions.c.state == "completed",
            )
            .values(attempts=item.attempts + 1, next_attempt_at=now + delay_s)
        )
        if postponed.rowcount != 1:
            return 0.0
        event = AuditEvent(
            kind="assessment-failed",
            study_instance_uid=item.study_instance_uid,
            payload={"revision": item.revision, "attempt": item.attempts + 1, "again_in_s": delay_s},
        )
        audit.append(connection, event)
    return delay_s


def assessable_revisions(context: Context, now: float) -> list[Assessable]:
    """Return the closed revisions that are due and whose every image is done, oldest first.

    Only the lowest open revision of a study is returned, so that reports come in the order of revisions.
    """
    unfinished = (
        sa.select(instances.c.instance_id)
        .where(
            instances.c.study_instance_uid == revisions.c.study_instance_uid,
            instances.c.revision <= revisions.c.revision,
            instances.c.state != "done",
        )
        .exists()
    )
    earlier = revisions.alias("earlier")
    predecessor = (
        sa.select(earlier.c.revision)
        .where(
            earlier.c.study_instance_uid == revisions.c.study_instance_uid,
            earlier.c.revision < revisions.c.revision,
            earlier.c.state == "completed",
        )
        .exists()
    )
    query = (
        sa.select(revisions.c.study_instance_uid, revisions.c.revision, revisions.c.attempts)
        .where(revisions.c.state == "completed", revisions.c.next_attempt_at <= now, ~unfinished, ~predecessor)
        .order_by(revisions.c.completed_at)
    )
    with reading(context.engine) as connection:
        return [
            Assessable(study_instance_uid=uid, revision=revision, attempts=attempts)
            for uid, revision, attempts in connection.execute(query)
        ]
