"""Turn the scores of a complete revision into its verdict, and record that; the step may run again."""

import time
from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from pydantic import TypeAdapter

from medfake_pacs import audit, crashpoints
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.tables import instances, scores, verdicts
from medfake_pacs.entities import AuditEvent, Score, SeriesVerdict, Verdict, VerdictLabel
from medfake_pacs.errors import AssessmentError
from medfake_pacs.verdict import AssessedImage, assess_series, assess_study
from medfake_pacs.workflows import notifying, rescoring, worklist
from medfake_pacs.workflows.context import Context
from medfake_pacs.workflows.rows import attributes_of, pages, score_from_row
from medfake_pacs.workflows.scoring import series_routing


def assess_revision(context: Context, study_instance_uid: str, revision: int) -> bool:
    """Record the verdict on a revision, unless that was done before.

    False means that there is none yet: images that another model had scored were put back in line.
    """
    if recorded_verdict(context, study_instance_uid, revision) is not None:
        return True
    if rescoring.put_back(context, study_instance_uid, revision):
        return False
    verdict = verdict_on(context, study_instance_uid, revision)
    crashpoints.reach("worker.before-verdict")
    with transaction(context.engine) as connection:
        known = sa.select(verdicts.c.verdict).where(
            verdicts.c.study_instance_uid == study_instance_uid,
            verdicts.c.revision == revision,
            verdicts.c.scope == "study",
        )
        if connection.execute(known).first() is None:
            now = time.time()
            connection.execute(sa.insert(verdicts), _verdict_rows(verdict, now))
            worklist.record_verdict(connection, verdict, now)
            notifying.enqueue(connection, context.settings, verdict, now)
            rows = rows_of(connection, study_instance_uid, revision)
            for event in _verdict_events(verdict, rows):
                audit.append(connection, event)
        crashpoints.reach("worker.verdict-in-transaction")
    crashpoints.reach("worker.after-verdict")
    return True


def recorded_verdict(context: Context, study_instance_uid: str, revision: int) -> Verdict | None:
    """Return the verdict on a revision as it was recorded; None if it wasn't yet."""
    with reading(context.engine) as connection:
        detail = connection.execute(
            sa.select(verdicts.c.detail).where(
                verdicts.c.study_instance_uid == study_instance_uid,
                verdicts.c.revision == revision,
                verdicts.c.scope == "study",
            )
        ).scalar_one_or_none()
    return None if detail is None else TypeAdapter(Verdict).validate_python(detail)


def verdict_on(context: Context, study_instance_uid: str, revision: int) -> Verdict:
    """Return the verdict on a revision from the recorded scores: the same rows always give the same.

    Raises
    ------
    AssessmentError
        If images of one series have scores of several models.
    """
    with reading(context.engine) as connection:
        rows = rows_of(connection, study_instance_uid, revision)
        namesakes = _namesakes(connection, rows)
        found = _scores(connection, rows)
        by_series: dict[str, list[sa.Row]] = {}
        for row in rows:
            by_series.setdefault(row.series_instance_uid, []).append(row)
        routed = {uid: series_routing(context, connection, members[0]).model for uid, members in by_series.items()}
    series = [_series_verdict(context, members, namesakes, found, routed[uid]) for uid, members in by_series.items()]
    return assess_study(study_instance_uid, revision, series)


def rows_of(connection: sa.Connection, study_instance_uid: str, revision: int) -> Sequence[sa.Row]:
    """Return every image that a revision of a study consists of, in the order in which they came."""
    query = sa.select(instances).where(
        instances.c.study_instance_uid == study_instance_uid, instances.c.revision <= revision
    )
    return connection.execute(query.order_by(instances.c.instance_id)).all()


def _namesakes(connection: sa.Connection, rows: Sequence[sa.Row]) -> dict[str, list[sa.Row]]:
    """Return every object, of any study, that has the SOP Instance UID of one of the rows, by that UID.

    Objects of the same study that came after the revision was closed don't count yet.
    """
    found: dict[str, list[sa.Row]] = {row.sop_instance_uid: [] for row in rows}
    mine = {row.instance_id for row in rows}
    columns = (
        instances.c.instance_id,
        instances.c.sop_instance_uid,
        instances.c.study_instance_uid,
        instances.c.pixel_sha256,
    )
    for uids in pages(found):
        query = sa.select(*columns).where(instances.c.sop_instance_uid.in_(uids))
        for row in connection.execute(query.order_by(instances.c.instance_id)):
            if row.instance_id in mine or row.study_instance_uid != rows[0].study_instance_uid:
                found[row.sop_instance_uid].append(row)
    return found


def _scores(connection: sa.Connection, rows: Sequence[sa.Row]) -> dict[tuple[str, str], Score]:
    """Return the scores of the rows' pixels, by (pixel digest, model digest)."""
    found = {}
    for digests in pages(row.pixel_sha256 for row in rows if row.pixel_sha256):
        query = sa.select(scores).where(scores.c.pixel_sha256.in_(digests))
        for row in connection.execute(query):
            found[row.pixel_sha256, row.model_sha256] = score_from_row(row)
    return found


def _series_verdict(
    context: Context,
    members: Sequence[sa.Row],
    namesakes: Mapping[str, Sequence[sa.Row]],
    found: Mapping[tuple[str, str], Score],
    model: str,
) -> SeriesVerdict:
    images, models = [], set()
    for row in members:
        score = None if row.not_assessed_reason else found.get((row.pixel_sha256, row.model_sha256))
        if score is not None:
            models.add(score.model_sha256)
        conflict, pixels_differ = _conflict(row, namesakes[row.sop_instance_uid])
        images.append(
            AssessedImage(
                instance_id=row.instance_id,
                attributes=attributes_of(row),
                pixel_sha256=row.pixel_sha256 or "",
                score=score,
                reason=row.not_assessed_reason or "",
                conflict=conflict,
                conflicting_pixels=pixels_differ,
            )
        )
    # Not that of an image without a score: it may be a model's that was replaced, with thresholds of its own.
    if len(models) > 1:
        raise AssessmentError(f"series {members[0].series_instance_uid} has scores of several models")
    profile = context.models.profile(models.pop(), model) if models else None
    return assess_series(images, profile, route=next((row.route for row in members if row.route), ""))


def _conflict(row: sa.Row, namesakes: Sequence[sa.Row]) -> tuple[str, bool]:
    """Say how an image contradicts others with its SOP Instance UID, and whether their pixels differ."""
    others = [other for other in namesakes if other.instance_id != row.instance_id]
    if not others:
        return "", False
    if all(other.pixel_sha256 and other.pixel_sha256 == row.pixel_sha256 for other in others):
        return "objects with this SOP Instance UID differ in their header or encoding; the pixels are the same", False
    if all(other.pixel_sha256 and row.pixel_sha256 for other in others):
        return "objects with this SOP Instance UID differ in their pixels", True
    return "objects with this SOP Instance UID differ; their pixels can't be compared", True


def _verdict_rows(verdict: Verdict, now: float) -> list[dict[str, object]]:
    common = {"study_instance_uid": verdict.study_instance_uid, "revision": verdict.revision, "created_at": now}
    rows = [
        common
        | {
            "scope": "series",
            "scope_uid": series.series_instance_uid,
            "verdict": str(series.label),
            "probability": series.probability,
            "model_name": series.model.name if series.model else "",
            "model_sha256": series.model.sha256 if series.model else "",
            "route": series.route,
            "images_total": series.images_total,
            "images_scored": series.images_scored,
            "reason": series.reason,
        }
        for series in verdict.series
    ]
    models = sorted({series.model.sha256 for series in verdict.series if series.model})
    study = {
        "scope": "study",
        "scope_uid": verdict.study_instance_uid,
        "verdict": str(verdict.label),
        "probability": verdict.probability,
        "model_name": "",
        "model_sha256": models[0] if len(models) == 1 else "",
        "route": "",
        "images_total": verdict.images_total,
        "images_scored": verdict.images_scored,
        "reason": verdict.reason,
        "detail": TypeAdapter(Verdict).dump_python(verdict, mode="json"),
    }
    return [*(row | {"detail": None} for row in rows), common | study]


def _verdict_events(verdict: Verdict, rows: Sequence[sa.Row]) -> list[AuditEvent]:
    first = rows[0]
    who = {
        "patient_id": first.patient_id,
        "accession_number": first.accession_number,
        "ae_title": first.calling_ae_title,
        "study_instance_uid": verdict.study_instance_uid,
    }
    events = [_series_event(verdict, series, who) for series in verdict.series]
    models = sorted({series.model.sha256 for series in verdict.series if series.model})
    study = AuditEvent(
        kind="study-verdict",
        verdict=str(verdict.label),
        model_sha256=models[0] if len(models) == 1 else "",
        payload={
            "revision": verdict.revision,
            "probability": verdict.probability,
            "images_total": verdict.images_total,
            "images_scored": verdict.images_scored,
            "reason": verdict.reason,
            "series": [series.series_instance_uid for series in verdict.series],
            "models": models,
        },
        **who,
    )
    return [*events, study]


def _series_event(verdict: Verdict, series: SeriesVerdict, who: dict[str, str]) -> AuditEvent:
    notable = [
        {
            "sop_instance_uid": finding.attributes.sop_instance_uid,
            "instance_id": finding.instance_id,
            "verdict": str(finding.label),
            "probability": finding.probability,
            "reason": finding.reason,
            "conflict": finding.conflict,
            "declared_synthetic": finding.declared_synthetic,
        }
        for finding in series.findings
        if finding.label is not VerdictLabel.REAL or finding.conflict or finding.declared_synthetic
    ]
    return AuditEvent(
        kind="series-verdict",
        series_instance_uid=series.series_instance_uid,
        verdict=str(series.label),
        model_sha256=series.model.sha256 if series.model else "",
        payload={
            "revision": verdict.revision,
            "probability": series.probability,
            "images_total": series.images_total,
            "images_scored": series.images_scored,
            "model": series.model.name if series.model else "",
            "parameters": dict(series.model.parameters) if series.model else {},
            "route": series.route,
            "reason": series.reason,
            "findings": notable,
        },
        **who,
    )
