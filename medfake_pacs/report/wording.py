"""The sentences of a report, as a radiologist reads them in a viewer, and the choice of reason codes."""

from collections.abc import Mapping, Sequence

from medfake_pacs.entities import ImageFinding, SeriesVerdict, Verdict, VerdictLabel
from medfake_pacs.prevalence import AtPrevalence, of_series, of_study
from medfake_pacs.report import sanitise, scheme
from medfake_pacs.report.scheme import Concept

DISCLAIMER = "Made by software, not verified by a person. For research use only, not for diagnosis."
# How the reason begins that is given for images which no route means to have assessed.
LOCALIZER = "localizer image"
# How the reason begins that is given for images of a kind that the model has no thresholds for.
NOT_CALIBRATED = "not calibrated"
_MAX_NAME = 200


def series_name(label: str, series: SeriesVerdict) -> str:
    """Name a series by its number, modality and description: ``Series 3: CT, Thorax 5 mm``."""
    description = next((f.attributes.series_description for f in series.findings), "")
    parts = [part for part in (series.modality, sanitise.text(description, 64)) if part]
    return sanitise.text(f"Series {label}: {', '.join(parts)}" if parts else f"Series {label}", _MAX_NAME)


def image_name(label: str, finding: ImageFinding, occurrence: int = 0) -> str:
    """Name an image by its number and series: ``Image 45 of series 3``.

    ``occurrence`` counts, from zero, the objects that came under its SOP Instance UID.
    """
    number = finding.attributes.instance_number
    twin = f", object {occurrence + 1} of the same UID" if occurrence else ""
    return f"Image {'without number' if number is None else number} of series {label}{twin}"


def region_name(label: str, finding: ImageFinding, occurrence: int, number: int) -> str:
    """Name a region of an image: ``Region 1 in frame 2 of image 45 of series 3``."""
    frame = f"frame {finding.regions[number - 1][0]} of " if finding.attributes.number_of_frames > 1 else ""
    image = image_name(label, finding, occurrence)
    return f"Region {number} in {frame}{image[0].lower()}{image[1:]}"


def is_mentioned(finding: ImageFinding) -> bool:
    """Say whether an image has a group of its own."""
    carries = finding.label in (VerdictLabel.FAKE, VerdictLabel.INDETERMINATE)
    return carries or finding.declared_synthetic or bool(finding.conflict)


def is_missed(series: SeriesVerdict, finding: ImageFinding) -> bool:
    """Say whether an image was to be assessed and couldn't be."""
    unassessed = finding.label == VerdictLabel.NOT_ASSESSED
    return unassessed and bool(series.route) and not finding.reason.startswith(LOCALIZER)


def unassessed_by_reason(series: SeriesVerdict) -> Mapping[str, Sequence[ImageFinding]]:
    """Return the images without assessment by reason, unless the series' own reason says it for all of them."""
    reasons: dict[str, list[ImageFinding]] = {}
    for finding in series.findings:
        if finding.label == VerdictLabel.NOT_ASSESSED and not is_mentioned(finding):
            reasons.setdefault(finding.reason, []).append(finding)
    if series.label == VerdictLabel.NOT_ASSESSED and set(reasons) <= {"", series.reason}:
        return {}
    return reasons


def reason_concepts(series: Sequence[SeriesVerdict], label: VerdictLabel) -> tuple[Concept, ...]:
    """Return the codes of why images of ``series`` carry ``label``; empty where that is real or fake."""
    found = {
        reason_concept(each, finding): None for each in series for finding in each.findings if finding.label == label
    }
    return tuple(concept for concept in found if concept is not None)


def reason_concept(series: SeriesVerdict, finding: ImageFinding) -> Concept | None:
    """Return the code of why an image wasn't called real or fake; None where it was."""
    if finding.label == VerdictLabel.NOT_ASSESSED:
        return scheme.NOT_SCORED if series.route else scheme.NOT_ROUTED
    if finding.label != VerdictLabel.INDETERMINATE:
        return None
    if finding.probability is None:
        return scheme.NOT_CALIBRATED if finding.reason.startswith(NOT_CALIBRATED) else scheme.OUTSIDE_DOMAIN
    if finding.conflict and finding.reason == finding.conflict:
        return scheme.CONFLICTING_INSTANCE
    return scheme.BETWEEN_THRESHOLDS


def study_comment(verdict: Verdict) -> str:
    """Say what the verdict on the study rests on."""
    findings = [finding for series in verdict.series for finding in series.findings]
    first = (
        f"Study assessed as {verdict.label}." if verdict.label != VerdictLabel.NOT_ASSESSED else "Study not assessed."
    )
    sentences = [first, _assessed(verdict.images_scored, verdict.images_total), *_counts(findings)]
    sentences += [_prevalence(of_study(verdict)), _sentence("Reason", verdict.reason)]
    sentences += [_sentence("Models", _models(verdict)), DISCLAIMER]
    return _join(sentences)


def series_comment(series: SeriesVerdict) -> str:
    """Say what the verdict on the series rests on."""
    sentences = [_assessed(series.images_scored, series.images_total), *_counts(series.findings)]
    sentences += [_prevalence(of_series(series)), _sentence("Reason", series.reason), _sentence("Route", series.route)]
    return _join(sentences)


def image_comment(finding: ImageFinding) -> str:
    """Say why an image is named; empty where the codes say it all."""
    sentences = [] if finding.reason == finding.conflict else [_sentence("Reason", finding.reason)]
    if finding.declared_synthetic:
        sentences.append("The image's header declares its content to be synthetic.")
    sentences.append(_sentence("Conflict", finding.conflict))
    if finding.attributes.number_of_frames > 1 and finding.frame_numbers:
        sentences.append(_sentence("Frames", ", ".join(map(str, finding.frame_numbers))))
    return _join(sentences)


def _assessed(scored: int, total: int) -> str:
    return f"{scored} of {total} images assessed."


def _counts(findings: Sequence[ImageFinding]) -> list[str]:
    fake = sum(finding.label == VerdictLabel.FAKE for finding in findings)
    unsure = sum(finding.label == VerdictLabel.INDETERMINATE for finding in findings)
    declared = sum(finding.declared_synthetic for finding in findings)
    conflicts = sum(bool(finding.conflict) for finding in findings)
    counted = [
        (fake, "assessed as fake"),
        (unsure, "indeterminate"),
        (declared, "declared synthetic in the header"),
    ]
    sentences = [f"{count} {'image' if count == 1 else 'images'} {what}." for count, what in counted if count]
    if conflicts:
        objects = "object" if conflicts == 1 else "objects"
        sentences.append(f"{conflicts} {objects} received under the SOP Instance UID of a different object.")
    return sentences


def _prevalence(found: AtPrevalence | None) -> str:
    return f"{found.sentence}." if found else ""


def _models(verdict: Verdict) -> str:
    return ", ".join(
        sorted({f"{series.model.name} {series.model.version}" for series in verdict.series if series.model})
    )


def _sentence(name: str, value: str) -> str:
    value = value.strip().rstrip(".")
    return f"{name}: {value}." if value else ""


def _join(sentences: Sequence[str]) -> str:
    return sanitise.paragraph(" ".join(sentence for sentence in sentences if sentence))
