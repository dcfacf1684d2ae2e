"""Measurement groups: what is said of the study, a series or an image (TID 1501) and of a region (TID 1410)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

from medfake_pacs.entities import ImageFinding, ModelIdentity, Region, SeriesVerdict, Verdict, VerdictLabel
from medfake_pacs.report import content, sanitise, scheme, wording
from medfake_pacs.report.content import Item
from medfake_pacs.report.frames import has_frames
from medfake_pacs.report.scheme import Concept
from medfake_pacs.report.uids import derive_uid

MEASUREMENT_GROUP = Concept("125007", "DCM", "Measurement Group")
TRACKING_IDENTIFIER = Concept("112039", "DCM", "Tracking Identifier")
TRACKING_UID = Concept("112040", "DCM", "Tracking Unique Identifier")
FINDING = Concept("121071", "DCM", "Finding")
COMMENT = Concept("121106", "DCM", "Comment")
IMAGE_REGION = Concept("111030", "DCM", "Image Region")
ALGORITHM_NAME = Concept("111001", "DCM", "Algorithm Name")
ALGORITHM_VERSION = Concept("111003", "DCM", "Algorithm Version")
ALGORITHM_PARAMETERS = Concept("111002", "DCM", "Algorithm Parameters")
ALGORITHM_FAMILY = Concept("111000", "DCM", "Algorithm Family")
ARTIFICIAL_INTELLIGENCE = Concept("123110", "DCM", "Artificial Intelligence")
_MODEL_DIGEST = "SHA-256 of the model (weights, network, preprocessing, calibration)"
_PARAMETER_NAMES = {
    "weights_sha256": "SHA-256 of the weights file",
    "calibration_sha256": "SHA-256 of the model with its thresholds",
}
_IMAGE_GROUP, _REGION_GROUP = "1501", "1410"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """What one measurement group says, before it is encoded."""

    name: str
    tracking: tuple[object, ...]
    label: VerdictLabel
    probability: float | None = None
    score: float | None = None
    counts: tuple[tuple[Concept, int], ...] = ()
    evaluations: tuple[tuple[Concept, Concept], ...] = ()
    comment: str = ""
    sources: tuple[Item, ...] = ()
    model: ModelIdentity | None = None
    template: str = _IMAGE_GROUP


class GroupBuilder:
    """Builds the groups of one report; tracking UIDs are derived from the study's UID under ``uid_root``."""

    def __init__(self, verdict: Verdict, uid_root: str, series_labels: Sequence[str]) -> None:
        self._verdict = verdict
        self._uid_root = uid_root
        self._series_labels = series_labels
        self._algorithms: dict[str, list[Item]] = {}
        self._occurrences: dict[str, int] = {}

    def build(self) -> Iterator[Item]:
        """Yield the study's group, then each series' group followed by those of its images and regions."""
        yield self._encode(_study_group(self._verdict))
        for label, series in zip(self._series_labels, self._verdict.series, strict=True):
            yield self._encode(_series_group(label, series))
            for reason, findings in wording.unassessed_by_reason(series).items():
                yield self._encode(_unassessed_group(label, series, reason, findings))
            for finding in filter(wording.is_mentioned, series.findings):
                yield from self._image_groups(label, series, finding)

    def _image_groups(self, label: str, series: SeriesVerdict, finding: ImageFinding) -> Iterator[Item]:
        uid = finding.attributes.sop_instance_uid
        occurrence = self._occurrences.get(uid, 0)
        self._occurrences[uid] = occurrence + 1
        yield self._encode(_image_group(label, series, finding, occurrence))
        for number in range(1, len(finding.regions) + 1):
            yield self._encode(_region_group(label, series, finding, (occurrence, number)))

    def _encode(self, group: _Group) -> Item:
        items = [
            content.text(content.HAS_OBS_CONTEXT, TRACKING_IDENTIFIER, group.name),
            content.uidref(content.HAS_OBS_CONTEXT, TRACKING_UID, self._tracking_uid(group)),
            content.code(content.CONTAINS, FINDING, scheme.AUTHENTICITY),
            content.code(content.CONTAINS, scheme.ASSESSMENT, scheme.LABELS[group.label]),
        ]
        items += [content.code(content.CONTAINS, name, value) for name, value in group.evaluations]
        items += list(_numbers(group))
        if group.comment:
            items.append(content.text(content.CONTAINS, COMMENT, group.comment))
        items += group.sources
        if group.model is not None:
            items += self._algorithm(group.model)
        return content.container(content.CONTAINS, MEASUREMENT_GROUP, items, template=group.template)

    def _tracking_uid(self, group: _Group) -> str:
        return derive_uid(self._uid_root, "tracking", self._verdict.study_instance_uid, *group.tracking)

    def _algorithm(self, model: ModelIdentity) -> list[Item]:
        if model.sha256 not in self._algorithms:
            self._algorithms[model.sha256] = list(algorithm_identification(model))
        return self._algorithms[model.sha256]


def algorithm_identification(model: ModelIdentity) -> Iterator[Item]:
    """Yield the items that say which model it was and how it was set (TID 4019)."""
    yield content.text(content.HAS_CONCEPT_MOD, ALGORITHM_NAME, sanitise.paragraph(model.name) or "unnamed")
    yield content.text(content.HAS_CONCEPT_MOD, ALGORITHM_VERSION, sanitise.paragraph(model.version) or "unknown")
    parameters = {_PARAMETER_NAMES.get(name, name): value for name, value in sorted(model.parameters.items())}
    for name, value in {**parameters, _MODEL_DIGEST: model.sha256}.items():
        yield content.text(content.HAS_CONCEPT_MOD, ALGORITHM_PARAMETERS, sanitise.paragraph(f"{name} = {value}"))
    yield content.code(content.HAS_CONCEPT_MOD, ALGORITHM_FAMILY, ARTIFICIAL_INTELLIGENCE)


def _numbers(group: _Group) -> Iterator[Item]:
    if group.probability is not None and isfinite(group.probability):
        yield content.number(scheme.PROBABILITY_OF_FAKE, group.probability, content.NO_UNITS)
    if group.score is not None and isfinite(group.score):
        yield content.number(scheme.MODEL_SCORE, group.score, content.NO_UNITS)
    for name, count in group.counts:
        yield content.number(name, count, content.IMAGES_UNIT)


def _study_group(verdict: Verdict) -> _Group:
    findings = [finding for series in verdict.series for finding in series.findings]
    models = {series.model.sha256: series.model for series in verdict.series if series.model}
    return _Group(
        name="Study",
        tracking=("study",),
        label=verdict.label,
        probability=verdict.probability,
        counts=_counts(verdict.images_scored, verdict.images_total, findings),
        evaluations=_evaluations(wording.reason_concepts(verdict.series, verdict.label), findings),
        comment=wording.study_comment(verdict),
        # Without source images a group speaks of all the images of the report (TID 1501).
        model=next(iter(models.values())) if len(models) == 1 else None,
    )


def _series_group(label: str, series: SeriesVerdict) -> _Group:
    return _Group(
        name=wording.series_name(label, series),
        tracking=("series", series.series_instance_uid),
        label=series.label,
        probability=series.probability,
        counts=_counts(series.images_scored, series.images_total, series.findings),
        evaluations=_evaluations(wording.reason_concepts([series], series.label), series.findings),
        comment=wording.series_comment(series),
        sources=_references(series.findings),
        model=series.model,
    )


def _unassessed_group(label: str, series: SeriesVerdict, reason: str, findings: Sequence[ImageFinding]) -> _Group:
    comment = sanitise.paragraph(f"Reason: {reason}") if reason else ""
    return _Group(
        name=f"Images not assessed of series {label}",
        tracking=("not assessed", series.series_instance_uid, reason),
        label=VerdictLabel.NOT_ASSESSED,
        counts=((scheme.IMAGES_TOTAL, len(findings)),),
        evaluations=_evaluations(filter(None, [wording.reason_concept(series, findings[0])]), findings),
        comment=comment,
        sources=_references(findings),
        model=series.model,
    )


def _image_group(label: str, series: SeriesVerdict, finding: ImageFinding, occurrence: int) -> _Group:
    return _Group(
        name=wording.image_name(label, finding, occurrence),
        tracking=("image", finding.attributes.sop_instance_uid, occurrence),
        label=finding.label,
        probability=finding.probability,
        score=finding.score,
        evaluations=_evaluations(filter(None, [wording.reason_concept(series, finding)]), [finding]),
        comment=wording.image_comment(finding),
        # The outlines are here too, for readers that look no further than TID 1501 (rows 10c and 10d).
        sources=(
            _reference(finding, finding.frame_numbers),
            *(_outline(finding, frame, region) for frame, region in finding.regions),
        ),
        model=series.model,
    )


def _region_group(label: str, series: SeriesVerdict, finding: ImageFinding, place: tuple[int, int]) -> _Group:
    number = place[1]
    frame, region = finding.regions[number - 1]
    return _Group(
        name=wording.region_name(label, finding, *place),
        tracking=("region", finding.attributes.sop_instance_uid, *place),
        label=finding.label,
        score=region.score,
        sources=(_outline(finding, frame, region),),
        model=series.model,
        template=_REGION_GROUP,
    )


def _outline(finding: ImageFinding, frame: int, region: Region) -> Item:
    left, top = float(max(region.x, 0)), float(max(region.y, 0))
    right, bottom = left + max(region.width, 1), top + max(region.height, 1)
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return content.polyline(IMAGE_REGION, corners, _reference(finding, (frame,), content.SELECTED_FROM, content.SOURCE))


def _counts(scored: int, total: int, findings: Sequence[ImageFinding]) -> tuple[tuple[Concept, int], ...]:
    fake = sum(finding.label == VerdictLabel.FAKE for finding in findings)
    return ((scheme.IMAGES_TOTAL, total), (scheme.IMAGES_ASSESSED, scored), (scheme.IMAGES_FAKE, fake))


def _evaluations(reasons: Iterable[Concept], findings: Sequence[ImageFinding]) -> tuple[tuple[Concept, Concept], ...]:
    evaluations = [(scheme.REASON, reason) for reason in reasons]
    if any(finding.declared_synthetic for finding in findings):
        evaluations.append((scheme.DECLARATION, scheme.DECLARED_SYNTHETIC))
    if any(finding.conflict for finding in findings):
        evaluations.append((scheme.INTEGRITY, scheme.CONFLICTING_INSTANCE))
    return tuple(evaluations)


def _references(findings: Iterable[ImageFinding]) -> tuple[Item, ...]:
    """Refer to each image once, also where two objects came under one UID."""
    once = {finding.attributes.sop_instance_uid: finding for finding in findings}
    return tuple(_reference(finding) for finding in once.values())


def _reference(
    finding: ImageFinding,
    frames: Sequence[int] = (),
    relationship: str = content.CONTAINS,
    purpose: Concept = content.SOURCE_OF_MEASUREMENT,
) -> Item:
    attributes = finding.attributes
    shown = frames if has_frames(attributes) else ()
    return content.image(relationship, purpose, attributes.sop_class_uid, attributes.sop_instance_uid, shown)
