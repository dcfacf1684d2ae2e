"""Put what people do in the console into the log: who, from where, by which DICOM event (PS3.16 CID 400)."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.console.security.known import Identity
from medfake_pacs.console.services import Services
from medfake_pacs.database import transaction
from medfake_pacs.entities import AuditEvent


class DicomEvent(Enum):
    """The audit event identifiers of PS3.15 A.5 that the console's events are of."""

    APPLICATION_ACTIVITY = ("110100", "Application Activity")
    LOG_USED = ("110101", "Audit Log Used")
    INSTANCES_ACCESSED = ("110103", "DICOM Instances Accessed")
    EXPORT = ("110106", "Export")
    IMPORT = ("110107", "Import")
    STUDY_DELETED = ("110105", "DICOM Study Deleted")
    PROCEDURE_RECORD = ("110111", "Procedure Record")
    QUERY = ("110112", "Query")
    SECURITY_ALERT = ("110113", "Security Alert")
    USER_AUTHENTICATION = ("110114", "User Authentication")


def origin_of(identity: Identity) -> dict[str, str]:
    """Return how the log names whoever sends a request: which account, from which host, by console or token."""
    return {"who": identity.user_name, "host": identity.host, "via": "token" if identity.token_id else "console"}


def record(services: Services, event: DicomEvent, identity: Identity | None, audit_event: AuditEvent) -> int:
    """Append an event to the log in a transaction of its own; return its number there."""
    with transaction(services.engine) as connection:
        return record_in(connection, event, identity, audit_event)


def record_in(connection: sa.Connection, event: DicomEvent, identity: Identity | None, audit_event: AuditEvent) -> int:
    """Append an event to the log in the caller's transaction: what is done and that it is logged go together."""
    who: dict[str, Any] = {}
    if identity:
        who |= origin_of(identity)
    code, meaning = event.value
    facts: Mapping[str, Any] = {"dicom_event": {"code": code, "meaning": meaning}, **who, **audit_event.payload}
    return audit.append(
        connection,
        AuditEvent(
            kind=audit_event.kind,
            study_instance_uid=audit_event.study_instance_uid,
            series_instance_uid=audit_event.series_instance_uid,
            sop_instance_uid=audit_event.sop_instance_uid,
            patient_id=audit_event.patient_id,
            accession_number=audit_event.accession_number,
            ae_title=audit_event.ae_title,
            verdict=audit_event.verdict,
            model_sha256=audit_event.model_sha256,
            payload=facts,
        ),
    )
