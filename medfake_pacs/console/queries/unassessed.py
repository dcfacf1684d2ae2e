"""Studies that were received and have no verdict, though they should have one by now; and why."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from medfake_pacs.config import CompletionSettings
from medfake_pacs.database.tables import instances, revisions, studies

# What assessing may take, beyond the wait for the last image.
_ASSESSING_S = 300.0
_LISTED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Unassessed:
    """One study without a verdict. Times are seconds since the epoch."""

    study_instance_uid: str
    patient_id: str
    modality: str
    calling_ae_title: str
    first_received_at: float
    why: str


def overdue_after_s(completion: CompletionSettings) -> float:
    """Return after how many seconds a study without a verdict is listed."""
    return completion.max_wait_s + _ASSESSING_S


def unassessed(connection: sa.Connection, completion: CompletionSettings, now: float) -> tuple[Unassessed, ...]:
    """Return the studies that have waited longest, fifty at most."""
    columns = studies.c
    query = (
        sa.select(studies)
        .where(columns.verdict == "", columns.first_received_at < now - overdue_after_s(completion))
        .order_by(columns.first_received_at)
        .limit(_LISTED)
    )
    rows = connection.execute(query).all()
    uids = [row.study_instance_uid for row in rows]
    assessing, waiting = _assessing(connection, uids), _waiting(connection, uids)
    return tuple(
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


def _why(study: "sa.Row[tuple[object, ...]]", revision: "sa.Row[tuple[object, ...]] | None", waiting: int) -> str:
    if revision is not None and revision.attempts:
        times = "once" if revision.attempts == 1 else f"{revision.attempts} times"
        return f"assessing it failed {times}; it is tried again (the log has the reason as assessment-failed)"
    if revision is not None and waiting:
        return f"being scored: {waiting} images wait"
    if revision is not None:
        return "complete; its verdict is due"
    if study.opened_at is not None:
        return "still open: the node waits for more images, or no worker closes it"
    return "no image of it was kept"


def _assessing(connection: sa.Connection, uids: Sequence[str]) -> dict[str, "sa.Row[tuple[object, ...]]"]:
    """Return the newest revision of each study that isn't assessed."""
    columns = revisions.c
    query = sa.select(columns.study_instance_uid, columns.revision, columns.attempts)
    query = query.where(columns.study_instance_uid.in_(uids), columns.state != "assessed").order_by(columns.revision)
    return {row.study_instance_uid: row for row in connection.execute(query)}


def _waiting(connection: sa.Connection, uids: Sequence[str]) -> dict[str, int]:
    columns = instances.c
    query = sa.select(columns.study_instance_uid, sa.func.count()).group_by(columns.study_instance_uid)
    query = query.where(columns.study_instance_uid.in_(uids), columns.state != "done", columns.revision.is_not(None))
    return {row[0]: row[1] for row in connection.execute(query)}
