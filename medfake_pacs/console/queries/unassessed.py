"""Studies that were received and have no verdict, though they should have one by now; and why."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from medfake_pacs.config import CompletionSettings
from medfake_pacs.console.queries.reopened import reopened_studies, unassessed_revisions, waiting_since
from medfake_pacs.database.tables import instances, studies
from medfake_pacs.wording import failed_attempts

# What assessing may take, beyond the wait for the last image.
_ASSESSING_S = 300.0
_LISTED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Unassessed:
    """One study without a verdict, or without the one on its newest revision. Times are seconds since the epoch."""

    study_instance_uid: str
    patient_id: str
    modality: str
    calling_ae_title: str
    first_received_at: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """Those that have waited longest, fifty at most; ``more`` tells whether there are others."""

    studies: tuple[Unassessed, ...]
    more: bool


def overdue_after_s(completion: CompletionSettings) -> float:
    """Return after how many seconds a study without a verdict is listed."""
    return completion.max_wait_s + _ASSESSING_S


def unassessed(connection: sa.Connection, completion: CompletionSettings, now: float) -> Overdue:
    """Return the studies that have waited longest."""
    before = now - overdue_after_s(completion)
    some = reopened_studies()
    first = sa.select(studies.c.study_instance_uid.label("uid"), studies.c.first_received_at.label("since")).where(
        studies.c.verdict == "", studies.c.first_received_at < before
    )
    newer = sa.select(some.c.study_instance_uid.label("uid"), waiting_since(some.c).label("since"))
    newer = newer.where(waiting_since(some.c) < before)
    parts = [each.order_by(sa.text("since")).limit(_LISTED + 1).subquery() for each in (first, newer)]
    both = sa.union_all(*(sa.select(each) for each in parts)).subquery()
    query = (
        sa.select(studies, both.c.since)
        .join(both, both.c.uid == studies.c.study_instance_uid)
        .order_by(both.c.since, both.c.uid)
        .limit(_LISTED + 1)
    )
    found = connection.execute(query).all()
    rows = found[:_LISTED]
    uids = [row.study_instance_uid for row in rows]
    assessing, waiting = unassessed_revisions(connection, uids), _waiting(connection, uids)
    listed = tuple(
        Unassessed(
            study_instance_uid=row.study_instance_uid,
            patient_id=row.patient_id,
            modality=row.modality,
            calling_ae_title=row.calling_ae_title,
            first_received_at=row.first_received_at,
            why=_why(row, assessing.get(row.study_instance_uid), waiting.get(row.study_instance_uid, 0)),
        )
        for row in rows
    )
    return Overdue(studies=listed, more=len(found) > _LISTED)


def _why(study: "sa.Row[tuple[object, ...]]", revision: "sa.Row[tuple[object, ...]] | None", waiting: int) -> str:
    older = f"the verdict that it has is on an older revision ({study.verdict}); " if study.verdict else ""
    if revision is not None and revision.attempts:
        failed = failed_attempts(revision.attempts, revision.next_attempt_at)
        return f"{older}{failed} (the log has the reason as assessment-failed)"
    if revision is not None and waiting:
        return f"{older}being scored: {waiting} images wait"
    if revision is not None:
        return f"{older}complete; its verdict is due"
    if study.opened_at is not None:
        return f"{older}still open: the node waits for more images, or no worker closes it"
    return "no image of it was kept"


def _waiting(connection: sa.Connection, uids: Sequence[str]) -> dict[str, int]:
    columns = instances.c
    query = sa.select(columns.study_instance_uid, sa.func.count()).group_by(columns.study_instance_uid)
    query = query.where(columns.study_instance_uid.in_(uids), columns.state != "done", columns.revision.is_not(None))
    return {row[0]: row[1] for row in connection.execute(query)}
