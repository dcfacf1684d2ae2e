"""The pictures of a check: what the viewer is told of each frame, and where the frames are."""

from collections.abc import Iterator, Sequence
from itertools import islice

from medfake_pacs.console.errors import NotFoundError
from medfake_pacs.console.queries.checks import Check, CheckFile, ShownImage, frame_scores
from medfake_pacs.console.rendering.frame_list import ViewerFrame, regions_by_frame
from medfake_pacs.console.rendering.frames import FrameSource
from medfake_pacs.console.rendering.pictures import Marks
from medfake_pacs.console.services import Services
from medfake_pacs.entities import FrameScore

_MAX_FRAMES = 3000


def source_of(file: CheckFile) -> FrameSource:
    """Return where the viewer finds a file's frames; PNG and JPEG are decoded in the decoder's process too."""
    return FrameSource(path=file.path, digest=file.sha256)


def viewer_frames(check: Check) -> list[ViewerFrame]:
    """Return the frames of every image of a check, series by series in the order of their slices."""
    several = sum(len(study.series) for study in check.studies) > 1
    frames = (frame for image in _in_order(check) for frame in _frames(check, image, several))
    return list(islice(frames, _MAX_FRAMES))


def start_of(check: Check, frames: Sequence[ViewerFrame], images: Sequence[ShownImage], file_id: int | None) -> int:
    """Return the place of the image that was asked for, or else of the one that speaks most for fake."""
    wanted = next((image for image in images if image.file.file_id == file_id), images[0] if images else None)
    if wanted is None:
        return 0
    number = next(iter(wanted.finding.frame_numbers), 1)
    key = (_base(check, wanted.file), number)
    return next((place for place, each in enumerate(frames) if (each.base, each.frame) == key), 0)


def marks_of(services: Services, check: Check, file: CheckFile, number: int) -> Marks:
    """Return what is drawn over a frame.

    Raises
    ------
    NotFoundError
        If the frame wasn't scored.
    """
    score = scored_frame(services, file, number)
    return Marks(
        cells=score.tiles,
        calibration=calibration_of(check, file),
        regions=tuple((each.x, each.y, each.width, each.height) for each in score.regions),
    )


def scored_frame(services: Services, file: CheckFile, number: int) -> FrameScore:
    """Return what the model made of a frame.

    Raises
    ------
    NotFoundError
        If it wasn't scored, or outside what the model knows.
    """
    found = frame_scores(services, file).get(number)
    if found is None or not found.tiles:
        raise NotFoundError("There is no heat map of this frame: it wasn't scored.")
    return found


def calibration_of(check: Check, file: CheckFile) -> tuple[float, float]:
    """Return (slope, intercept) of the model that scored a file.

    Raises
    ------
    NotFoundError
        If there is no result yet.
    """
    for study in check.studies:
        for series in study.series:
            if series.model and series.model.sha256 == file.model_sha256:
                given = series.model.parameters
                return float(given["calibration_slope"]), float(given["calibration_intercept"])
    raise NotFoundError("The heat map can be drawn when the check is done.")


def image_label(image: ShownImage) -> str:
    """Return what an image is called: by its file's name."""
    number = image.finding.attributes.instance_number
    return image.file.name if image.file.kind != "dicom" or number is None else f"{image.file.name} (image {number})"


def _in_order(check: Check) -> Iterator[ShownImage]:
    for study in check.studies:
        for series in study.series:
            for finding in series.findings:
                if finding.instance_id in check.files:
                    yield ShownImage(file=check.files[finding.instance_id], finding=finding, series=series)


def _base(check: Check, file: CheckFile) -> str:
    return f"/checks/{check.check_id}/files/{file.file_id}"


def _frames(check: Check, image: ShownImage, several: bool) -> Iterator[ViewerFrame]:
    finding = image.finding
    count = max(1, finding.attributes.number_of_frames)
    name = image_label(image)
    described = image.series.findings[0].attributes.series_description if several else ""
    regions = regions_by_frame(finding)
    carrying = frozenset(finding.frame_numbers)
    for number in range(1, count + 1):
        carries = not carrying or number in carrying
        parts = [name, f"frame {number}" if count > 1 else "", described]
        yield ViewerFrame(
            base=_base(check, image.file),
            frame=number,
            label=", ".join(part for part in parts if part),
            heat=finding.probability is not None,
            regions=regions.get(number, ()),
            note=_note(image) if carries else "",
        )


def _note(image: ShownImage) -> str:
    finding = image.finding
    parts = [str(finding.label)]
    if finding.probability is not None:
        parts.append(f"probability of fake {finding.probability:.3f}")
    if finding.declared_synthetic:
        parts.append("declared synthetic")
    if finding.reason:
        parts.append(finding.reason)
    return ", ".join(parts)
