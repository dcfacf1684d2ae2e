"""Turn the reviews that radiologists recorded into reports, and queue their deliveries; each step may run again."""

import logging
import random
import time
from collections.abc import Sequence

import sqlalchemy as sa

from medfake_pacs import audit, crashpoints
from medfake_pacs.config import RetrySettings
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.console_tables import reviews
from medfake_pacs.database.tables import deliveries, instances, reports, revisions
from medfake_pacs.delivery import enqueue
from medfake_pacs.entities import AuditEvent, Report
from medfake_pacs.errors import MedfakeError, ReportError
from medfake_pacs.report import Review, build_review
from medfake_pacs.retrying import next_attempt
from medfake_pacs.workflows.assessment import recorded_verdict
from medfake_pacs.workflows.context import Context
from medfake_pacs.workflows.reporting import output_dir, report_of, report_settings
from medfake_pacs.workflows.rows import report_to_row

KIND = "review"
_AT_A_TIME = 50
_RETRY = RetrySettings(first_delay_s=30.0, max_delay_s=900.0)
_log = logging.getLogger(__name__)


def report_reviews(context: Context) -> None:
    """Write the report of every recorded review and queue it for the destinations of the report that it is about.

    A review of a verdict that isn't reported yet waits for that; one of a verdict that is reported to nobody has no
    report. One that can't be written is tried again after a growing delay, without end, and doesn't keep the others
    waiting.
    """
    for row in _recorded(context, time.time()):
        try:
            _report(context, row)
        except (MedfakeError, OSError, sa.exc.SQLAlchemyError) as error:
            _postpone(context, row, str(error) if isinstance(error, MedfakeError) else type(error).__name__)


def _postpone(context: Context, row: sa.Row[tuple[object, ...]], reason: str) -> None:
    """Have a review tried again later; the log keeps the first failure."""
    attempt = row.attempts + 1
    delay_s = next_attempt(attempt, _RETRY, random.random)
    _log.error("a review can't be reported",
               extra={"review_id": row.review_id, "reason": reason, "again_in_s": round(delay_s, 1)})  # fmt: skip
    mine = (reviews.c.review_id == row.review_id, reviews.c.state == "recorded", reviews.c.attempts == row.attempts)
    values = {"attempts": attempt, "next_attempt_at": time.time() + delay_s, "problem": reason}
    with transaction(context.engine) as connection:
        if connection.execute(sa.update(reviews).where(*mine).values(values)).rowcount != 1 or attempt > 1:
            return
        payload = {"review_id": row.review_id, "revision": row.revision, "reason": reason}
        audit.append(connection, _event(connection, "review-report-failed", row, payload))


def _recorded(context: Context, now: float) -> Sequence[sa.Row[tuple[object, ...]]]:
    """Return the reviews that are due and whose revision's own report is made, or decided against.

    Those that were never tried come first, then by when they are due.
    """
    assessed = sa.and_(
        revisions.c.study_instance_uid == reviews.c.study_instance_uid,
        revisions.c.revision == reviews.c.revision,
        revisions.c.state == "assessed",
    )
    query = (
        sa.select(reviews)
        .join(revisions, assessed)
        .where(reviews.c.state == "recorded", reviews.c.next_attempt_at <= now)
        .order_by(reviews.c.next_attempt_at, reviews.c.review_id)
        .limit(_AT_A_TIME)
    )
    with reading(context.engine) as connection:
        return connection.execute(query).all()


def _report(context: Context, row: sa.Row[tuple[object, ...]]) -> None:
    with reading(context.engine) as connection:
        reviewed = _reviewed_report(context, connection, row)
        destinations = _destinations(context, connection, reviewed) if reviewed else []
        number = _number(connection, row)
    report = None
    if reviewed is not None:
        report = _build(context, row, reviewed, number)
        crashpoints.reach("worker.review-written")
    _record(context, row, report, reviewed, destinations)
    crashpoints.reach("worker.review-recorded")


def _reviewed_report(context: Context, connection: sa.Connection, row: sa.Row[tuple[object, ...]]) -> Report | None:
    """Return the report of the verdict that a review is about; None if there is none."""
    query = sa.select(reports).where(
        reports.c.study_instance_uid == row.study_instance_uid,
        reports.c.kind == "verdict",
        reports.c.revision == row.revision,
    )
    found = connection.execute(query).one_or_none()
    return report_of(context, found) if found else None


def _destinations(context: Context, connection: sa.Connection, reviewed: Report) -> list[str]:
    """Return where the reviewed report went, as far as there are destinations of these names still."""
    known = {item.name for item in context.settings.destinations}
    query = sa.select(deliveries.c.destination).where(deliveries.c.report_uid == reviewed.sop_instance_uid)
    return sorted(known.intersection(connection.execute(query).scalars()))


def _number(connection: sa.Connection, row: sa.Row[tuple[object, ...]]) -> int:
    """Return the review's number within its study: reviews are never deleted, so that it never changes."""
    query = sa.select(sa.func.count()).where(
        reviews.c.study_instance_uid == row.study_instance_uid, reviews.c.review_id <= row.review_id
    )
    return int(connection.execute(query).scalar_one())


def _build(context: Context, row: sa.Row[tuple[object, ...]], reviewed: Report, number: int) -> Report:
    verdict = recorded_verdict(context, row.study_instance_uid, row.revision)
    if verdict is None:
        raise ReportError(f"revision {row.revision} of study {row.study_instance_uid} has no verdict")
    review = Review(
        number=number,
        reviewer=row.display_name or row.user_name,
        login=row.user_name,
        opinion=row.opinion,
        comment=row.comment,
        created_at=row.created_at,
        verdict=verdict,
        reviewed=reviewed,
    )
    return build_review(review, report_settings(context), output_dir(context))


def _record(
    context: Context,
    row: sa.Row[tuple[object, ...]],
    report: Report | None,
    reviewed: Report | None,
    destinations: Sequence[str],
) -> None:
    """Record the report, its deliveries and the log's event with the review's new state, unless another has."""
    now = time.time()
    mine = (reviews.c.review_id == row.review_id, reviews.c.state == "recorded")
    done = {"state": "reported", "problem": "",
            "report_uid": report.sop_instance_uid if report else None}  # fmt: skip
    with transaction(context.engine) as connection:
        if connection.execute(sa.update(reviews).where(*mine).values(done)).rowcount != 1:
            return
        if report is None or reviewed is None:
            return
        row_of_report = report_to_row(report, context.settings.spool_dir, now, KIND)
        connection.execute(sa.insert(reports).values(row_of_report))
        enqueue(connection, report, destinations, now)
        payload = {
            "review_id": row.review_id,
            "number": report.revision,
            "revision": row.revision,
            "opinion": row.opinion,
            "reviewed_report": reviewed.sop_instance_uid,
            "sha256": report.sha256,
            "destinations": list(destinations),
        }
        audit.append(connection, _event(connection, "report-created", row, payload, report.sop_instance_uid))


def _event(
    connection: sa.Connection,
    kind: str,
    row: sa.Row[tuple[object, ...]],
    payload: dict[str, object],
    report_uid: str = "",
) -> AuditEvent:
    query = sa.select(instances.c.patient_id, instances.c.accession_number)
    query = query.where(instances.c.study_instance_uid == row.study_instance_uid).limit(1)
    first = connection.execute(query).first()
    return AuditEvent(
        kind=kind,
        study_instance_uid=row.study_instance_uid,
        sop_instance_uid=report_uid,
        patient_id=first.patient_id if first else "",
        accession_number=first.accession_number if first else "",
        payload=payload,
    )
