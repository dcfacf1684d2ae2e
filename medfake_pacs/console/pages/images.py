"""The pictures of stored images: frames, thumbnails, heat maps; who looks at them is in the log."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from medfake_pacs.console import study_views
from medfake_pacs.console.queries.images import StoredImage, calibration, frame_score, marks, stored_image
from medfake_pacs.console.rendering import answers
from medfake_pacs.console.rendering.pictures import Marks
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import Services, services_of

router = APIRouter(prefix="/images/{instance_id}")
Using = Annotated[Services, Depends(services_of)]
Reader = Annotated[Identity, requires(Permission.STUDIES_READ)]


def _viewed(services: Using, identity: Reader, instance_id: int) -> StoredImage:
    """Find the image that a request names, and log that somebody looks at it."""
    image = stored_image(services, instance_id)
    study_views.picture_viewed(services, identity, image.study_instance_uid)
    return image


Viewed = Annotated[StoredImage, Depends(_viewed)]


@router.get("/frames/{number}.png")
def frame_png(
    request: Request,
    services: Using,
    _identity: Reader,
    image: Viewed,
    number: int,
    low: float | None = None,
    high: float | None = None,
) -> Response:
    """Show one frame through its window, or through the one given."""
    return answers.frame_png(request, services.frames, image.source, number, low, high)


@router.get("/frames/{number}.raw")
def frame_raw(request: Request, services: Using, _identity: Reader, image: Viewed, number: int) -> Response:
    """Give the viewer one frame's values."""
    return answers.frame_raw(request, services.frames, image.source, number)


@router.get("/thumbnail.png")
def thumbnail(
    request: Request, services: Using, _identity: Reader, image: Viewed, frame: int = 1, overlay: bool = False
) -> Response:
    """Show one frame small, with or without what the model found in it."""
    found = marks(services, image, frame) if overlay else None
    return answers.thumbnail_png(request, services.frames, image.source, frame, found)


@router.get("/overlay.png")
def overlay(request: Request, services: Using, _identity: Reader, image: Viewed, frame: int = 1) -> Response:
    """Show one frame with what the model found in it, as one picture."""
    found = marks(services, image, frame) or Marks()
    return answers.overlay_png(request, services.frames, image.source, frame, found)


@router.get("/heatmap.png")
def heatmap(request: Request, services: Using, _identity: Reader, image: Viewed, frame: int = 1) -> Response:
    """Show where the model found signs of a fake in one frame, to be laid over it."""
    score = frame_score(services, image, frame)
    found = calibration(services, image)
    return answers.heatmap_png(request, services.frames, image.source, frame, score.tiles, found)
