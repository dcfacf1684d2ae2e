"""What of a check's views goes to the log: its page, and what is read of it without the page."""

import time

from medfake_pacs.console.queries.checks import Check, check_of
from medfake_pacs.console.record import DicomEvent, record
from medfake_pacs.console.security.known import Identity
from medfake_pacs.console.services import Services
from medfake_pacs.entities import AuditEvent


def check_viewed(services: Services, identity: Identity, check: Check) -> None:
    """Put into the log that somebody opened a check: an event for each study, or one where none is known yet."""
    services.views.renew(identity.user_id, _key(check.check_id), time.time())
    events = [_event(check, index) for index in range(len(check.studies))]
    for event in events or [AuditEvent(kind="check-viewed", payload={"check_id": check.check_id})]:
        record(services, DicomEvent.INSTANCES_ACCESSED, identity, event)


def part_viewed(services: Services, identity: Identity, check_id: str) -> None:
    """Put the view of a picture or of a result into the log, unless the check was opened within the hour before."""
    if services.views.note(identity.user_id, _key(check_id), time.time()):
        check_viewed(services, identity, check_of(services, identity, check_id))


def _key(check_id: str) -> str:
    return f"check {check_id}"


def _event(check: Check, index: int) -> AuditEvent:
    study = check.studies[index]
    first = study.series[0].findings[0].attributes
    return AuditEvent(
        kind="check-viewed",
        study_instance_uid=study.study_instance_uid,
        patient_id=first.patient_id,
        accession_number=first.accession_number,
        verdict=str(study.label),
        payload={"check_id": check.check_id},
    )
