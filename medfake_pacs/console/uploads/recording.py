"""The rows of an upload: begun before its first byte is kept, complete with its last, or forgotten."""

import time
from collections.abc import Sequence
from http import HTTPStatus

import sqlalchemy as sa

from medfake_pacs.audit import take_turn
from medfake_pacs.config import Settings
from medfake_pacs.console.errors import InvalidInputError, TooManyRequestsError
from medfake_pacs.console.queries.check_models import model_choices
from medfake_pacs.console.record import DicomEvent, record_in
from medfake_pacs.console.security.known import Identity
from medfake_pacs.console.services import Services
from medfake_pacs.console.uploads.kinds import Image
from medfake_pacs.console.uploads.refusals import LeftOut, UploadRefusedError
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.console_tables import check_files, checks
from medfake_pacs.entities import AuditEvent
from medfake_pacs.report.uids import UUID_ROOT, derive_uid

_UNFINISHED = ("uploading", "waiting", "running")
_MAX_UNFINISHED = 20
_RETRY_AFTER_S = 30


def begin(engine: sa.Engine, check_id: str, identity: Identity) -> None:
    """Record that an upload begins.

    Raises
    ------
    TooManyRequestsError
        If this account has many that aren't assessed yet.
    """
    unfinished = sa.select(sa.func.count()).where(checks.c.user_id == identity.user_id, checks.c.state.in_(_UNFINISHED))
    with transaction(engine) as connection:
        # Uploads that begin at the same time count one another.
        take_turn(connection)
        if connection.execute(unfinished).scalar_one() >= _MAX_UNFINISHED:
            raise TooManyRequestsError(
                f"{_MAX_UNFINISHED} of your checks aren't finished. Wait until some are.", _RETRY_AFTER_S
            )
        row = {"check_id": check_id, "user_id": identity.user_id, "created_at": time.time()}
        connection.execute(sa.insert(checks).values(row))


def kept_checks(engine: sa.Engine, identity: Identity) -> frozenset[str]:
    """Return the ids of an account's checks whose files aren't deleted, those that arrive included."""
    query = sa.select(checks.c.check_id).where(checks.c.user_id == identity.user_id, checks.c.expired_at.is_(None))
    with reading(engine) as connection:
        return frozenset(connection.execute(query).scalars())


def forget(engine: sa.Engine, check_id: str) -> None:
    """Delete the row of an upload that broke off or was refused."""
    with transaction(engine) as connection:
        connection.execute(sa.delete(checks).where(checks.c.check_id == check_id, checks.c.state == "uploading"))


def check_model(settings: Settings, model: str) -> None:
    """Check that an upload names an installed model, or none.

    Raises
    ------
    InvalidInputError
        If it doesn't.
    """
    if model and model not in {choice.model for choice in model_choices(settings) if choice.installed}:
        raise InvalidInputError("Choose a model that is installed, or have it detected.", {"model": "not installed"})


def complete(
    services: Services,
    identity: Identity,
    check_id: str,
    model: str,
    images: Sequence[Image],
    left_out: Sequence[LeftOut],
) -> None:
    """Record an upload's files, have its check wait for a worker, and put it into the log.

    Raises
    ------
    UploadRefusedError
        If the upload took so long that it was given up meanwhile.
    """
    rows = [_row(services.settings, check_id, number, image) for number, image in enumerate(images, start=1)]
    values = {
        "state": "waiting",
        "model": model,
        "images_total": len(rows),
        "left_out": [{"name": item.name, "reason": item.reason} for item in left_out],
    }
    with transaction(services.engine) as connection:
        mine = (checks.c.check_id == check_id, checks.c.state == "uploading")
        if connection.execute(sa.update(checks).where(*mine).values(values)).rowcount != 1:
            raise UploadRefusedError(HTTPStatus.REQUEST_TIMEOUT, "The upload took too long: upload less at once.")
        connection.execute(sa.insert(check_files), rows)
        record_in(connection, DicomEvent.IMPORT, identity, _event(check_id, model, images, rows, len(left_out)))


def _row(settings: Settings, check_id: str, number: int, image: Image) -> dict[str, object]:
    attributes = image.attributes
    made = "" if attributes else f"check {check_id}"
    return {
        "check_id": check_id,
        "name": image.file.name,
        "kind": image.kind,
        "path": str(image.file.path.relative_to(settings.spool_dir)),
        "size_bytes": image.file.path.stat().st_size,
        "sha256": image.file.sha256,
        # A picture is given UIDs, for a report has to refer to objects; all pictures of an upload are one study.
        "sop_instance_uid": attributes.sop_instance_uid if attributes else _uid(made, "instance", number),
        "series_instance_uid": attributes.series_instance_uid if attributes else _uid(made, "series", number),
        "study_instance_uid": attributes.study_instance_uid if attributes else _uid(made, "study"),
    }


def _uid(*facts: object) -> str:
    return derive_uid(UUID_ROOT, *facts)


def _event(
    check_id: str, model: str, images: Sequence[Image], rows: Sequence[dict[str, object]], left_out: int
) -> AuditEvent:
    studies = sorted({str(row["study_instance_uid"]) for row in rows})
    first = next((image.attributes for image in images if image.attributes), None)
    return AuditEvent(
        kind="check-uploaded",
        study_instance_uid=studies[0] if len(studies) == 1 else "",
        patient_id=first.patient_id if first and len(studies) == 1 else "",
        accession_number=first.accession_number if first and len(studies) == 1 else "",
        payload={
            "check_id": check_id,
            "model": model,
            "files": len(rows),
            "left_out": left_out,
            "bytes": sum(image.file.size_bytes for image in images),
            "studies": studies,
            "content_sha256": [row["sha256"] for row in rows],
        },
    )
