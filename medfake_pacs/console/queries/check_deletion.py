"""Delete what a check keeps before its retention is over: files and report go, its result and the log stay."""

import time

from medfake_pacs.console.errors import ConflictError, GoneError, RequestError
from medfake_pacs.console.queries.checks import Check
from medfake_pacs.console.record import DicomEvent, record
from medfake_pacs.console.security.known import Identity
from medfake_pacs.console.services import Services
from medfake_pacs.entities import AuditEvent
from medfake_pacs.workflows import check_retention


class NotDeletedError(RequestError):
    """The disk didn't let the files go."""

    status = 500
    title = "The files aren't all deleted"


def delete(services: Services, identity: Identity, check: Check) -> None:
    """Delete the files of a check that may be seen, once it is finished.

    Raises
    ------
    ConflictError
        If it isn't finished.
    GoneError
        If they are deleted already.
    NotDeletedError
        If some can't be deleted.
    """
    if check.expired_at is not None:
        raise GoneError("The files of this check are deleted already; the result is still here.")
    if not check.is_finished:
        raise ConflictError("The check isn't finished. Wait until it is, then delete it.")
    event = AuditEvent(
        kind="check-deleted",
        study_instance_uid=check.studies[0].study_instance_uid if len(check.studies) == 1 else "",
        verdict=check.verdict,
        payload={"check_id": check.check_id, "studies": [study.study_instance_uid for study in check.studies]},
    )
    record(services, DicomEvent.STUDY_DELETED, identity, event)
    if not check_retention.delete_files(services.engine, services.settings, check.check_id, time.time()):
        raise NotDeletedError("Some files of this check can't be deleted. Try again, or tell an administrator.")
