"""Turn a recorded verdict into a report and its deliveries; the step may run again."""

import hashlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from medfake_pacs import audit, crashpoints
from medfake_pacs.config import DestinationSettings
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.tables import deliveries, reports, revisions
from medfake_pacs.delivery import enqueue
from medfake_pacs.entities import AuditEvent, Report, Verdict
from medfake_pacs.errors import ReportError
from medfake_pacs.report import ReportSettings, build_report
from medfake_pacs.workflows.assessment import recorded_verdict, rows_of
from medfake_pacs.workflows.context import Context
from medfake_pacs.workflows.rows import report_to_row
from medfake_pacs.workflows.scoring import series_routing


def report_revision(context: Context, study_instance_uid: str, revision: int) -> list[str]:
    """Write a revision's report and its deliveries, unless that was done; return the destinations' names.

    The report is made from the recorded verdict. One that is recorded is never written again: its bytes
    name this node and this version, and what was sent must stay what the log says.

    Raises
    ------
    ReportError
        If the revision has no verdict.
    """
    verdict = recorded_verdict(context, study_instance_uid, revision)
    if verdict is None:
        raise ReportError(f"revision {revision} of study {study_instance_uid} has no verdict")
    with reading(context.engine) as connection:
        mine = (revisions.c.study_instance_uid == study_instance_uid, revisions.c.revision == revision)
        found = connection.execute(sa.select(revisions).where(*mine)).one()
        if found.state != "completed":
            return _waiting_destinations(connection, study_instance_uid)
        rows = rows_of(connection, study_instance_uid, revision)
        destinations = _destinations(context, connection, rows)
        predecessor = _report(context, connection, study_instance_uid, revision - 1)
    report = None
    if destinations is not None:
        report = build_report(
            verdict=verdict,
            sources=_sources(context, rows),
            settings=report_settings(context),
            now=datetime.fromtimestamp(found.completed_at, UTC),
            predecessor=predecessor,
            output_dir=output_dir(context),
        )
        crashpoints.reach("worker.report-written")
    _record_report(context, verdict, rows[0], report, destinations or [])
    crashpoints.reach("worker.report-recorded")
    return [item.name for item in destinations or []]


def output_dir(context: Context) -> Path:
    """Return a folder of this node's own: another that does the same step must not write the same file."""
    name = hashlib.sha256(context.settings.node_id.encode()).hexdigest()[:8]
    folder = context.settings.reports_dir / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _waiting_destinations(connection: sa.Connection, study_instance_uid: str) -> list[str]:
    query = sa.select(deliveries.c.destination).where(
        deliveries.c.study_instance_uid == study_instance_uid, deliveries.c.state == "waiting"
    )
    return sorted(set(connection.execute(query).scalars()))


def _destinations(
    context: Context, connection: sa.Connection, rows: Sequence[sa.Row]
) -> list[DestinationSettings] | None:
    """Return where the report goes; None where a study that no route takes isn't to be reported."""
    settings = context.settings
    firsts = {row.series_instance_uid: row for row in reversed(rows)}
    routes = [series_routing(context, connection, row).route for row in firsts.values()]
    names = {name for route in routes if route for name in route.send_to}
    if not any(routes):
        if not settings.report.report_unrouted:
            return None
        names = set(settings.report.unrouted_send_to or [item.name for item in settings.destinations])
    return [item for item in settings.destinations if item.name in names]


def _sources(context: Context, rows: Sequence[sa.Row]) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    for row in rows:
        path = context.settings.spool_dir / row.path
        if path.is_file():
            paths.setdefault(row.sop_instance_uid, path)
    return paths


def report_settings(context: Context) -> ReportSettings:
    """Return what the reports say of this node."""
    settings = context.settings
    return ReportSettings(
        manufacturer=settings.report.manufacturer,
        station_name=settings.report.station_name,
        device_serial_number=settings.node_id,
        node_ae_title=settings.node.ae_title,
        preliminary=settings.report.preliminary,
    )


def _report(context: Context, connection: sa.Connection, study_instance_uid: str, revision: int) -> Report | None:
    row = connection.execute(
        sa.select(reports)
        .where(
            reports.c.study_instance_uid == study_instance_uid,
            reports.c.kind == "verdict",
            reports.c.revision <= revision,
        )
        .order_by(reports.c.revision.desc())
        .limit(1)
    ).one_or_none()
    return report_of(context, row) if row else None


def report_of(context: Context, row: sa.Row) -> Report:
    """Return the report that a ``reports`` row describes."""
    return Report(
        sop_instance_uid=row.sop_instance_uid,
        sop_class_uid=row.sop_class_uid,
        study_instance_uid=row.study_instance_uid,
        revision=row.revision,
        path=context.settings.spool_dir / row.path,
        sha256=row.sha256,
        predecessor_uid=row.predecessor_uid,
    )


def _record_report(
    context: Context,
    verdict: Verdict,
    first: sa.Row,
    report: Report | None,
    destinations: Sequence[DestinationSettings],
) -> None:
    now = time.time()
    mine = (
        revisions.c.study_instance_uid == verdict.study_instance_uid,
        revisions.c.revision == verdict.revision,
    )
    with transaction(context.engine) as connection:
        done = sa.update(revisions).where(*mine, revisions.c.state == "completed").values(state="assessed")
        if connection.execute(done).rowcount != 1 or report is None:
            return
        connection.execute(sa.insert(reports).values(report_to_row(report, context.settings.spool_dir, now)))
        enqueue(connection, report, [item.name for item in destinations], now)
        audit.append(connection, _report_event(verdict, first, report, destinations))


def _report_event(
    verdict: Verdict, first: sa.Row, report: Report, destinations: Sequence[DestinationSettings]
) -> AuditEvent:
    return AuditEvent(
        kind="report-created",
        study_instance_uid=verdict.study_instance_uid,
        sop_instance_uid=report.sop_instance_uid,
        patient_id=first.patient_id,
        accession_number=first.accession_number,
        verdict=str(verdict.label),
        payload={
            "revision": verdict.revision,
            "sha256": report.sha256,
            "predecessor_uid": report.predecessor_uid,
            "destinations": [item.name for item in destinations],
        },
    )
