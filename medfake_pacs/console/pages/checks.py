"""Check images: upload them, watch, see what was found, take the report home or have it sent."""

import time
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Path, Request
from fastapi.responses import FileResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from medfake_pacs import wording
from medfake_pacs.console import check_views
from medfake_pacs.console.errors import GoneError, NotFoundError, RequestError
from medfake_pacs.console.queries import check_deletion, check_images, check_release
from medfake_pacs.console.queries.check_models import model_choices
from medfake_pacs.console.queries.checks import Check, CheckFile, check_of, file_of, own_checks
from medfake_pacs.console.record import DicomEvent, record
from medfake_pacs.console.rendering import answers
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.console.uploads import intake
from medfake_pacs.console.uploads.refusals import LeftOut
from medfake_pacs.entities import AuditEvent

router = APIRouter()
Using = Annotated[Services, Depends(services_of)]
Checker = Annotated[Identity, requires(Permission.IMAGES_CHECK)]
Releaser = Annotated[Identity, requires(Permission.CHECKS_RELEASE)]
FileId = Annotated[int, Path(ge=1, le=2**63 - 1)]
_SHOWN_IMAGES = 50
_DAY_S = 86_400.0


@router.get("/checks")
def show(request: Request, services: Using, identity: Checker, before: str = "", after: str = "") -> Response:
    """Show the form, and this account's checks."""
    return _form_page(request, services, identity, before=before, after=after)


@router.post("/checks")
async def upload(request: Request, services: Using, identity: Checker) -> Response:
    """Take an upload and lead to its check; what is wrong with it is said beside the form."""
    try:
        check_id = await intake.receive(request, services, identity)
    except RequestError as error:
        return await run_in_threadpool(_form_page, request, services, identity, error=error)
    return RedirectResponse(f"/checks/{check_id}", 303)


@router.get("/checks/{check_id}")
def show_check(
    request: Request,
    services: Using,
    identity: Checker,
    check_id: str,
    image: int | None = None,
    released: bool = False,
) -> Response:
    """Show how far a check is, or what was found."""
    check = check_of(services, identity, check_id)
    if check.state == "done":
        check_views.check_viewed(services, identity, check)
    facts = {**_check_facts(services, identity, check, image), "released": released}
    return services.templates.TemplateResponse(request, "checks_one.html", facts)


@router.get("/checks/{check_id}/progress")
def progress(request: Request, services: Using, identity: Checker, check_id: str) -> Response:
    """Give the progress alone; once it is finished the browser is sent to the whole page."""
    check = check_of(services, identity, check_id)
    if check.is_finished:
        return Response(headers={"HX-Redirect": f"/checks/{check_id}"})
    return services.templates.TemplateResponse(request, "checks_progress.html", {"check": check})


@router.get("/checks/{check_id}/report")
def report(services: Using, identity: Checker, check_id: str) -> Response:
    """Give the report, with the objects that pictures were wrapped into."""
    return report_download(services, identity, check_of(services, identity, check_id))


@router.post("/checks/{check_id}/release")
def release(
    services: Using, identity: Releaser, check_id: str, destination: Annotated[list[str] | None, Form()] = None
) -> Response:
    """Queue the report for destinations."""
    check_release.release(services, identity, check_of(services, identity, check_id), destination or [])
    return RedirectResponse(f"/checks/{check_id}?released=true", 303)


@router.post("/checks/{check_id}/delete")
def delete(services: Using, identity: Checker, check_id: str) -> Response:
    """Delete files and report before their time, to make room for others."""
    check_deletion.delete(services, identity, check_of(services, identity, check_id))
    return RedirectResponse(f"/checks/{check_id}", 303)


@router.get("/checks/{check_id}/files/{file_id}/frames/{number}.png")
def frame_png(
    request: Request,
    services: Using,
    identity: Checker,
    check_id: str,
    file_id: FileId,
    number: int,
    low: float | None = None,
    high: float | None = None,
) -> Response:
    """Show one frame through its window, or through the one given."""
    source = check_images.source_of(_viewed_file(services, identity, check_id, file_id))
    return answers.frame_png(request, services.frames, source, number, low, high)


@router.get("/checks/{check_id}/files/{file_id}/frames/{number}.raw")
def frame_raw(
    request: Request, services: Using, identity: Checker, check_id: str, file_id: FileId, number: int
) -> Response:
    """Give the viewer one frame's values."""
    source = check_images.source_of(_viewed_file(services, identity, check_id, file_id))
    return answers.frame_raw(request, services.frames, source, number)


@router.get("/checks/{check_id}/files/{file_id}/overlay.png")
def overlay(
    request: Request, services: Using, identity: Checker, check_id: str, file_id: FileId, frame: int = 1
) -> Response:
    """Show one frame with what the model found in it, as one picture."""
    check, file = _check_and_file(services, identity, check_id, file_id)
    marks = check_images.marks_of(services, check, file, frame)
    return answers.overlay_png(request, services.frames, check_images.source_of(file), frame, marks)


@router.get("/checks/{check_id}/files/{file_id}/heatmap.png")
def heatmap(
    request: Request, services: Using, identity: Checker, check_id: str, file_id: FileId, frame: int = 1
) -> Response:
    """Show where the model found signs of a fake in one frame, to be laid over it."""
    check, file = _check_and_file(services, identity, check_id, file_id)
    return heatmap_answer(request, services, check, file, frame)


def heatmap_answer(request: Request, services: Services, check: Check, file: CheckFile, frame: int) -> Response:
    """Answer with the heat map of a frame of a check."""
    score = check_images.scored_frame(services, file, frame)
    found = check_images.calibration_of(check, file)
    return answers.heatmap_png(request, services.frames, check_images.source_of(file), frame, score.tiles, found)


def report_download(services: Services, identity: Identity, check: Check) -> Response:
    """Answer with a check's report as a file, and put that into the log.

    Raises
    ------
    NotFoundError
        If there is none.
    GoneError
        If it isn't kept any more.
    """
    if check.expired_at is not None:
        raise GoneError("The report was deleted with the files of this check; the result is still here.")
    if check.report_path is None or not check.report_path.is_file():
        raise NotFoundError("There is no report: the check isn't done.")
    event = AuditEvent(
        kind="check-exported",
        study_instance_uid=check.studies[0].study_instance_uid if len(check.studies) == 1 else "",
        verdict=check.verdict,
        payload={"check_id": check.check_id, "reports": [item["sop_instance_uid"] for item in check.reports]},
    )
    record(services, DicomEvent.EXPORT, identity, event)
    suffix = check.report_path.suffix
    kind = "application/zip" if suffix == ".zip" else "application/dicom"
    return FileResponse(check.report_path, media_type=kind, filename=f"report-{check.check_id[:8]}{suffix}")


def _viewed_file(services: Services, identity: Identity, check_id: str, file_id: int) -> CheckFile:
    """Return the file that is asked for, and have the log say who asked."""
    file = file_of(services, identity, check_id, file_id)
    check_views.part_viewed(services, identity, check_id)
    return file


def _check_and_file(services: Services, identity: Identity, check_id: str, file_id: int) -> tuple[Check, CheckFile]:
    file = _viewed_file(services, identity, check_id, file_id)
    return check_of(services, identity, check_id), file


def _form_page(
    request: Request,
    services: Services,
    identity: Identity,
    *,
    before: str = "",
    after: str = "",
    error: RequestError | None = None,
) -> Response:
    files: tuple[LeftOut, ...] = getattr(error, "files", ())
    facts: dict[str, Any] = {
        "page": own_checks(services, identity, before=before, after=after),
        "choices": model_choices(services.settings),
        "max_bytes": services.settings.console.max_upload_bytes,
        "max_files": intake.MAX_FILES,
        "retention_days": services.settings.console.check_retention_days,
        "error": error,
        "refused": files,
        "fields": getattr(error, "fields", {}) if not files else {},
    }
    status = error.status if error else 200
    return services.templates.TemplateResponse(request, "checks.html", facts, status_code=status)


def _check_facts(services: Services, identity: Identity, check: Check, file_id: int | None) -> Mapping[str, Any]:
    images = check.images()
    kept = check.expired_at is None
    frames = check_images.viewer_frames(check) if kept else []
    start = check_images.start_of(check, frames, images, file_id)
    models = {series.model.sha256: series.model for study in check.studies for series in study.series if series.model}
    retention_s = services.settings.console.check_retention_days * _DAY_S
    return {
        "check": check,
        "images": images[:_SHOWN_IMAGES],
        "more_images": max(0, len(images) - _SHOWN_IMAGES),
        "frames": [frame.as_json() for frame in frames],
        "start": start,
        "neighbours": _neighbours(frames, start, check),
        "models": tuple(models.values()),
        "meaning": wording.VERDICT_MEANINGS.get(check.verdict, ""),
        "label_of": check_images.image_label,
        "deleted_at": (check.finished_at or check.created_at) + retention_s,
        "is_own": check.user_id == identity.user_id,
        "destinations": [item.name for item in services.settings.destinations],
        "deliveries": check_release.release_states(services, check) if check.reports else [],
        "now": time.time(),
    }


def _neighbours(frames: list[Any], start: int, check: Check) -> tuple[str, str]:
    """Return the addresses of the pages with the images before and behind the shown one; empty for none."""
    bases = list(dict.fromkeys(frame.base for frame in frames))
    if not bases:
        return "", ""
    place = bases.index(frames[start].base)
    ids = [base.rsplit("/", 1)[1] for base in bases]
    address = f"/checks/{check.check_id}?image="
    previous = address + ids[place - 1] if place else ""
    return previous, address + ids[place + 1] if place + 1 < len(ids) else ""
