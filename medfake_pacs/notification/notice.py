"""What a notification can tell: the facts that its template is given."""

from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from medfake_pacs.database.tables import identity, studies, verdicts


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """The facts on one verdict; ``event_id`` is the same in every attempt, so that receivers tell a repetition.

    ``patient_id`` and ``accession_number`` leave the node only in a template that says so. ``sample`` marks a
    test without a study behind it.
    """

    event_id: str
    target: str
    study_instance_uid: str
    revision: int
    verdict: str
    probability: float | None
    reason: str
    images_total: int
    images_scored: int
    assessed_at: float
    url: str
    patient_id: str = ""
    accession_number: str = ""
    sample: bool = False

    def facts(self) -> dict[str, Any]:
        """Return the facts by the names that templates use."""
        return asdict(self)


def sample_notice(target: str, console_url: str, *, event_id: str = "test") -> Notice:
    """Return a notice on a study that doesn't exist, to try a template or a target with."""
    return Notice(
        event_id=event_id,
        target=target,
        study_instance_uid="2.25.1",
        revision=1,
        verdict="fake",
        probability=0.987,
        reason="",
        images_total=2,
        images_scored=2,
        assessed_at=0.0,
        url=f"{console_url}/studies/2.25.1",
        patient_id="TEST",
        accession_number="TEST",
        sample=True,
    )


def read_notice(
    connection: sa.Connection, notification_id: int, target: str, study: str, revision: int, console_url: str
) -> Notice | None:
    """Return the facts on a revision's verdict from the tables; None if the verdict isn't there any more."""
    query = (
        sa.select(verdicts, studies.c.patient_id, studies.c.accession_number)
        .join_from(verdicts, studies, studies.c.study_instance_uid == verdicts.c.study_instance_uid, isouter=True)
        .where(verdicts.c.study_instance_uid == study, verdicts.c.revision == revision, verdicts.c.scope == "study")
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    return Notice(
        event_id=event_id(connection, notification_id),
        target=target,
        study_instance_uid=study,
        revision=revision,
        verdict=row.verdict,
        probability=row.probability,
        reason=row.reason,
        images_total=row.images_total,
        images_scored=row.images_scored,
        assessed_at=row.created_at,
        url=f"{console_url}/studies/{quote(study, safe='')}",
        patient_id=row.patient_id or "",
        accession_number=row.accession_number or "",
    )


def event_id(connection: sa.Connection, notification_id: int) -> str:
    """Return what tells a notification from any other, of other databases too."""
    database = connection.execute(sa.select(identity.c.database_id)).scalar_one()
    return f"{database}-{notification_id}"
