"""What of a study's views goes to the log: its page, its pictures without the page, its reports."""

import time

import sqlalchemy as sa

from medfake_pacs.console.record import DicomEvent, record
from medfake_pacs.console.security.known import Identity
from medfake_pacs.console.services import Services
from medfake_pacs.console.viewing import log_study_view
from medfake_pacs.database import reading
from medfake_pacs.database.tables import instances
from medfake_pacs.entities import AuditEvent


def study_viewed(services: Services, identity: Identity, study_instance_uid: str, what: str = "study") -> None:
    """Put into the log that somebody opened a study."""
    services.views.renew(identity.user_id, study_instance_uid, time.time())
    subject = _subject(services, study_instance_uid)
    log_study_view(services, identity, study_instance_uid=study_instance_uid, what=what, **subject)


def picture_viewed(services: Services, identity: Identity, study_instance_uid: str) -> None:
    """Put the view of a picture into the log, unless its study was opened within the hour before."""
    if services.views.note(identity.user_id, study_instance_uid, time.time()):
        study_viewed(services, identity, study_instance_uid, "images")


def report_exported(services: Services, identity: Identity, study_instance_uid: str, report_uid: str) -> None:
    """Put into the log that somebody downloaded a report."""
    event = AuditEvent(
        kind="report-exported",
        study_instance_uid=study_instance_uid,
        sop_instance_uid=report_uid,
        **_subject(services, study_instance_uid),
    )
    record(services, DicomEvent.EXPORT, identity, event)


def _subject(services: Services, study_instance_uid: str) -> dict[str, str]:
    """Return patient and order, so that auditors find the event by them."""
    query = sa.select(instances.c.patient_id, instances.c.accession_number).where(
        instances.c.study_instance_uid == study_instance_uid
    )
    with reading(services.engine) as connection:
        row = connection.execute(query.limit(1)).first()
    return {"patient_id": row.patient_id, "accession_number": row.accession_number} if row else {}
