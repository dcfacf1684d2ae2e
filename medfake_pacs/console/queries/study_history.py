"""A study's history: its revisions with their verdicts and reports, where those went, and what people said of them."""

from dataclasses import dataclass

import sqlalchemy as sa

from medfake_pacs.console.errors import GoneError, NotFoundError
from medfake_pacs.console.queries.study import may_be_uid
from medfake_pacs.console.services import Services
from medfake_pacs.database import reading
from medfake_pacs.database.console_tables import reviews
from medfake_pacs.database.tables import reports, revisions, verdicts
from medfake_pacs.delivery.listing import ListedDelivery, listing


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportLine:
    """One report and its deliveries, one for each destination."""

    sop_instance_uid: str
    kind: str
    revision: int
    created_at: float
    sha256: str
    deliveries: tuple[ListedDelivery, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionLine:
    """One revision of a study; verdict and report are empty or None until they are made."""

    revision: int
    completed_at: float
    trigger: str
    verdict: str
    probability: float | None
    images_total: int | None
    images_scored: int | None
    reason: str
    assessed: bool
    report: ReportLine | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewLine:
    """What somebody said of a verdict.

    ``state``: "recorded" until its report is written, then "reported"; "unreported" if there is none to write.
    """

    review_id: int
    revision: int
    user_name: str
    display_name: str
    opinion: str
    comment: str
    created_at: float
    state: str
    report: ReportLine | None
    problem: str
    next_attempt_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Newest first, each; ``checks`` are the reports on uploaded images of this study that were released."""

    revisions: tuple[RevisionLine, ...]
    reviews: tuple[ReviewLine, ...]
    checks: tuple[ReportLine, ...]

    def has_no_report(self, revision: int) -> bool:
        """Tell whether it was decided that the verdict on a revision isn't reported."""
        return any(line.revision == revision and line.assessed and line.report is None for line in self.revisions)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFile:
    """A report's bytes, as they were sent."""

    sop_instance_uid: str
    content: bytes


def history_of(services: Services, study_instance_uid: str) -> History:
    """Return a study's revisions and reviews with their reports and deliveries."""
    mine = reviews.c.study_instance_uid == study_instance_uid
    with reading(services.engine) as connection:
        found = _reports(connection, study_instance_uid)
        by_uid = {report.sop_instance_uid: report for report in found}
        by_revision = {report.revision: report for report in found if report.kind == "verdict"}
        lines = [
            _revision(row, by_revision.get(row.revision))
            for row in connection.execute(_revisions_query(study_instance_uid))
        ]
        query = sa.select(reviews).where(mine).order_by(reviews.c.review_id.desc())
        said = [_review(row, by_uid.get(row.report_uid or "")) for row in connection.execute(query)]
    checks = sorted((each for each in found if each.kind == "check"), key=lambda each: -each.revision)
    return History(revisions=tuple(lines), reviews=tuple(said), checks=tuple(checks))


def reviews_of(services: Services, study_instance_uid: str) -> tuple[ReviewLine, ...]:
    """Return what people said of a study's verdicts, newest first."""
    return history_of(services, study_instance_uid).reviews


def report_file(services: Services, study_instance_uid: str, report_uid: str) -> ReportFile:
    """Return one of a study's reports.

    Raises
    ------
    NotFoundError
        If the study has no such report.
    GoneError
        If its file isn't there any more.
    """
    query = sa.select(reports).where(
        reports.c.sop_instance_uid == report_uid, reports.c.study_instance_uid == study_instance_uid
    )
    row = None
    if may_be_uid(report_uid) and may_be_uid(study_instance_uid):
        with reading(services.engine) as connection:
            row = connection.execute(query).first()
    if row is None:
        raise NotFoundError("The study has no report with this SOP Instance UID.")
    try:
        content = (services.settings.spool_dir / row.path).read_bytes()
    except OSError as error:
        raise GoneError("The report's file is not where it was written.") from error
    return ReportFile(sop_instance_uid=row.sop_instance_uid, content=content)


def _revisions_query(study_instance_uid: str) -> sa.Select[tuple[object, ...]]:
    said = sa.and_(
        verdicts.c.study_instance_uid == revisions.c.study_instance_uid,
        verdicts.c.revision == revisions.c.revision,
        verdicts.c.scope == "study",
    )
    columns = (verdicts.c.verdict, verdicts.c.probability, verdicts.c.images_total, verdicts.c.images_scored)
    return (
        sa.select(revisions, *columns, verdicts.c.reason)
        .select_from(revisions.outerjoin(verdicts, said))
        .where(revisions.c.study_instance_uid == study_instance_uid)
        .order_by(revisions.c.revision.desc())
    )


def _reports(connection: sa.Connection, study_instance_uid: str) -> list[ReportLine]:
    sent: dict[str, list[ListedDelivery]] = {}
    for delivery in listing(connection, study=study_instance_uid):
        sent.setdefault(delivery.report_uid, []).append(delivery)
    rows = connection.execute(sa.select(reports).where(reports.c.study_instance_uid == study_instance_uid))
    return [
        ReportLine(
            sop_instance_uid=row.sop_instance_uid,
            kind=row.kind,
            revision=row.revision,
            created_at=row.created_at,
            sha256=row.sha256,
            deliveries=tuple(sent.get(row.sop_instance_uid, ())),
        )
        for row in rows
    ]


def _revision(row: sa.Row[tuple[object, ...]], report: ReportLine | None) -> RevisionLine:
    return RevisionLine(
        revision=row.revision,
        completed_at=row.completed_at,
        trigger=row.trigger,
        verdict=row.verdict or "",
        probability=row.probability,
        images_total=row.images_total,
        images_scored=row.images_scored,
        reason=row.reason or "",
        assessed=row.state == "assessed",
        report=report,
    )


def _review(row: sa.Row[tuple[object, ...]], report: ReportLine | None) -> ReviewLine:
    return ReviewLine(
        review_id=row.review_id,
        revision=row.revision,
        user_name=row.user_name,
        display_name=row.display_name,
        opinion=row.opinion,
        comment=row.comment,
        created_at=row.created_at,
        state="unreported" if row.state == "reported" and not row.report_uid else row.state,
        report=report,
        problem=row.problem,
        next_attempt_at=row.next_attempt_at,
    )
