"""Record what a radiologist says of a verdict: the row and the log's event in one transaction."""

import time
from dataclasses import dataclass

import sqlalchemy as sa

from medfake_pacs.console.errors import ConflictError, InvalidInputError
from medfake_pacs.console.queries.study import newest_revision, require_study
from medfake_pacs.console.record import DicomEvent, record_in
from medfake_pacs.console.security.known import Identity
from medfake_pacs.console.services import Services
from medfake_pacs.database import transaction
from medfake_pacs.database.console_tables import reviews
from medfake_pacs.database.tables import instances, studies
from medfake_pacs.entities import AuditEvent
from medfake_pacs.report import sanitise
from medfake_pacs.wording import OPINIONS

MAX_COMMENT_CHARACTERS = 2000
# Sent twice within this time, by a double click or an impatient reload, it is one.
_TWICE_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What somebody says of the verdict on one revision, checked: control characters are gone from the comment."""

    opinion: str
    comment: str
    revision: int


def checked(opinion: str, comment: str, revision: int) -> Opinion:
    """Return what was entered.

    Raises
    ------
    InvalidInputError
        If the opinion is none, the comment is missing where it is needed, or too long.
    """
    fields = {}
    cleaned = sanitise.paragraph(comment)
    if opinion not in OPINIONS:
        fields["opinion"] = f"Choose one of: {', '.join(OPINIONS)}."
    elif opinion != "agree" and not cleaned:
        fields["comment"] = "Say why: whoever reads the report needs to know."
    if len(cleaned) > MAX_COMMENT_CHARACTERS:
        fields["comment"] = f"{len(cleaned):,} characters are too many; at most {MAX_COMMENT_CHARACTERS:,} are kept."
    if fields:
        raise InvalidInputError(" ".join(fields.values()), fields)
    return Opinion(opinion=opinion, comment=cleaned, revision=revision)


def record_review(services: Services, identity: Identity, study_instance_uid: str, said: Opinion) -> int:
    """Record an opinion on a study's newest verdict and return the review's number; the worker reports it.

    Raises
    ------
    NotFoundError
        If the node has never received an image of the study.
    ConflictError
        If there is no verdict yet, or a newer one than the opinion is on.
    """
    require_study(services, study_instance_uid)
    now = time.time()
    with transaction(services.engine) as connection:
        # The verdict of another revision waits for this row, so that an opinion is never on one that is outdated.
        study = sa.select(studies.c.study_instance_uid).where(studies.c.study_instance_uid == study_instance_uid)
        connection.execute(study.with_for_update())
        revision, verdict = newest_revision(connection, study_instance_uid)
        _check_revision(revision, said.revision)
        known = _same(connection, identity, study_instance_uid, said, now)
        if known is not None:
            return known
        values = {
            "study_instance_uid": study_instance_uid,
            "revision": said.revision,
            "user_id": identity.user_id,
            "user_name": identity.user_name,
            "display_name": identity.display_name,
            "opinion": said.opinion,
            "comment": said.comment,
            "created_at": now,
        }
        review_id = int(connection.execute(sa.insert(reviews).values(values)).inserted_primary_key[0])
        event = _event(connection, study_instance_uid, said, review_id, verdict)
        record_in(connection, DicomEvent.PROCEDURE_RECORD, identity, event)
    return review_id


def _check_revision(newest: int, said: int) -> None:
    if not newest:
        raise ConflictError("There is no verdict on this study yet.")
    if newest > said:
        raise ConflictError(
            f"Images came meanwhile, and there is a new verdict, on revision {newest}; yours is about revision {said}. "
            "Look at the new one, then say what you think of it."
        )
    if newest < said:
        raise ConflictError(f"There is no verdict on revision {said} of this study; the newest is on {newest}.")


def _same(
    connection: sa.Connection, identity: Identity, study_instance_uid: str, said: Opinion, now: float
) -> int | None:
    query = sa.select(reviews.c.review_id).where(
        reviews.c.study_instance_uid == study_instance_uid,
        reviews.c.user_id == identity.user_id,
        reviews.c.revision == said.revision,
        reviews.c.opinion == said.opinion,
        reviews.c.comment == said.comment,
        reviews.c.created_at > now - _TWICE_WITHIN_S,
    )
    return connection.execute(query.limit(1)).scalar_one_or_none()


def _event(
    connection: sa.Connection, study_instance_uid: str, said: Opinion, review_id: int, verdict: str
) -> AuditEvent:
    query = sa.select(instances.c.patient_id, instances.c.accession_number)
    first = connection.execute(query.where(instances.c.study_instance_uid == study_instance_uid).limit(1)).first()
    return AuditEvent(
        kind="verdict-reviewed",
        study_instance_uid=study_instance_uid,
        patient_id=first.patient_id if first else "",
        accession_number=first.accession_number if first else "",
        verdict=verdict,
        payload={
            "review_id": review_id,
            "revision": said.revision,
            "opinion": said.opinion,
            "comment": said.comment,
        },
    )
