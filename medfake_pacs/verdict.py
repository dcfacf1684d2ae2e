"""From scores to verdicts: pool over neighbouring images, calibrate, threshold, abstain. Pure functions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from medfake_pacs.entities import (
    ImageAttributes,
    ImageFinding,
    ModelIdentity,
    Score,
    SeriesVerdict,
    Verdict,
    VerdictLabel,
)

_SEVERITY = (VerdictLabel.NOT_ASSESSED, VerdictLabel.REAL, VerdictLabel.INDETERMINATE, VerdictLabel.FAKE)
_MAXIMUM_REGIONS = 8
LOCALIZER = "localizer image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How one model's scores are to be read; from its card.

    ``contiguous`` neighbouring images are pooled; a pooled logit x means the probability
    ``sigmoid(slope * x + intercept)``, which is real up to ``real_below`` and fake from ``fake_above``.
    """

    identity: ModelIdentity
    contiguous: int
    slope: float
    intercept: float
    real_below: float
    fake_above: float

    def probability(self, logit: float) -> float:
        """Return the calibrated probability of fake for a pooled logit."""
        z = self.slope * logit + self.intercept
        return 1.0 / (1.0 + math.exp(-z)) if z >= 0 else math.exp(z) / (1.0 + math.exp(z))

    def label(self, probability: float) -> VerdictLabel:
        """Return what a probability of fake amounts to."""
        if probability >= self.fake_above:
            return VerdictLabel.FAKE
        return VerdictLabel.REAL if probability <= self.real_below else VerdictLabel.INDETERMINATE


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
class _Frame:
    """One scored frame in the order of the series."""

    image: int
    frame_number: int
    logit: float


@dataclass(slots=True, kw_only=True)
class _Pooled:
    """The highest pooled probability that each image, and each of its frames, takes part in."""

    by_image: dict[int, float] = field(default_factory=dict)
    by_frame: dict[tuple[int, int], float] = field(default_factory=dict)

    def take(self, frame: _Frame, probability: float) -> None:
        key = (frame.image, frame.frame_number)
        self.by_frame[key] = max(probability, self.by_frame.get(key, 0.0))
        self.by_image[frame.image] = max(probability, self.by_image.get(frame.image, 0.0))


def assess_series(images: Sequence[AssessedImage], profile: Profile | None, *, route: str) -> SeriesVerdict:
    """Return the verdict on one series.

    An image that should have been scored and couldn't be keeps its series from being called real: its
    pixels may be damaged on purpose. Frames outside the model's domain aren't pooled; they decide the
    series only if they are most of it.

    The images are put in the order of their position, then of Instance Number. Every window of
    ``profile.contiguous`` neighbouring scored frames is pooled to the mean of its logits, and the series
    is what its worst window is: one outlying slice among hundreds doesn't make a fake, a nodule that
    spans several does. An image is what the worst window that holds it is.
    """
    ordered = sorted(images, key=_position)
    frames = [
        _Frame(image=index, frame_number=item.frame_number, logit=item.score)
        for index, image in enumerate(ordered)
        if image.score is not None
        for item in image.score.frames
        if not item.outside_domain
    ]
    pooled = _pool(frames, profile) if profile else _Pooled()
    findings = tuple(_finding(image, index, pooled, profile) for index, image in enumerate(ordered))
    probability = max(pooled.by_image.values(), default=None)
    scored = sum(finding.probability is not None for finding in findings)
    label, reason = _series_label(findings, scored, profile)
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


def _pool(frames: Sequence[_Frame], profile: Profile) -> _Pooled:
    pooled = _Pooled()
    width = min(profile.contiguous, len(frames))
    for start in range(len(frames) - width + 1 if frames else 0):
        window = frames[start : start + width]
        probability = profile.probability(math.fsum(frame.logit for frame in window) / width)
        for frame in window:
            pooled.take(frame, probability)
    return pooled


def _finding(image: AssessedImage, index: int, pooled: _Pooled, profile: Profile | None) -> ImageFinding:
    probability = pooled.by_image.get(index)
    label, reason = _label_of(image, probability, profile)
    carrying = tuple(
        item
        for item in (image.score.frames if image.score else ())
        if profile and profile.label(pooled.by_frame.get((index, item.frame_number), 0.0)) == label
    )
    if label not in {VerdictLabel.FAKE, VerdictLabel.INDETERMINATE}:
        carrying = ()
    regions = sorted(
        ((item.frame_number, region) for item in carrying for region in item.regions),
        key=lambda pair: pair[1].score,
        reverse=True,
    )
    return ImageFinding(
        attributes=image.attributes,
        instance_id=image.instance_id,
        label=label,
        probability=probability,
        score=max((item.score for item in image.score.frames), default=None) if image.score else None,
        frame_numbers=tuple(item.frame_number for item in carrying),
        regions=tuple(regions[:_MAXIMUM_REGIONS]),
        reason=reason,
        declared_synthetic=image.attributes.synthetic_data.strip().upper() == "YES",
        conflict=image.conflict,
    )


def _label_of(image: AssessedImage, probability: float | None, profile: Profile | None) -> tuple[VerdictLabel, str]:
    if image.score is None or profile is None:
        return VerdictLabel.NOT_ASSESSED, image.reason or "no model assesses this image"
    if probability is None:
        outside = next(
            (item.outside_domain for item in image.score.frames if item.outside_domain), "no frame was scored"
        )
        return VerdictLabel.INDETERMINATE, outside
    label = profile.label(probability)
    if label is VerdictLabel.REAL and image.conflicting_pixels:
        return VerdictLabel.INDETERMINATE, image.conflict
    if label is VerdictLabel.INDETERMINATE:
        return label, _between([probability], profile)
    return label, ""


def _between(probabilities: Sequence[float], profile: Profile) -> str:
    """Say that these lie between the thresholds: the only one, or the lowest and the highest."""
    thresholds = f"between {profile.real_below:.3f} and {profile.fake_above:.3f}"
    lowest, highest = f"{min(probabilities):.3f}", f"{max(probabilities):.3f}"
    if lowest == highest:
        return f"probability {lowest} lies {thresholds}"
    return f"probabilities from {lowest} to {highest} lie {thresholds}"


def _deciding(findings: Sequence[ImageFinding], label: VerdictLabel, profile: Profile | None) -> list[str]:
    """Return each reason once of the images that are what their series is."""
    reasons, between = set(), []
    for item in findings:
        if item.label != label or not item.reason:
            continue
        if profile and item.probability is not None and item.reason == _between([item.probability], profile):
            between.append(item.probability)
        else:
            reasons.add(item.reason)
    return sorted(reasons | ({_between(between, profile)} if profile and between else set()))


def _worst(labels: Sequence[VerdictLabel]) -> VerdictLabel:
    return max(labels, key=_SEVERITY.index)


def _series_label(findings: Sequence[ImageFinding], scored: int, profile: Profile | None) -> tuple[VerdictLabel, str]:
    """Return what a series is and why, from its images."""
    outside = [item for item in findings if item.label is VerdictLabel.INDETERMINATE and item.probability is None]
    missing = [item for item in findings if item.label is VerdictLabel.NOT_ASSESSED]
    damaged = [item for item in missing if not item.reason.startswith(LOCALIZER)]
    label = _worst([item.label for item in findings if item.probability is not None] or [VerdictLabel.NOT_ASSESSED])
    if label is VerdictLabel.NOT_ASSESSED and outside:
        label = VerdictLabel.INDETERMINATE
    if label is VerdictLabel.REAL and (damaged or len(outside) > scored):
        label = VerdictLabel.INDETERMINATE
    deciding = _deciding(findings, label, profile)
    notes = [
        f"{len(group)} of {len(findings)} images {what}: {'; '.join(sorted({item.reason for item in group}))}"
        for group, what in ((outside, "outside the model's domain"), (missing, "not assessed"))
        if group and scored
    ]
    if notes:
        deciding = [reason for reason in deciding if not any(reason in note for note in notes)]
    return label, "; ".join([*deciding, *notes])
