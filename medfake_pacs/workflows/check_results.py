"""What a check leaves: its verdict, its reports, and its facts for the log."""

import hashlib
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from medfake_pacs.database.console_tables import checks
from medfake_pacs.database.tables import audit_events
from medfake_pacs.entities import AuditEvent, Report, Verdict
from medfake_pacs.errors import MedfakeError
from medfake_pacs.report import build_report
from medfake_pacs.verdict import assess_study
from medfake_pacs.workflows.check_assessment import AssessedSeries
from medfake_pacs.workflows.context import Context
from medfake_pacs.workflows.reporting import report_settings
from medfake_pacs.workflows.secondary_capture import wrap

_RASTERS = ("png", "jpeg")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """A check's verdict in all, and by study; ``report_path`` is what is downloaded, from the spool's folder on."""

    whole: Verdict
    studies: tuple[Verdict, ...]
    reports: tuple[Report, ...]
    detail: Mapping[str, Any]
    report_path: str


def write_reports(
    context: Context, check_id: str, files: Sequence[sa.Row], series: Sequence[AssessedSeries], created_at: float
) -> CheckResult:
    """Write a report for each study of a check beside its files; pictures are wrapped, so that it can name them.

    Raises
    ------
    OSError
        If a file can't be written.
    MedfakeError
        If the disk is nearly full.
    """
    folder = context.settings.checks_dir / check_id
    studies = tuple(
        assess_study(uid, 1, [item.verdict for item in series if item.study_instance_uid == uid])
        for uid in sorted({item.study_instance_uid for item in series})
    )
    whole = assess_study("", 1, [item.verdict for item in series])
    now = datetime.fromtimestamp(created_at, UTC)
    objects = _objects(context, files, folder, now)
    sources = {row.sop_instance_uid: context.settings.spool_dir / row.path for row in reversed(files)} | objects
    reports = tuple(
        build_report(
            verdict=verdict,
            sources=_sources_of(verdict, sources),
            settings=replace(report_settings(context), occasion=f"check {check_id}"),
            now=now,
            predecessor=None,
            output_dir=folder / "reports",
        )
        for verdict in studies
    )
    download = _download(folder, reports, list(objects.values()))
    return CheckResult(
        whole=whole,
        studies=studies,
        reports=reports,
        detail=_detail(context, studies, reports, files),
        report_path=str(download.relative_to(context.settings.spool_dir)),
    )


def record(connection: sa.Connection, result: CheckResult, held: Sequence[sa.ColumnElement[bool]], now: float) -> bool:
    """Record a check's result if it is still ``held``; False if it isn't."""
    whole = result.whole
    values = {
        "state": "done",
        "finished_at": now,
        "process_id": "",
        "verdict": str(whole.label),
        "probability": whole.probability,
        "reason": whole.reason,
        "images_done": whole.images_total,
        "detail": dict(result.detail),
        "report_path": result.report_path,
    }
    return connection.execute(sa.update(checks).where(*held).values(values)).rowcount == 1


def events(check_id: str, user_name: str, files: Sequence[sa.Row], result: CheckResult) -> Iterator[AuditEvent]:
    """Yield, for each study of a check, what the log is to know of its verdict."""
    content = {row.file_id: row.sha256 for row in files}
    for verdict, report in zip(result.studies, result.reports, strict=True):
        findings = [finding for series in verdict.series for finding in series.findings]
        first = findings[0].attributes
        models = sorted({series.model.sha256 for series in verdict.series if series.model})
        yield AuditEvent(
            kind="check-verdict",
            study_instance_uid=verdict.study_instance_uid,
            sop_instance_uid=report.sop_instance_uid,
            patient_id=first.patient_id,
            accession_number=first.accession_number,
            verdict=str(verdict.label),
            model_sha256=models[0] if len(models) == 1 else "",
            payload={
                "check_id": check_id,
                "who": user_name,
                "probability": verdict.probability,
                "reason": verdict.reason,
                "images_total": verdict.images_total,
                "images_scored": verdict.images_scored,
                "models": models,
                "report_sha256": report.sha256,
                "images": [
                    {
                        "sop_instance_uid": finding.attributes.sop_instance_uid,
                        "content_sha256": content[finding.instance_id],
                        "verdict": str(finding.label),
                        "probability": finding.probability,
                    }
                    for finding in findings
                ],
            },
        )


def failure(
    connection: sa.Connection, check_id: str, user_name: str, files: Sequence[sa.Row], reason: str
) -> AuditEvent:
    """Return what the log is to know of a check that can't be assessed: the patient as its upload was logged with."""
    studies = sorted({row.study_instance_uid for row in files})
    one = studies[0] if len(studies) == 1 else ""
    uploaded = sa.select(audit_events.c.patient_id, audit_events.c.accession_number).where(
        audit_events.c.study_instance_uid == one, audit_events.c.kind == "check-uploaded"
    )
    newest = uploaded.order_by(audit_events.c.seq.desc()).limit(1)
    row = connection.execute(newest).first() if one else None
    return AuditEvent(
        kind="check-failed",
        study_instance_uid=one,
        patient_id=row.patient_id if row else "",
        accession_number=row.accession_number if row else "",
        payload={"check_id": check_id, "who": user_name, "reason": reason, "studies": studies},
    )


def _objects(context: Context, files: Sequence[sa.Row], folder: Path, now: datetime) -> dict[str, Path]:
    """Wrap the pictures of a check that can be decoded into Secondary Capture objects, by SOP Instance UID."""
    found = {}
    with context.decoders.borrow() as decoder:
        for number, row in enumerate(files, start=1):
            if row.kind not in _RASTERS:
                continue
            _check_room(context, folder)
            path = folder / "objects" / f"{row.sop_instance_uid}.dcm"
            if wrap(decoder, row, context.settings.spool_dir / row.path, number, now, path):
                found[row.sop_instance_uid] = path
    return found


def _check_room(context: Context, folder: Path) -> None:
    """Check that a picture may become an object: a small file may hold many pixels, and reception needs the room."""
    if shutil.disk_usage(folder).free < 2 * context.settings.spool.min_free_bytes:
        raise MedfakeError("the node's disk is nearly full")


def _sources_of(verdict: Verdict, sources: Mapping[str, Path]) -> dict[str, Path]:
    uids = {finding.attributes.sop_instance_uid for series in verdict.series for finding in series.findings}
    return {uid: sources[uid] for uid in uids if uid in sources}


def _download(folder: Path, reports: Sequence[Report], objects: Sequence[Path]) -> Path:
    """Return what a person takes home: the report, or an archive where it is more than one object."""
    if len(reports) == 1 and not objects:
        return reports[0].path
    path = folder / "report.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, report in enumerate(reports, start=1):
            archive.write(report.path, f"report-{number}.dcm")
        for number, each in enumerate(objects, start=1):
            archive.write(each, f"image-{number}.dcm")
    return path


def _detail(
    context: Context, studies: Sequence[Verdict], reports: Sequence[Report], files: Sequence[sa.Row]
) -> dict[str, Any]:
    pictures = {row.study_instance_uid for row in files if row.kind in _RASTERS}
    dumped = TypeAdapter(list[Verdict]).dump_python(list(studies), mode="json")
    return {
        "studies": dumped,
        "reports": [
            {
                "sop_instance_uid": report.sop_instance_uid,
                "sop_class_uid": report.sop_class_uid,
                "study_instance_uid": report.study_instance_uid,
                "path": str(report.path.relative_to(context.settings.spool_dir)),
                "sha256": hashlib.sha256(report.path.read_bytes()).hexdigest(),
                "of_pictures": report.study_instance_uid in pictures,
            }
            for report in reports
        ],
    }
