"""From scores to verdicts: pool over neighbouring images, calibrate, threshold, abstain."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from medfake_pacs.entities import (
    ImageAttributes,
    ImageFinding,
    Score,
    SeriesVerdict,
    Verdict,
    VerdictLabel,
)
from medfake_pacs.verdict.pooling import Frame, Pool, pools_of
from medfake_pacs.verdict.profile import NOT_CALIBRATED, Limits, Profile

_SEVERITY = (VerdictLabel.NOT_ASSESSED, VerdictLabel.REAL, VerdictLabel.INDETERMINATE, VerdictLabel.FAKE)
_MAXIMUM_REGIONS = 8
LOCALIZER = "localizer image"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessedImage:
    """One received image and what is known of its pixels; ``score`` is None where there is a ``reason``.

    ``conflict`` says how it contradicts another object with the same SOP Instance UID;
    ``conflicting_pixels`` is True unless only their headers differ: such an image can't be called real.
    """

    instance_id: int
    attributes: ImageAttributes
    pixel_sha256: str
    score: Score | None
    reason: str = ""
    conflict: str = ""
    conflicting_pixels: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """One image's finding, and the pooled logit and limits that it comes from; None where it wasn't compared."""

    finding: ImageFinding
    logit: float | None
    limits: Limits | None


def assess_series(images: Sequence[AssessedImage], profile: Profile | None, *, route: str) -> SeriesVerdict:
    """Return the verdict on one series.

    An image that should have been scored and couldn't be keeps its series from being called real: its
    pixels may be damaged on purpose. So does one of a kind that the model isn't calibrated for. Frames
    outside the model's domain aren't pooled; they decide the series only if they are most of it.

    The images are put in the order of their position, then of Instance Number. Every window of
    ``profile.contiguous`` neighbouring scored frames is pooled to the mean of its logits, and the series
    is what its worst window is: one outlying slice among hundreds doesn't make a fake, a nodule that
    spans several does. An image is what the worst window that holds it is. Images that were compressed with loss
    are read by limits of their own; where those differ, they are pooled among themselves too: see ``pools_of``.
    """
    ordered = sorted(images, key=_position)
    pools = pools_of(_frames(ordered), profile) if profile else ()
    judged = [_judge(image, index, pools, profile) for index, image in enumerate(ordered)]
    findings = tuple(item.finding for item in judged)
    probability = max((item.probability for item in findings if item.probability is not None), default=None)
    scored = sum(finding.probability is not None for finding in findings)
    label, reason = _series_label(judged, scored, profile)
    return SeriesVerdict(
        series_instance_uid=ordered[0].attributes.series_instance_uid,
        modality=ordered[0].attributes.modality,
        label=label,
        probability=probability,
        model=profile.identity if profile else None,
        route=route,
        images_total=len(ordered),
        images_scored=scored,
        reason=reason,
        findings=findings,
    )


def assess_study(study_instance_uid: str, revision: int, series: Sequence[SeriesVerdict]) -> Verdict:
    """Return the verdict on a study: that of its worst series, with what could not be assessed named."""
    total = sum(item.images_total for item in series)
    scored = sum(item.images_scored for item in series)
    label = _worst([item.label for item in series])
    reasons = sorted(
        {item.reason for item in series if item.reason and (item.label == label or not item.images_scored)}
    )
    probabilities = [item.probability for item in series if item.probability is not None]
    return Verdict(
        study_instance_uid=study_instance_uid,
        revision=revision,
        label=label,
        probability=max(probabilities, default=None),
        reason="; ".join(reasons),
        images_total=total,
        images_scored=scored,
        series=tuple(sorted(series, key=lambda item: item.series_instance_uid)),
    )


def _position(image: AssessedImage) -> tuple[bool, float, bool, int, int]:
    position, number = image.attributes.slice_position_mm, image.attributes.instance_number
    return (position is None, position or 0.0, number is None, number or 0, image.instance_id)


def _frames(images: Sequence[AssessedImage]) -> list[Frame]:
    """Return the frames that are pooled, in the order of the images."""
    return [
        Frame(image=index, frame_number=item.frame_number, logit=item.score, lossy=image.attributes.lossy)
        for index, image in enumerate(images)
        if image.score is not None
        for item in image.score.frames
        if not item.outside_domain
    ]


def _judge(image: AssessedImage, index: int, pools: Sequence[Pool], profile: Profile | None) -> _Judged:
    """Return what an image is by that of its pools which makes it the most suspicious."""
    judged = [_judge_by(pool, image, index, profile) for pool in pools if index in pool.by_image]
    if not judged:
        return _judge_by(Pool(limits=None), image, index, profile)
    return max(judged, key=lambda item: _SEVERITY.index(item.finding.label))


def _judge_by(pool: Pool, image: AssessedImage, index: int, profile: Profile | None) -> _Judged:
    logit, limits = pool.by_image.get(index), pool.limits
    label, reason = _label_of(image, logit, limits, profile)
    carrying = tuple(
        item
        for item in (image.score.frames if image.score else ())
        if limits and limits.label(pool.by_frame.get((index, item.frame_number), -math.inf)) == label
    )
    if label not in {VerdictLabel.FAKE, VerdictLabel.INDETERMINATE}:
        carrying = ()
    regions = sorted(
        ((item.frame_number, region) for item in carrying for region in item.regions),
        key=lambda pair: pair[1].score,
        reverse=True,
    )
    finding = ImageFinding(
        attributes=image.attributes,
        instance_id=image.instance_id,
        label=label,
        # Without limits the probability isn't one either: it holds for images like those of the calibration.
        probability=profile.probability(logit) if profile and limits and logit is not None else None,
        score=max((item.score for item in image.score.frames), default=None) if image.score else None,
        frame_numbers=tuple(item.frame_number for item in carrying),
        regions=tuple(regions[:_MAXIMUM_REGIONS]),
        reason=reason,
        declared_synthetic=image.attributes.synthetic_data.strip().upper() == "YES",
        conflict=image.conflict,
    )
    return _Judged(finding=finding, logit=logit, limits=limits)


def _label_of(
    image: AssessedImage, logit: float | None, limits: Limits | None, profile: Profile | None
) -> tuple[VerdictLabel, str]:
    if image.score is None or profile is None:
        return VerdictLabel.NOT_ASSESSED, image.reason or "no model assesses this image"
    if logit is None:
        outside = next(
            (item.outside_domain for item in image.score.frames if item.outside_domain), "no frame was scored"
        )
        return VerdictLabel.INDETERMINATE, outside
    if limits is None:
        return VerdictLabel.INDETERMINATE, profile.uncalibrated(lossy=image.attributes.lossy)
    label = limits.label(logit)
    if label is VerdictLabel.REAL and image.conflicting_pixels:
        return VerdictLabel.INDETERMINATE, image.conflict
    return label, profile.undecided([logit], limits) if label is VerdictLabel.INDETERMINATE else ""


def _deciding(judged: Sequence[_Judged], label: VerdictLabel, profile: Profile | None) -> list[str]:
    """Return each reason once of the images that are what their series is."""
    reasons: set[str] = set()
    undecided: dict[Limits, list[float]] = {}
    for item in judged:
        if item.finding.label != label or not item.finding.reason:
            continue
        if profile and item.limits and item.logit is not None and item.limits.label(item.logit) is label:
            undecided.setdefault(item.limits, []).append(item.logit)
        else:
            reasons.add(item.finding.reason)
    if profile:
        reasons |= {profile.undecided(logits, limits) for limits, logits in undecided.items()}
    return sorted(reasons)


def _worst(labels: Sequence[VerdictLabel]) -> VerdictLabel:
    return max(labels, key=_SEVERITY.index)


def _series_label(judged: Sequence[_Judged], scored: int, profile: Profile | None) -> tuple[VerdictLabel, str]:
    """Return what a series is and why, from its images."""
    findings = [item.finding for item in judged]
    unread = [item for item in findings if item.label is VerdictLabel.INDETERMINATE and item.probability is None]
    uncalibrated = [item for item in unread if item.reason.startswith(NOT_CALIBRATED)]
    outside = [item for item in unread if item not in uncalibrated]
    missing = [item for item in findings if item.label is VerdictLabel.NOT_ASSESSED]
    damaged = [item for item in missing if not item.reason.startswith(LOCALIZER)]
    label = _worst([item.label for item in findings if item.probability is not None] or [VerdictLabel.NOT_ASSESSED])
    if label is VerdictLabel.NOT_ASSESSED and unread:
        label = VerdictLabel.INDETERMINATE
    if label is VerdictLabel.REAL and (damaged or uncalibrated or len(outside) > scored):
        label = VerdictLabel.INDETERMINATE
    deciding = _deciding(judged, label, profile)
    groups = (
        (outside, "outside the model's domain"),
        (uncalibrated, "indeterminate"),
        (missing, "not assessed"),
    )
    notes = [
        f"{len(group)} of {len(findings)} images {what}: {'; '.join(sorted({item.reason for item in group}))}"
        for group, what in groups
        if group and scored
    ]
    if notes:
        deciding = [reason for reason in deciding if not any(reason in note for note in notes)]
    return label, "; ".join([*deciding, *notes])
