"""Check images by program: upload, wait, read the result."""

import asyncio
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from medfake_pacs import wording
from medfake_pacs.console import check_views
from medfake_pacs.console.errors import NotFoundError
from medfake_pacs.console.pages.checks import heatmap_answer, report_download
from medfake_pacs.console.queries.checks import Check, ShownImage, check_of, file_of
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.console.uploads import intake

router = APIRouter(prefix="/images", tags=["images"])
Using = Annotated[Services, Depends(services_of)]
Checker = Annotated[Identity, requires(Permission.IMAGES_CHECK)]
_POLL_S = 0.25
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "DICOM, PNG or JPEG files, or a ZIP of a study; 'file' is taken too.",
                        },
                        "model": {
                            "type": "string",
                            "description": "Name of the model; empty or absent: detect it by the DICOM header.",
                        },
                    },
                }
            }
        },
    }
}


class Problem(BaseModel):
    """An error (RFC 9457). ``fields`` says what is wrong with each file or value."""

    type: str
    title: str
    status: int
    detail: str
    fields: dict[str, str] = Field(default_factory=dict)


class Model(BaseModel):
    """The model that was used; ``real_below`` and ``fake_above`` are its thresholds as probabilities."""

    name: str
    version: str
    sha256: str
    real_below: float
    fake_above: float


class Region(BaseModel):
    """A rectangle that carries the finding, in pixels of the frame from its top left corner."""

    frame: int
    x: int
    y: int
    width: int
    height: int


class ImageResult(BaseModel):
    """One image: its file, and what was found."""

    file_id: int
    name: str
    kind: Literal["dicom", "png", "jpeg"]
    sha256: str
    sop_instance_uid: str
    verdict: str
    probability_fake: float | None
    reason: str
    model: str
    declared_synthetic: bool
    conflict: str
    regions: list[Region]


class LeftOutFile(BaseModel):
    """A file of an archive that isn't assessed, and why."""

    name: str
    reason: str


class CheckResult(BaseModel):
    """A check: ``verdict`` and what belongs to it are there when ``state`` is done; ``reason`` when it failed, too."""

    check_id: str
    state: Literal["waiting", "running", "done", "failed"]
    created_at: float
    finished_at: float | None
    images_total: int
    images_done: int
    images_scored: int
    verdict: str
    meaning: str
    probability_fake: float | None
    probability_meaning: str
    reason: str
    models: list[Model]
    images: list[ImageResult]
    left_out: list[LeftOutFile]
    files_deleted_at: float | None


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/problem+json": {"schema": Problem.model_json_schema()}}
    return {status: {"description": "Why not", "content": content} for status in statuses}


@router.post(
    "",
    response_model=CheckResult,
    openapi_extra=_BODY,
    responses={
        202: {"model": CheckResult, "description": "Not finished yet: ask again at Location."},
        **_problems(401, 403, 408, 413, 415, 422, 429, 507),
    },
)
async def check_images(
    request: Request,
    services: Using,
    identity: Checker,
    wait_s: Annotated[float, Query(ge=0, le=60, description="How long to wait for the result, in seconds.")] = 0,
) -> Response:
    """Upload images and have them assessed: 200 with the result if it comes within ``wait_s``, else 202."""
    check_id = await intake.receive(request, services, identity)
    until = time.monotonic() + wait_s
    check = await run_in_threadpool(check_of, services, identity, check_id)
    while not check.is_finished and time.monotonic() < until and not await request.is_disconnected():
        await asyncio.sleep(_POLL_S)
        check = await run_in_threadpool(check_of, services, identity, check_id)
    status = 200 if check.is_finished else 202
    headers = {"Location": f"/api/images/{check_id}"}
    await run_in_threadpool(_viewed, services, identity, check)
    return JSONResponse(_result(check).model_dump(mode="json"), status_code=status, headers=headers)


@router.get("/{check_id}", responses=_problems(401, 403, 404))
def result(services: Using, identity: Checker, check_id: str) -> CheckResult:
    """Return how far a check is, and its result once it is done. The log says who looked."""
    return _result(_viewed(services, identity, check_of(services, identity, check_id)))


@router.get(
    "/{check_id}/heatmap",
    response_class=Response,
    responses={
        200: {"description": "A PNG with transparency, to be laid over the frame.", "content": {"image/png": {}}},
        **_problems(401, 403, 404, 410, 422, 503),
    },
)
def heatmap(
    request: Request,
    services: Using,
    identity: Checker,
    check_id: str,
    file_id: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    frame: Annotated[int | None, Query(ge=1, le=1_000_000)] = None,
) -> Response:
    """Return the heat map of an image, by default of the one that speaks most for fake."""
    check = check_of(services, identity, check_id)
    shown = [image for image in check.images() if file_id is None or image.file.file_id == file_id]
    if not shown:
        raise NotFoundError("There is no such image, or the check isn't done.")
    number = frame or next(iter(shown[0].finding.frame_numbers), 1)
    file = file_of(services, identity, check_id, shown[0].file.file_id)
    _viewed(services, identity, check)
    return heatmap_answer(request, services, check, file, number)


@router.get(
    "/{check_id}/report",
    response_class=Response,
    responses={
        200: {
            "description": "The Structured Report, or a ZIP where it is more than one object.",
            "content": {"application/dicom": {}, "application/zip": {}},
        },
        **_problems(401, 403, 404, 410),
    },
)
def report(services: Using, identity: Checker, check_id: str) -> Response:
    """Return the report as a file."""
    return report_download(services, identity, check_of(services, identity, check_id))


def _viewed(services: Services, identity: Identity, check: Check) -> Check:
    """Return a check that is shown, and have the log say so once it says anything of a patient."""
    if check.studies:
        check_views.part_viewed(services, identity, check.check_id)
    return check


def _result(check: Check) -> CheckResult:
    models = {series.model.sha256: series.model for study in check.studies for series in study.series if series.model}
    return CheckResult(
        check_id=check.check_id,
        state=check.state,  # type: ignore[arg-type]  # checked by pydantic
        created_at=check.created_at,
        finished_at=check.finished_at,
        images_total=check.images_total,
        images_done=check.images_done,
        images_scored=check.images_scored,
        verdict=check.verdict,
        meaning=wording.VERDICT_MEANINGS.get(check.verdict, ""),
        probability_fake=check.probability,
        probability_meaning=wording.PROBABILITY_MEANING if check.probability is not None else "",
        reason=check.reason,
        models=[
            Model(
                name=model.name,
                version=model.version,
                sha256=model.sha256,
                real_below=float(model.parameters["real_below"]),
                fake_above=float(model.parameters["fake_above"]),
            )
            for model in models.values()
        ],
        images=[_image(image) for image in check.images()],
        left_out=[LeftOutFile(name=item["name"], reason=item["reason"]) for item in check.left_out],
        files_deleted_at=check.expired_at,
    )


def _image(image: ShownImage) -> ImageResult:
    finding = image.finding
    return ImageResult(
        file_id=image.file.file_id,
        name=image.file.name,
        kind=image.file.kind,  # type: ignore[arg-type]  # checked by pydantic
        sha256=image.file.sha256,
        sop_instance_uid=image.file.sop_instance_uid,
        verdict=str(finding.label),
        probability_fake=finding.probability,
        reason=finding.reason,
        model=image.series.model.name if image.series.model else "",
        declared_synthetic=finding.declared_synthetic,
        conflict=finding.conflict,
        regions=[
            Region(frame=number, x=each.x, y=each.y, width=each.width, height=each.height)
            for number, each in finding.regions
        ],
    )
