"""A site's own clean images, scored: what counts for the thresholds, and what was left out and why."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from medfake_pacs.classifier import Classifier
from medfake_pacs.entities import DecodedFrame, FrameScore, ImageAttributes
from medfake_pacs.errors import PixelError
from medfake_pacs.offline import SUBJECTS, FileImage, look_at
from medfake_pacs.pixels import DecoderProcess

Group = Literal["patient", "study", "image"]
Progress = Callable[[Sequence[FileImage]], Iterable[FileImage]]
_FRAMES_AT_A_TIME = 16
SYNTHETIC = "declared synthetic in the header"
SAME_PIXELS = "the same pixels as another image"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteImage:
    """One scored frame. ``group`` is whom it belongs to, ``series`` is empty for a loose picture; both stay here.

    ``order`` sorts the frames of a series as the node does. ``sha256`` is of the stored pixel values.
    """

    group: str
    series: str
    order: tuple[float, ...]
    lossy: bool
    score: float
    sha256: str


@dataclass(slots=True, kw_only=True)
class Gathered:
    """What a folder held: scored images, and the files that don't count by reason."""

    images: list[SiteImage] = field(default_factory=list)
    left_out: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    files: int = 0

    @property
    def patients(self) -> int:
        """How many groups the images belong to."""
        return len({image.group for image in self.images})


def modalities_of(model: str, card_modality: str) -> frozenset[str]:
    """The modalities that a model takes: the card's own, and those that are made alike."""
    return frozenset({card_modality.upper()}).union(*(item.modalities for item in SUBJECTS if item.model == model))


def gather(
    files: Iterable[Path],
    classifier: Classifier,
    decoder: DecoderProcess,
    *,
    modalities: frozenset[str],
    group: Group = "patient",
    progress: Progress = lambda files: files,
) -> Gathered:
    """Scores every image of ``files``; what can't be read or isn't of the model's kind is left out with the reason.

    Images outside the model's domain are left out: the node doesn't call those real or fake either. So are images whose
    header declares them synthetic, and pixels that were there before.
    """
    found = Gathered()
    seen: set[str] = set()
    looked = [look_at(index, path) for index, path in enumerate(files)]
    found.files = len(looked)
    for file in progress(looked):
        reason = _objection(file, modalities)
        if not reason:
            try:
                reason = _take(found, seen, file, classifier, decoder, group)
            except PixelError as error:
                reason = f"not an image that can be read: {error}" if file.loose else str(error)
        if reason:
            found.left_out[reason].append(file.path)
    return found


def _objection(file: FileImage, modalities: frozenset[str]) -> str:
    attributes = file.attributes
    if file.loose:
        return ""
    if attributes.modality.strip().upper() not in modalities:
        return f"Modality {attributes.modality or '(absent)'}, not {' or '.join(sorted(modalities))}"
    if "LOCALIZER" in attributes.image_type.upper():
        return "a localizer image, which the node doesn't assess"
    return SYNTHETIC if attributes.synthetic_data.strip().upper() == "YES" else ""


def _take(
    found: Gathered, seen: set[str], file: FileImage, classifier: Classifier, decoder: DecoderProcess, group: Group
) -> str:
    info, frames = decoder.open(file.path)
    lossy, reasons, taken = info.lossy or file.attributes.lossy, set(), 0
    for frame, score in _scored(frames, classifier):
        if score.outside_domain:
            reasons.add(f"outside the model's domain: {score.outside_domain}")
        elif frame.sha256 in seen:
            reasons.add(SAME_PIXELS)
        else:
            seen.add(frame.sha256)
            taken += 1
            found.images.append(
                SiteImage(
                    group=_group(file, group),
                    series="" if file.loose else file.attributes.series_instance_uid,
                    order=(*_order(file.attributes), frame.frame_number),
                    lossy=lossy,
                    score=score.score,
                    sha256=frame.sha256,
                )
            )
    return "" if taken else "; ".join(sorted(reasons)) or "there is no frame in it"


def _scored(frames: Iterator[DecodedFrame], classifier: Classifier) -> Iterator[tuple[DecodedFrame, FrameScore]]:
    chunk: list[DecodedFrame] = []
    for frame in frames:
        chunk.append(frame)
        if len(chunk) == _FRAMES_AT_A_TIME:
            yield from zip(chunk, classifier.score_frames(chunk), strict=True)
            chunk = []
    yield from zip(chunk, classifier.score_frames(chunk), strict=True)


def _group(file: FileImage, group: Group) -> str:
    attributes = file.attributes
    if file.loose or group == "image":
        return str(file.path)
    # An absent Patient ID says nothing: the study stands for the patient.
    return (attributes.patient_id if group == "patient" else "") or attributes.study_instance_uid


def _order(attributes: ImageAttributes) -> tuple[float, ...]:
    position, number = attributes.slice_position_mm, attributes.instance_number
    return (float(position is None), position or 0.0, float(number is None), float(number or 0))
