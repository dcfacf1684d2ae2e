"""The images of a study: its series with their verdicts, what the viewer shows, what carries the finding."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import sqlalchemy as sa

from medfake_pacs.console.queries.study import StudyFacts
from medfake_pacs.console.rendering.frame_list import ViewerFrame, regions_by_frame
from medfake_pacs.console.services import Services
from medfake_pacs.database import reading
from medfake_pacs.database.tables import instances
from medfake_pacs.entities import ImageFinding, SeriesVerdict, Verdict, VerdictLabel

# More frames than these the viewer isn't told of at once.
MAX_FRAMES = 4000
NOT_KEPT = "not kept any more"
_CARRYING = (VerdictLabel.FAKE, VerdictLabel.INDETERMINATE)
_SEVERITY = (VerdictLabel.NOT_ASSESSED, VerdictLabel.REAL, VerdictLabel.INDETERMINATE, VerdictLabel.FAKE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesLine:
    """One series: what has come of it, and its part in the newest verdict (None: it has none yet)."""

    series_instance_uid: str
    modality: str
    description: str
    images: int
    verdict: SeriesVerdict | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CarryingImage:
    """One frame that carries the finding; ``note`` is its verdict in a few words."""

    instance_id: int
    frame: int
    label: str
    verdict: str
    probability: float | None
    reason: str
    series_instance_uid: str
    is_kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSeries:
    """What the viewer shows: the frames of one series in order, and which of them at first."""

    series_instance_uid: str
    frames: tuple[ViewerFrame, ...]
    start: int
    left_out: int
    not_kept: int


def series_of(services: Services, study: StudyFacts) -> list[SeriesLine]:
    """Return the study's series, those that carry the finding first."""
    query = (
        sa.select(
            instances.c.series_instance_uid,
            sa.func.min(instances.c.modality),
            sa.func.min(instances.c.series_description),
            sa.func.count(),
            sa.func.min(instances.c.instance_id),
        )
        .where(instances.c.study_instance_uid == study.study_instance_uid)
        .group_by(instances.c.series_instance_uid)
        .order_by(sa.func.min(instances.c.instance_id))
    )
    known = {series.series_instance_uid: series for series in study.verdict.series} if study.verdict else {}
    with reading(services.engine) as connection:
        lines = [
            SeriesLine(
                series_instance_uid=uid,
                modality=modality,
                description=description,
                images=count,
                verdict=known.get(uid),
            )
            for uid, modality, description, count, _ in connection.execute(query)
        ]
    return sorted(lines, key=_weight, reverse=True)


def carrying(services: Services, verdict: Verdict, limit: int) -> tuple[list[CarryingImage], int]:
    """Return the frames that carry a finding, the strongest first, at most ``limit``; and how many there are."""
    found = [
        (finding, frame)
        for series in verdict.series
        for finding in series.findings
        if finding.label in _CARRYING and finding.probability is not None
        for frame in (finding.frame_numbers or (1,))
    ]
    found.sort(key=lambda pair: _strength(pair[0]), reverse=True)
    kept = _kept(services, {finding.instance_id for finding, _ in found[:limit]})
    images = [
        CarryingImage(
            instance_id=finding.instance_id,
            frame=frame,
            label=_label(finding.attributes.instance_number, finding.attributes.number_of_frames, frame),
            verdict=str(finding.label),
            probability=finding.probability,
            reason=finding.reason,
            series_instance_uid=finding.attributes.series_instance_uid,
            is_kept=finding.instance_id in kept,
        )
        for finding, frame in found[:limit]
    ]
    return images, len(found)


def shown_series(
    services: Services, study: StudyFacts, series_instance_uid: str, instance_id: int | None, frame: int
) -> ShownSeries | None:
    """Return what the viewer shows of a series, beginning with one frame, or else with what carries the finding.

    None if the study has no such series.
    """
    columns = (
        instances.c.instance_id,
        instances.c.instance_number,
        instances.c.slice_position_mm,
        instances.c.number_of_frames,
        instances.c.path,
    )
    query = sa.select(*columns).where(
        instances.c.study_instance_uid == study.study_instance_uid,
        instances.c.series_instance_uid == series_instance_uid,
    )
    with reading(services.engine) as connection:
        rows = sorted(connection.execute(query), key=_position)
    if not rows:
        return None
    findings = _findings(study, series_instance_uid)
    kept = {row.instance_id for row in rows if (services.settings.spool_dir / row.path).is_file()}
    counts = [max(1, row.number_of_frames) for row in rows]
    firsts = list(accumulate(counts, initial=0))
    places = {row.instance_id: (first, count) for row, first, count in zip(rows, firsts, counts, strict=False)}
    start = _start(places, firsts[-1], {key: each for key, each in findings.items() if key in kept}, instance_id, frame)
    first = max(0, min(start - MAX_FRAMES // 2, firsts[-1] - MAX_FRAMES))
    frames = [
        each
        for row, (begin, count) in zip(rows, places.values(), strict=True)
        for each in _frames(
            row, findings.get(row.instance_id), row.instance_id in kept, _numbers_within(first, begin, count)
        )
    ]
    return ShownSeries(
        series_instance_uid=series_instance_uid,
        frames=tuple(frames),
        start=start - first,
        left_out=max(0, firsts[-1] - MAX_FRAMES),
        not_kept=len(rows) - len(kept),
    )


def first_series(lines: Sequence[SeriesLine]) -> str:
    """Return the series to show when nobody asked for one: they are sorted so; empty if there is none."""
    return lines[0].series_instance_uid if lines else ""


def series_with(services: Services, study_instance_uid: str, instance_id: int) -> str:
    """Return the series that an image of the study is of; empty if the study has no such image."""
    if not 0 < instance_id < 2**63:
        return ""
    query = sa.select(instances.c.series_instance_uid).where(
        instances.c.instance_id == instance_id, instances.c.study_instance_uid == study_instance_uid
    )
    with reading(services.engine) as connection:
        return connection.execute(query).scalar_one_or_none() or ""


def _kept(services: Services, instance_ids: Collection[int]) -> set[int]:
    """Return those of some images whose files are still there."""
    query = sa.select(instances.c.instance_id, instances.c.path).where(instances.c.instance_id.in_(instance_ids))
    with reading(services.engine) as connection:
        rows = connection.execute(query).all()
    return {row.instance_id for row in rows if (services.settings.spool_dir / row.path).is_file()}


def _weight(line: SeriesLine) -> tuple[int, float]:
    if line.verdict is None:
        return -1, 0.0
    return _SEVERITY.index(line.verdict.label), line.verdict.probability or 0.0


def _strength(finding: ImageFinding) -> tuple[int, float, float]:
    return _SEVERITY.index(finding.label), finding.probability or 0.0, finding.score or 0.0


def _position(row: sa.Row[tuple[object, ...]]) -> tuple[bool, float, bool, int, int]:
    """Order images as the verdict does: by position, then by Instance Number."""
    position, number = row.slice_position_mm, row.instance_number
    return (position is None, position or 0.0, number is None, number or 0, row.instance_id)


def _findings(study: StudyFacts, series_instance_uid: str) -> dict[int, ImageFinding]:
    series = study.verdict.series if study.verdict else ()
    return {
        finding.instance_id: finding
        for each in series
        if each.series_instance_uid == series_instance_uid
        for finding in each.findings
    }


def _numbers_within(first: int, begin: int, count: int) -> range:
    """Return the numbers of those of an image's ``count`` frames, from place ``begin`` on, that are shown."""
    return range(max(1, first - begin + 1), min(count, first - begin + MAX_FRAMES) + 1)


def _frames(
    row: sa.Row[tuple[object, ...]], finding: ImageFinding | None, is_kept: bool, numbers: range
) -> Iterator[ViewerFrame]:
    """Yield the frames of an image with these numbers; an image may declare more than two thousand million."""
    regions = regions_by_frame(finding) if finding and numbers else {}
    carrying = frozenset(finding.frame_numbers) if finding and numbers else frozenset()
    for number in numbers:
        carries = finding is not None and (not carrying or number in carrying)
        yield ViewerFrame(
            base=f"/images/{row.instance_id}",
            frame=number,
            label=_label(row.instance_number, row.number_of_frames, number),
            heat=is_kept and finding is not None and finding.probability is not None,
            kept=is_kept,
            regions=regions.get(number, ()),
            note=", ".join(filter(None, (_note(finding) if finding and carries else "", "" if is_kept else NOT_KEPT))),
        )


def _label(instance_number: int | None, number_of_frames: int, frame: int) -> str:
    label = "Image without number" if instance_number is None else f"Image {instance_number}"
    return f"{label}, frame {frame}" if number_of_frames > 1 else label


def _note(finding: ImageFinding) -> str:
    parts = [str(finding.label)]
    if finding.probability is not None:
        parts.append(f"probability of fake {finding.probability:.3f}")
    if finding.declared_synthetic:
        parts.append("declared synthetic")
    if finding.conflict:
        parts.append("conflicting instance")
    if finding.label is VerdictLabel.NOT_ASSESSED and finding.reason:
        parts.append(finding.reason)
    return ", ".join(parts)


def _start(
    places: Mapping[int, tuple[int, int]],
    total: int,
    findings: dict[int, ImageFinding],
    instance_id: int | None,
    frame: int,
) -> int:
    """Return the place of the frame that was asked for, or of the strongest finding, or the middle.

    ``places`` has the place of each image's first frame and how many it has; there are ``total``.
    """
    if instance_id is None:
        candidates = [finding for finding in findings.values() if finding.label in _CARRYING]
        strongest = max(candidates, key=_strength, default=None)
        if strongest is None:
            return total // 2
        instance_id, frame = strongest.instance_id, next(iter(strongest.frame_numbers), 1)
    first, count = places.get(instance_id, (0, 0))
    return first + frame - 1 if 1 <= frame <= count else 0
