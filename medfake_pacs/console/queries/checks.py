"""What pages and API show of checks; everyone sees their own, administrators any."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from medfake_pacs.console.errors import GoneError, NotFoundError
from medfake_pacs.console.queries.check_models import model_name
from medfake_pacs.console.security.known import Identity
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import Services
from medfake_pacs.database import reading
from medfake_pacs.database.console_tables import check_files, checks, users
from medfake_pacs.database.tables import scores
from medfake_pacs.entities import FrameScore, ImageFinding, SeriesVerdict, Verdict, VerdictLabel
from medfake_pacs.workflows.rows import score_from_row

PAGE_ROWS = 25
UNFINISHED = frozenset({"waiting", "running"})
_VERDICTS: TypeAdapter[list[Verdict]] = TypeAdapter(list[Verdict])
_SEVERITY = (VerdictLabel.NOT_ASSESSED, VerdictLabel.REAL, VerdictLabel.INDETERMINATE, VerdictLabel.FAKE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow:
    """A check in a list; ``names`` begins with its first file."""

    check_id: str
    created_at: float
    state: str
    verdict: str
    probability: float | None
    images_total: int
    images_done: int
    model: str
    first_name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPage:
    """One page of a list, newest first; cursors are empty where there is nothing further."""

    rows: tuple[CheckRow, ...]
    older: str
    newer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFile:
    """One file of a check; ``path`` is where it lies."""

    file_id: int
    name: str
    kind: str
    path: Path
    size_bytes: int
    sha256: str
    sop_instance_uid: str
    pixel_sha256: str
    model_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownImage:
    """One image of a result: its file, its finding, and the series that it is of."""

    file: CheckFile
    finding: ImageFinding
    series: SeriesVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check with all that is known of it; ``studies`` and ``reports`` are empty until it is done."""

    check_id: str
    user_id: int
    user_name: str
    created_at: float
    started_at: float | None
    finished_at: float | None
    expired_at: float | None
    state: str
    model: str
    model_name: str
    images_total: int
    images_done: int
    verdict: str
    probability: float | None
    reason: str
    left_out: tuple[Mapping[str, str], ...]
    files: Mapping[int, CheckFile]
    studies: tuple[Verdict, ...]
    reports: tuple[Mapping[str, Any], ...]
    report_path: Path | None

    @property
    def is_finished(self) -> bool:
        """Tell whether nothing more happens to it by itself."""
        return self.state not in UNFINISHED

    @property
    def images_scored(self) -> int:
        """How many of its images a model has scored."""
        return sum(study.images_scored for study in self.studies)

    @property
    def releasable(self) -> tuple[Mapping[str, Any], ...]:
        """The reports that may be sent to a destination: those on objects, not on pictures."""
        return tuple(report for report in self.reports if not report["of_pictures"])

    def images(self) -> list[ShownImage]:
        """Return every image with its finding, those first that speak most for fake."""
        shown = [
            ShownImage(file=self.files[finding.instance_id], finding=finding, series=series)
            for study in self.studies
            for series in study.series
            for finding in series.findings
            if finding.instance_id in self.files
        ]
        return sorted(shown, key=_rank)


def _rank(image: ShownImage) -> tuple[int, float, float, int]:
    finding = image.finding
    return (
        -_SEVERITY.index(finding.label),
        -(finding.probability or 0.0),
        -(finding.score or 0.0),
        finding.instance_id,
    )


def own_checks(services: Services, identity: Identity, *, before: str = "", after: str = "") -> CheckPage:
    """Return a page of an account's checks, newest first, from behind the cursor ``before`` or up to ``after``."""
    query = sa.select(checks, _first_name()).where(checks.c.user_id == identity.user_id, checks.c.state != "uploading")
    backwards = bool(after) and not before
    place = _place(before or after)
    key = sa.tuple_(checks.c.created_at, checks.c.check_id)
    if place:
        query = query.where(key > sa.tuple_(*place) if backwards else key < sa.tuple_(*place))
    order = (checks.c.created_at, checks.c.check_id)
    query = query.order_by(*(order if backwards else (column.desc() for column in order))).limit(PAGE_ROWS + 1)
    with reading(services.engine) as connection:
        found = connection.execute(query).all()
    more = len(found) > PAGE_ROWS
    rows = found[:PAGE_ROWS]
    if backwards:
        rows = rows[::-1]
    return CheckPage(
        rows=tuple(_row(row) for row in rows),
        older=_cursor(rows[-1]) if rows and (more or backwards) else "",
        newer=_cursor(rows[0]) if rows and ((place and not backwards) or (backwards and more)) else "",
    )


def check_of(services: Services, identity: Identity, check_id: str) -> Check:
    """Return a check that this account may see.

    Raises
    ------
    NotFoundError
        If there is none, or it is another's; nobody learns which.
    """
    query = sa.select(checks, users.c.user_name).join_from(checks, users).where(checks.c.check_id == check_id)
    files = sa.select(check_files).where(check_files.c.check_id == check_id).order_by(check_files.c.file_id)
    with reading(services.engine) as connection:
        row = connection.execute(query).one_or_none()
        if row is None or row.state == "uploading" or not _may_see(identity, row.user_id):
            raise NotFoundError("There is no such check among yours. It may belong to another account.")
        found = connection.execute(files).all()
    detail = row.detail or {}
    return Check(
        **{name: row._mapping[name] for name in _COPIED},
        model_name=model_name(row.model),
        left_out=tuple(row.left_out or ()),
        files={item.file_id: _file(services, item) for item in found},
        studies=tuple(_VERDICTS.validate_python(detail.get("studies", []))),
        reports=tuple(detail.get("reports", ())),
        report_path=services.settings.spool_dir / row.report_path if row.report_path else None,
    )


def file_of(services: Services, identity: Identity, check_id: str, file_id: int) -> CheckFile:
    """Return one file of a check that this account may see, while it is kept.

    Raises
    ------
    NotFoundError
        If there is none.
    GoneError
        If its retention is over.
    """
    query = (
        sa.select(check_files, checks.c.user_id, checks.c.expired_at)
        .join_from(check_files, checks)
        .where(check_files.c.check_id == check_id, check_files.c.file_id == file_id, checks.c.state != "uploading")
    )
    with reading(services.engine) as connection:
        row = connection.execute(query).one_or_none()
    if row is None or not _may_see(identity, row.user_id):
        raise NotFoundError("There is no such file in a check of yours.")
    if row.expired_at is not None:
        raise GoneError("The uploaded files were deleted; the result is still here.")
    return _file(services, row)


def frame_scores(services: Services, file: CheckFile) -> Mapping[int, FrameScore]:
    """Return the scores of an image's frames by frame number; empty where it wasn't scored."""
    if not file.pixel_sha256 or not file.model_sha256:
        return {}
    mine = (scores.c.pixel_sha256 == file.pixel_sha256, scores.c.model_sha256 == file.model_sha256)
    with reading(services.engine) as connection:
        row = connection.execute(sa.select(scores).where(*mine)).one_or_none()
    return {frame.frame_number: frame for frame in score_from_row(row).frames} if row else {}


_COPIED = (
    "check_id", "user_id", "user_name", "created_at", "started_at", "finished_at", "expired_at", "state", "model",
    "images_total", "images_done", "verdict", "probability", "reason",
)  # fmt: skip


def _may_see(identity: Identity, user_id: int) -> bool:
    return identity.user_id == user_id or Permission.ACCOUNTS_MANAGE in identity.permissions


def _file(services: Services, row: sa.Row) -> CheckFile:
    return CheckFile(
        file_id=row.file_id,
        name=row.name,
        kind=row.kind,
        path=services.settings.spool_dir / row.path,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        sop_instance_uid=row.sop_instance_uid,
        pixel_sha256=row.pixel_sha256 or "",
        model_sha256=row.model_sha256 or "",
    )


def _first_name() -> sa.Label[str]:
    query = sa.select(check_files.c.name).where(check_files.c.check_id == checks.c.check_id)
    return query.order_by(check_files.c.file_id).limit(1).scalar_subquery().label("first_name")


def _row(row: sa.Row) -> CheckRow:
    return CheckRow(
        check_id=row.check_id,
        created_at=row.created_at,
        state=row.state,
        verdict=row.verdict,
        probability=row.probability,
        images_total=row.images_total,
        images_done=row.images_done,
        model=model_name(row.model),
        first_name=row.first_name or "",
        reason=row.reason,
    )


def _cursor(row: sa.Row) -> str:
    return f"{row.created_at!r}-{row.check_id}"


def _place(cursor: str) -> Sequence[Any] | None:
    """Return what a cursor stands for; None for none, or one that isn't ours."""
    when, _, check_id = cursor.partition("-")
    try:
        return (float(when), check_id) if check_id else None
    except ValueError:
        return None
