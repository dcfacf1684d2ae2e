"""Hand a check's report to the outgoing queue: the only way by which anything of an upload leaves the console."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.console.errors import ConflictError, GoneError, InvalidInputError
from medfake_pacs.console.queries.checks import Check
from medfake_pacs.console.record import DicomEvent, record_in
from medfake_pacs.console.security.known import Identity
from medfake_pacs.console.services import Services
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.tables import deliveries, reports
from medfake_pacs.delivery import enqueue
from medfake_pacs.entities import AuditEvent, Report
from medfake_pacs.report.files import write_durably
from medfake_pacs.workflows.rows import report_to_row

_KIND = "check"
_GONE = "The report was deleted with the files of its check. Upload the images again."


def release(services: Services, identity: Identity, check: Check, destinations: Sequence[str]) -> None:
    """Queue the reports of a check for the destinations, by name; those that have them queued stay as they are.

    Raises
    ------
    InvalidInputError
        If no destination is named, or one that isn't configured.
    ConflictError
        If there is nothing that may be sent: the check isn't done, or is about pictures.
    GoneError
        If its files are deleted.
    """
    known = {item.name for item in services.settings.destinations}
    wanted = [name for name in dict.fromkeys(destinations) if name]
    if not wanted or not set(wanted) <= known:
        raise InvalidInputError("Choose where the report goes.", {"destination": "not among the destinations"})
    if check.state != "done" or not check.releasable:
        raise ConflictError("Only the report on DICOM objects that were assessed can be sent; PNG and JPEG can't.")
    if check.expired_at is not None:
        raise GoneError(_GONE)
    contents = [_content(services, item) for item in check.releasable]
    kept: list[Report] = []
    now = time.time()
    try:
        for item, content in zip(check.releasable, contents, strict=True):
            kept.append(_keep(services, item, content))
        with transaction(services.engine) as connection:
            audit.take_turn(connection)
            for report in kept:
                enqueue(connection, _recorded(connection, services, report, now), wanted, now)
                record_in(connection, DicomEvent.EXPORT, identity, _event(check, report, wanted))
    finally:
        _discard_unrecorded(services, kept)


def release_states(services: Services, check: Check) -> list[tuple[str, str]]:
    """Return (destination, state) of each delivery of a check's reports."""
    uids = [item["sop_instance_uid"] for item in check.releasable]
    query = sa.select(deliveries.c.destination, deliveries.c.state).where(deliveries.c.report_uid.in_(uids))
    with reading(services.engine) as connection:
        return [(row.destination, row.state) for row in connection.execute(query.order_by(deliveries.c.delivery_id))]


def _content(services: Services, item: Mapping[str, Any]) -> bytes:
    try:
        return (services.settings.spool_dir / item["path"]).read_bytes()
    except FileNotFoundError as error:
        # Retention was quicker, or the check's owner.
        raise GoneError(_GONE) from error


def _keep(services: Services, item: Mapping[str, Any], content: bytes) -> Report:
    """Copy a report to where sent ones are kept: the check's own files are deleted earlier."""
    path = services.settings.reports_dir / "checks" / f"{item['sop_instance_uid']}.dcm"
    write_durably(path, content)
    return _report(path, item, revision=1)


def _discard_unrecorded(services: Services, kept: Sequence[Report]) -> None:
    """Delete the copies that no row is about: their release failed."""
    uids = [report.sop_instance_uid for report in kept]
    with reading(services.engine) as connection:
        query = sa.select(reports.c.sop_instance_uid).where(reports.c.sop_instance_uid.in_(uids))
        recorded = set(connection.execute(query).scalars())
    for report in kept:
        if report.sop_instance_uid not in recorded:
            report.path.unlink(missing_ok=True)


def _report(path: Path, item: Mapping[str, Any], revision: int) -> Report:
    return Report(
        sop_instance_uid=item["sop_instance_uid"],
        sop_class_uid=item["sop_class_uid"],
        study_instance_uid=item["study_instance_uid"],
        revision=revision,
        path=path,
        sha256=item["sha256"],
    )


def _recorded(connection: sa.Connection, services: Services, report: Report, now: float) -> Report:
    """Give a report its row and its number within the study, unless it has them."""
    uid = report.sop_instance_uid
    if connection.execute(sa.select(reports.c.revision).where(reports.c.sop_instance_uid == uid)).first() is None:
        newest = sa.select(sa.func.max(reports.c.revision)).where(
            reports.c.study_instance_uid == report.study_instance_uid, reports.c.kind == _KIND
        )
        numbered = replace(report, revision=(connection.execute(newest).scalar_one() or 0) + 1)
        row = report_to_row(numbered, services.settings.spool_dir, now, _KIND)
        connection.execute(sa.insert(reports).values(row))
    return report


def _event(check: Check, report: Report, destinations: Sequence[str]) -> AuditEvent:
    verdict = next(study for study in check.studies if study.study_instance_uid == report.study_instance_uid)
    first = verdict.series[0].findings[0].attributes
    return AuditEvent(
        kind="check-released",
        study_instance_uid=report.study_instance_uid,
        sop_instance_uid=report.sop_instance_uid,
        patient_id=first.patient_id,
        accession_number=first.accession_number,
        verdict=str(verdict.label),
        payload={"check_id": check.check_id, "sha256": report.sha256, "destinations": list(destinations)},
    )
