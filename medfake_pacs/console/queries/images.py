"""One stored image: where its pixels are, and the map that its model made of it."""

from dataclasses import dataclass

import sqlalchemy as sa

from medfake_pacs.console.errors import GoneError, NotFoundError
from medfake_pacs.console.rendering.frames import FrameSource
from medfake_pacs.console.rendering.pictures import Marks
from medfake_pacs.console.services import Services
from medfake_pacs.database import reading
from medfake_pacs.database.tables import instances, scores, verdicts
from medfake_pacs.entities import FrameScore
from medfake_pacs.workflows.rows import score_from_row

_MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """One row of ``instances``, as far as its picture needs it."""

    instance_id: int
    study_instance_uid: str
    source: FrameSource
    pixel_sha256: str
    model_sha256: str


def stored_image(services: Services, instance_id: int) -> StoredImage:
    """Return the image with this number.

    Raises
    ------
    NotFoundError
        If there is none.
    GoneError
        If its file isn't kept any more.
    """
    row = None
    if 0 < instance_id <= _MAX_ID:
        with reading(services.engine) as connection:
            row = connection.execute(sa.select(instances).where(instances.c.instance_id == instance_id)).first()
    if row is None:
        raise NotFoundError("No image has this number. It may have been mistyped.")
    path = services.settings.spool_dir / row.path
    if not path.is_file():
        raise GoneError("The image was deleted when its retention was over; what was found is still on record.")
    return StoredImage(
        instance_id=row.instance_id,
        study_instance_uid=row.study_instance_uid,
        source=FrameSource(path=path, digest=row.content_sha256),
        pixel_sha256=row.pixel_sha256 or "",
        model_sha256=row.model_sha256 or "",
    )


def frame_score(services: Services, image: StoredImage, number: int) -> FrameScore:
    """Return what the model made of one frame.

    Raises
    ------
    NotFoundError
        If the frame has no score with a map.
    """
    mine = (scores.c.pixel_sha256 == image.pixel_sha256, scores.c.model_sha256 == image.model_sha256)
    with reading(services.engine) as connection:
        row = connection.execute(sa.select(scores).where(*mine)).first()
    frames = score_from_row(row).frames if row else ()
    found = next((frame for frame in frames if frame.frame_number == number and frame.tiles), None)
    if found is None:
        raise NotFoundError("There is no heat map of this frame: it wasn't scored, or before maps were kept.")
    return found


def marks(services: Services, image: StoredImage, number: int) -> Marks | None:
    """Return what is drawn over one frame of a scored image; None where there is nothing."""
    try:
        score = frame_score(services, image, number)
        return Marks(
            cells=score.tiles,
            calibration=calibration(services, image),
            regions=tuple((each.x, each.y, each.width, each.height) for each in score.regions),
        )
    except NotFoundError:
        return None


def calibration(services: Services, image: StoredImage) -> tuple[float, float]:
    """Return (slope, intercept) of the model that scored an image, as a verdict on its study says them.

    Raises
    ------
    NotFoundError
        If there is no verdict by that model yet.
    """
    known = services.calibrations.get(image.model_sha256)
    if known is not None:
        return known
    query = sa.select(verdicts.c.detail).where(
        verdicts.c.study_instance_uid == image.study_instance_uid, verdicts.c.scope == "study"
    )
    with reading(services.engine) as connection:
        detail = connection.execute(query.order_by(verdicts.c.revision.desc()).limit(1)).scalar_one_or_none()
    for series in detail["series"] if detail else ():
        if series["model"] and series["model"]["sha256"] == image.model_sha256:
            parameters = series["model"]["parameters"]
            found = (float(parameters["calibration_slope"]), float(parameters["calibration_intercept"]))
            services.calibrations.keep(image.model_sha256, found)
            return found
    raise NotFoundError("The heat map can be drawn when the study has a verdict.")
