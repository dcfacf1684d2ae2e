"""Who looked at what: pages and API put each search and each view of a study into the log in the same way."""

import json
import time
from collections.abc import Mapping

import sqlalchemy as sa

from medfake_pacs.audit.canonical import canonical_json
from medfake_pacs.console.queries.facts import seconds_of
from medfake_pacs.console.record import DicomEvent, record
from medfake_pacs.console.security.known import Identity
from medfake_pacs.console.services import Services
from medfake_pacs.database import reading
from medfake_pacs.database.tables import audit_events
from medfake_pacs.entities import AuditEvent

_MAX_SEQ = 2**53
# What goes on with a search for longer is another one.
SEARCH_LASTS_S = 3600.0


def log_study_view(
    services: Services,
    identity: Identity,
    *,
    study_instance_uid: str,
    patient_id: str = "",
    accession_number: str = "",
    what: str = "study",
) -> None:
    """Record that a study was shown; ``what`` of it: study, series, instances, report, ..."""
    event = AuditEvent(
        kind="study-viewed",
        study_instance_uid=study_instance_uid,
        patient_id=patient_id,
        accession_number=accession_number,
        payload={"what": what},
    )
    record(services, DicomEvent.INSTANCES_ACCESSED, identity, event)


def log_worklist_view(services: Services, identity: Identity) -> None:
    """Record that an account looks at the worklist without a condition; once an hour, however often it refreshes."""
    if services.views.note(identity.user_id, "worklist", time.time()):
        record(services, DicomEvent.QUERY, identity, AuditEvent(kind="worklist-viewed"))


def log_statistics_view(services: Services, identity: Identity, listed: int) -> None:
    """Record that an account was shown the ``listed`` studies without a verdict, with their patients; once an hour."""
    if listed and services.views.note(identity.user_id, "statistics", time.time()):
        event = AuditEvent(kind="statistics-viewed", payload={"studies": listed})
        record(services, DicomEvent.QUERY, identity, event)


def log_worklist_search(
    services: Services, identity: Identity, conditions: Mapping[str, object], logged: int | None
) -> int:
    """Record a search of the worklist, and return its number in the log.

    Later pages of its result and what refreshes them belong to the same search: they bring its number as
    ``logged``, and are recorded anew unless the log has this search by the same account within the hour before.
    """
    if logged is not None and _is_logged(services, identity, conditions, logged):
        return logged
    event = AuditEvent(
        kind="worklist-searched",
        study_instance_uid=str(conditions.get("study_instance_uid", "")),
        patient_id=str(conditions.get("patient_id", "")),
        accession_number=str(conditions.get("accession_number", "")),
        payload={"conditions": conditions},
    )
    return record(services, DicomEvent.QUERY, identity, event)


def _is_logged(services: Services, identity: Identity, conditions: Mapping[str, object], seq: int) -> bool:
    if not 0 < seq < _MAX_SEQ:
        return False
    query = sa.select(audit_events.c.payload, audit_events.c.occurred_at).where(
        audit_events.c.seq == seq, audit_events.c.kind == "worklist-searched"
    )
    with reading(services.engine) as connection:
        row = connection.execute(query).one_or_none()
    if row is None or seconds_of(row.occurred_at) < time.time() - SEARCH_LASTS_S:
        return False
    facts = json.loads(row.payload)["payload"]
    same = facts.get("conditions") == json.loads(canonical_json(conditions))
    return bool(same and facts.get("who") == identity.user_name)
