"""The pictures of stored images: frames, thumbnails, heat maps."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from medfake_pacs.console.queries.images import calibration, frame_score, stored_image
from medfake_pacs.console.rendering import answers
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import Services, services_of

router = APIRouter(prefix="/images/{instance_id}")
Using = Annotated[Services, Depends(services_of)]
Reader = Annotated[Identity, requires(Permission.STUDIES_READ)]


@router.get("/frames/{number}.png")
def frame_png(
    request: Request,
    services: Using,
    _identity: Reader,
    instance_id: int,
    number: int,
    low: float | None = None,
    high: float | None = None,
) -> Response:
    """Show one frame through its window, or through the one given."""
    image = stored_image(services, instance_id)
    return answers.frame_png(request, services.frames, image.source, number, low, high)


@router.get("/frames/{number}.raw")
def frame_raw(request: Request, services: Using, _identity: Reader, instance_id: int, number: int) -> Response:
    """Give the viewer one frame's values."""
    image = stored_image(services, instance_id)
    return answers.frame_raw(request, services.frames, image.source, number)


@router.get("/thumbnail.png")
def thumbnail(request: Request, services: Using, _identity: Reader, instance_id: int, frame: int = 1) -> Response:
    """Show one frame small."""
    image = stored_image(services, instance_id)
    return answers.thumbnail_png(request, services.frames, image.source, frame)


@router.get("/heatmap.png")
def heatmap(request: Request, services: Using, _identity: Reader, instance_id: int, frame: int = 1) -> Response:
    """Show where the model found signs of a fake in one frame."""
    image = stored_image(services, instance_id)
    score = frame_score(services, image, frame)
    values = services.frames.read(image.source, frame).values
    size = (values.shape[1], values.shape[0])
    return answers.heatmap_png(request, score.tiles, calibration(services, image), size)
