"""One study: whose it is, what is known of it, what it waits for."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from pydantic import TypeAdapter

from medfake_pacs.console.errors import NotFoundError
from medfake_pacs.console.queries.reopened import unassessed_revisions
from medfake_pacs.console.services import Services
from medfake_pacs.database import reading
from medfake_pacs.database.tables import instances, studies, verdicts
from medfake_pacs.entities import ModelIdentity, Verdict
from medfake_pacs.report.subject import Subject, read_subject

_VERDICT = TypeAdapter(Verdict)
_MAX_UID_CHARACTERS = 64
_SOURCES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a study without its final verdict waits for; ``images_done`` of ``images`` are scored or given up.

    ``attempts``: how often assessing the revision that is due failed, and when it is tried again.
    """

    arriving: bool
    assessing: bool
    images: int
    images_done: int
    last_received_at: float | None
    attempts: int = 0
    next_attempt_at: float = 0.0

    @property
    def is_waiting(self) -> bool:
        """Tell whether a verdict is still to come."""
        return self.arriving or self.assessing


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFacts:
    """A study's row, its newest verdict (None while there is none) and what a spooled header adds (None: not kept).

    ``conflict_uids`` are the SOP Instance UIDs of which several different objects have come.
    """

    study_instance_uid: str
    patient_id: str
    accession_number: str
    description: str
    modality: str
    ae_titles: tuple[str, ...]
    first_received_at: float
    last_received_at: float | None
    expired_at: float | None
    verdict: Verdict | None
    verdict_at: float | None
    subject: Subject | None
    progress: Progress
    models: tuple[ModelIdentity, ...]

    @property
    def revision(self) -> int:
        """Return the revision that the newest verdict is on; 0 while there is none."""
        return self.verdict.revision if self.verdict else 0


def find_study(services: Services, study_instance_uid: str) -> StudyFacts:
    """Return what is known of a study.

    Raises
    ------
    NotFoundError
        If the node has never received an image of it.
    """
    with reading(services.engine) as connection:
        row = _row(connection, study_instance_uid)
        verdict, verdict_at = newest_verdict(connection, study_instance_uid)
        progress = _progress(connection, row)
        mine = instances.c.study_instance_uid == study_instance_uid
        columns = (instances.c.path, instances.c.patient_id, instances.c.accession_number)
        sources = connection.execute(sa.select(*columns).where(mine).order_by(instances.c.instance_id).limit(_SOURCES))
        firsts = sources.all()
        titles = connection.execute(sa.select(instances.c.calling_ae_title).where(mine).distinct()).scalars()
        ae_titles = tuple(sorted(titles))
    paths = [services.settings.spool_dir / first.path for first in firsts]
    models = {series.model.sha256: series.model for series in verdict.series if series.model} if verdict else {}
    return StudyFacts(
        study_instance_uid=study_instance_uid,
        patient_id=firsts[0].patient_id if firsts else row.patient_id,
        accession_number=firsts[0].accession_number if firsts else row.accession_number,
        description=row.study_description,
        modality=row.modality,
        ae_titles=ae_titles,
        first_received_at=row.first_received_at,
        last_received_at=row.last_received_at,
        expired_at=row.expired_at,
        verdict=verdict,
        verdict_at=verdict_at,
        subject=read_subject(path for path in paths if path.is_file()),
        progress=progress,
        models=tuple(models.values()),
    )


def require_study(services: Services, study_instance_uid: str) -> None:
    """Check that the node knows a study.

    Raises
    ------
    NotFoundError
        If it doesn't.
    """
    with reading(services.engine) as connection:
        _row(connection, study_instance_uid)


def progress_of(services: Services, study_instance_uid: str) -> tuple[Progress, int]:
    """Return what a study waits for, and the revision that its newest verdict is on (0: none).

    Raises
    ------
    NotFoundError
        If the node has never received an image of it.
    """
    with reading(services.engine) as connection:
        row = _row(connection, study_instance_uid)
        return _progress(connection, row), row.verdict_revision or 0


def may_be_uid(text: str) -> bool:
    """Tell whether a text can be one of the UIDs in the tables: other text isn't even looked for."""
    return 0 < len(text) <= _MAX_UID_CHARACTERS and text.isascii() and text.isprintable()


def newest_verdict(connection: sa.Connection, study_instance_uid: str) -> tuple[Verdict | None, float | None]:
    """Return a study's newest verdict and when it was made; (None, None) while there is none."""
    query = sa.select(verdicts.c.detail, verdicts.c.created_at).where(
        verdicts.c.study_instance_uid == study_instance_uid, verdicts.c.scope == "study"
    )
    row = connection.execute(query.order_by(verdicts.c.revision.desc()).limit(1)).first()
    return (_VERDICT.validate_python(row.detail), row.created_at) if row else (None, None)


def newest_revision(connection: sa.Connection, study_instance_uid: str) -> tuple[int, str]:
    """Return the revision that a study's newest verdict is on, and the verdict; (0, "") while there is none."""
    query = sa.select(verdicts.c.revision, verdicts.c.verdict).where(
        verdicts.c.study_instance_uid == study_instance_uid, verdicts.c.scope == "study"
    )
    row = connection.execute(query.order_by(verdicts.c.revision.desc()).limit(1)).first()
    return (row.revision, row.verdict) if row else (0, "")


def _row(connection: sa.Connection, study_instance_uid: str) -> sa.Row[tuple[object, ...]]:
    row = None
    if may_be_uid(study_instance_uid):
        query = sa.select(studies).where(studies.c.study_instance_uid == study_instance_uid)
        row = connection.execute(query).first()
    if row is None:
        raise NotFoundError("This node has received no image of a study with this Study Instance UID.")
    return row


def _progress(connection: sa.Connection, row: sa.Row[tuple[object, ...]]) -> Progress:
    mine = row.study_instance_uid
    due = unassessed_revisions(connection, [mine]).get(mine)
    assessing = due is not None
    arriving = row.opened_at is not None
    counts: Sequence[int] = (0, 0)
    if arriving or assessing:
        done = sa.func.sum(sa.case((instances.c.state == "done", 1), else_=0))
        query = sa.select(sa.func.count(), done).where(instances.c.study_instance_uid == mine)
        counts = tuple(int(value or 0) for value in connection.execute(query).one())
    return Progress(
        arriving=arriving,
        assessing=assessing,
        images=counts[0],
        images_done=counts[1],
        last_received_at=row.last_received_at,
        attempts=due.attempts if due else 0,
        next_attempt_at=due.next_attempt_at if due else 0.0,
    )
