"""What the REST API says of a study: itself, its series, their instances, its revisions and deliveries."""

from collections.abc import Sequence

import sqlalchemy as sa

from medfake_pacs.console.errors import NotFoundError
from medfake_pacs.console.queries import studies_api_models as shown
from medfake_pacs.console.queries.study import newest_verdict
from medfake_pacs.console.queries.study_history import ReportLine, RevisionLine, history_of
from medfake_pacs.console.queries.worklist import StudyRow, study_rows
from medfake_pacs.console.services import Services
from medfake_pacs.database import reading
from medfake_pacs.database.tables import instances, reports
from medfake_pacs.entities import ImageFinding, SeriesVerdict, Verdict

_UNKNOWN_STUDY = "This node has received no image of a study with this Study Instance UID."
_UNKNOWN_SERIES = "This node has received no image of a series with this Series Instance UID in this study."


def study_summary(services: Services, study_instance_uid: str) -> StudyRow:
    """Return the study as the worklist shows it.

    Raises
    ------
    NotFoundError
        If the node has never received an image of it.
    """
    with reading(services.engine) as connection:
        rows = study_rows(connection, [study_instance_uid])
    if not rows:
        raise NotFoundError(_UNKNOWN_STUDY)
    return rows[0]


def study_detail(services: Services, study: StudyRow) -> shown.StudyDetail:
    """Return everything about a study but its single images."""
    history = history_of(services, study.study_instance_uid)
    with reading(services.engine) as connection:
        verdict, _ = newest_verdict(connection, study.study_instance_uid)
    return shown.StudyDetail(
        **summary(study).model_dump(),
        reason=verdict.reason if verdict else "",
        series=series_of(services, study.study_instance_uid, verdict),
        revisions=[_revision(line) for line in history.revisions],
        check_reports=[_report(line) for line in history.checks],
    )


def study_series(services: Services, study_instance_uid: str) -> list[shown.Series]:
    """Return a study's series with their verdicts."""
    with reading(services.engine) as connection:
        verdict, _ = newest_verdict(connection, study_instance_uid)
    return series_of(services, study_instance_uid, verdict)


def series_of(services: Services, study_instance_uid: str, verdict: Verdict | None) -> list[shown.Series]:
    """Return a study's series in the order in which they came."""
    query = (
        sa.select(
            instances.c.series_instance_uid.label("uid"),
            sa.func.min(instances.c.modality).label("modality"),
            sa.func.min(instances.c.series_description).label("description"),
            sa.func.count().label("images"),
        )
        .where(instances.c.study_instance_uid == study_instance_uid)
        .group_by(instances.c.series_instance_uid)
        .order_by(sa.func.min(instances.c.instance_id))
    )
    known = {each.series_instance_uid: each for each in verdict.series} if verdict else {}
    with reading(services.engine) as connection:
        return [_series(row, known.get(row.uid)) for row in connection.execute(query)]


def series_instances(
    services: Services, study_instance_uid: str, series_instance_uid: str, after: int, limit: int
) -> shown.InstanceList:
    """Return the objects of a series in the order in which they came, those after the number ``after``.

    Raises
    ------
    NotFoundError
        If the node has received none of such a series in this study.
    """
    query = sa.select(instances).where(
        instances.c.study_instance_uid == study_instance_uid, instances.c.series_instance_uid == series_instance_uid
    )
    page = query.where(instances.c.instance_id > after).order_by(instances.c.instance_id).limit(limit + 1)
    with reading(services.engine) as connection:
        if connection.execute(query.limit(1)).first() is None:
            raise NotFoundError(_UNKNOWN_SERIES)
        rows = connection.execute(page).all()
        verdict, _ = newest_verdict(connection, study_instance_uid)
    findings = {
        finding.instance_id: finding
        for series in (verdict.series if verdict else ())
        if series.series_instance_uid == series_instance_uid
        for finding in series.findings
    }
    return shown.InstanceList(
        instances=[_instance(row, findings.get(row.instance_id)) for row in rows[:limit]],
        next_after=rows[limit - 1].instance_id if len(rows) > limit else None,
    )


def verdict_report_uid(services: Services, study_instance_uid: str, revision: int | None) -> str:
    """Return the SOP Instance UID of the report on a revision; None: of the newest report.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    query = sa.select(reports.c.sop_instance_uid).where(
        reports.c.study_instance_uid == study_instance_uid, reports.c.kind == "verdict"
    )
    if revision is not None:
        query = query.where(reports.c.revision == revision)
    with reading(services.engine) as connection:
        uid = connection.execute(query.order_by(reports.c.revision.desc()).limit(1)).scalar_one_or_none()
    if uid is None:
        which = "no report yet" if revision is None else f"no report on revision {revision}"
        raise NotFoundError(f"The study has {which}.")
    return str(uid)


def summary(study: StudyRow) -> shown.Study:
    """Return a row of the worklist as the API shows it."""
    return shown.Study(
        study_instance_uid=study.study_instance_uid,
        patient_id=study.patient_id,
        accession_number=study.accession_number,
        modality=study.modality,
        study_description=study.study_description,
        ae_title=study.calling_ae_title,
        received_at=study.first_received_at,
        last_received_at=study.last_received_at,
        verdict=study.verdict or shown.IN_PROGRESS,
        probability=study.probability,
        revision=study.verdict_revision,
        verdict_at=study.verdict_at,
        reopened=study.reopened,
        failed_attempts=study.attempts,
        model=study.model_name,
        model_sha256=study.model_sha256,
        images_total=study.images_total,
        images_scored=study.images_scored,
        images_received=study.images_received,
        deliveries=shown.DeliveryCounts(**study.deliveries),
    )


def _series(row: sa.Row[tuple[object, ...]], verdict: SeriesVerdict | None) -> shown.Series:
    common = {
        "series_instance_uid": row.uid,
        "modality": row.modality,
        "series_description": row.description,
        "images_received": row.images,
    }
    if verdict is None:
        return shown.Series(**common, verdict=shown.IN_PROGRESS)
    return shown.Series(
        **common,
        verdict=str(verdict.label),
        probability=verdict.probability,
        reason=verdict.reason,
        route=verdict.route,
        model=verdict.model.name if verdict.model else "",
        model_sha256=verdict.model.sha256 if verdict.model else "",
        images_total=verdict.images_total,
        images_scored=verdict.images_scored,
    )


def _instance(row: sa.Row[tuple[object, ...]], finding: ImageFinding | None) -> shown.Instance:
    common = {
        "sop_instance_uid": row.sop_instance_uid,
        "sop_class_uid": row.sop_class_uid,
        "instance_id": row.instance_id,
        "instance_number": row.instance_number,
        "number_of_frames": row.number_of_frames,
        "received_at": row.received_at,
        "content_sha256": row.content_sha256,
    }
    if finding is None:
        return shown.Instance(**common, verdict=shown.IN_PROGRESS)
    return shown.Instance(
        **common,
        verdict=str(finding.label),
        probability=finding.probability,
        score=finding.score,
        frame_numbers=finding.frame_numbers,
        regions=tuple(
            shown.Region(
                frame=frame, x=region.x, y=region.y, width=region.width, height=region.height, score=region.score
            )
            for frame, region in finding.regions
        ),
        reason=finding.reason,
        conflict=finding.conflict,
        declared_synthetic=finding.declared_synthetic,
    )


def _revision(line: RevisionLine) -> shown.Revision:
    return shown.Revision(
        revision=line.revision,
        completed_at=line.completed_at,
        trigger=line.trigger,
        verdict=line.verdict or shown.IN_PROGRESS,
        probability=line.probability,
        images_total=line.images_total or 0,
        images_scored=line.images_scored or 0,
        reason=line.reason,
        report=_report(line.report) if line.report else None,
    )


def _report(line: ReportLine) -> shown.Report:
    return shown.Report(
        sop_instance_uid=line.sop_instance_uid,
        created_at=line.created_at,
        sha256=line.sha256,
        deliveries=[
            shown.Delivery(
                destination=each.destination,
                state=each.state,
                attempts=each.attempts,
                finished_at=each.finished_at,
                last_status=each.last_status,
                last_comment=each.last_comment,
            )
            for each in line.deliveries
        ],
    )


def summaries(rows: Sequence[StudyRow]) -> list[shown.Study]:
    """Return rows of the worklist as the API shows them."""
    return [summary(row) for row in rows]
