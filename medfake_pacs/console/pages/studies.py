"""One study: its verdict, its images with what carries the finding, the evidence, its history, reviews."""

from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response

from medfake_pacs.console import study_views
from medfake_pacs.console.queries import study_images
from medfake_pacs.console.queries.reviews import MAX_COMMENT_CHARACTERS
from medfake_pacs.console.queries.study import StudyFacts, find_study, progress_of
from medfake_pacs.console.queries.study_evidence import evidence_of
from medfake_pacs.console.queries.study_history import history_of, report_file
from medfake_pacs.console.queries.study_images import SeriesLine, ShownSeries
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.prevalence import of_study

router = APIRouter(prefix="/studies/{study_instance_uid}")
Using = Annotated[Services, Depends(services_of)]
Reader = Annotated[Identity, requires(Permission.STUDIES_READ)]
# More would make the page slow; the viewer shows each of them.
_FEW_IMAGES, _MANY_IMAGES = 12, 120


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewForm:
    """What was entered into the form of a review, and what is wrong with it."""

    opinion: str = ""
    comment: str = ""
    error: str = ""
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which part of the study the page shows: a series, an image of it, few or all of those that carry the finding."""

    series: str = ""
    image: int | None = None
    frame: int = 1
    all_images: bool = False


@router.get("")
def show(
    request: Request,
    services: Using,
    identity: Reader,
    study_instance_uid: str,
    series: str = "",
    image: Annotated[int | None, Query(ge=1)] = None,
    frame: Annotated[int, Query(ge=1)] = 1,
    images: str = "",
) -> Response:
    """Show a study."""
    choice = Choice(series=series, image=image, frame=frame, all_images=images == "all")
    study = find_study(services, study_instance_uid)
    study_views.study_viewed(services, identity, study_instance_uid)
    return render(request, services, study, choice, ReviewForm())


@router.get("/progress")
def show_progress(
    request: Request, services: Using, _identity: Reader, study_instance_uid: str, revision: int = 0
) -> Response:
    """Show what the study waits for, or that there is a newer verdict than ``revision``, which the page is of.

    The page isn't reloaded: somebody may be writing on the verdict that it shows.
    """
    progress, newest = progress_of(services, study_instance_uid)
    facts = {"progress": progress, "study_instance_uid": study_instance_uid, "revision": revision, "newest": newest}
    facts["completion"] = services.settings.completion
    return services.templates.TemplateResponse(request, "study_progress.html", facts)


@router.get("/reports/{report_uid}")
def download_report(services: Using, identity: Reader, study_instance_uid: str, report_uid: str) -> Response:
    """Give out one of the study's reports as it was sent."""
    report = report_file(services, study_instance_uid, report_uid)
    study_views.report_exported(services, identity, study_instance_uid, report_uid)
    headers = {"Content-Disposition": f'attachment; filename="{report.sop_instance_uid}.dcm"'}
    return Response(report.content, media_type="application/dicom", headers=headers)


def render(
    request: Request, services: Services, study: StudyFacts, choice: Choice, form: ReviewForm, status_code: int = 200
) -> Response:
    """Return the page of a study; ``form`` is what is in the form of a review."""
    uid = study.study_instance_uid
    lines = study_images.series_of(services, study)
    shown = _shown(services, study, lines, choice)
    limit = _MANY_IMAGES if choice.all_images else _FEW_IMAGES
    carrying, carrying_total = study_images.carrying(services, study.verdict, limit) if study.verdict else ([], 0)
    facts = {
        "study": study,
        "at_prevalence": of_study(study.verdict) if study.verdict else None,
        "series": lines,
        "shown": shown,
        "frames": [frame.as_json() for frame in shown.frames] if shown else [],
        "previous": _link(uid, shown, -1),
        "next": _link(uid, shown, 1),
        "carrying": carrying,
        "carrying_total": carrying_total,
        "not_kept": study_images.NOT_KEPT,
        "all_images": choice.all_images,
        "many_images": _MANY_IMAGES,
        "evidence": evidence_of(services, uid),
        "history": history_of(services, uid),
        "completion": services.settings.completion,
        "form": form,
        "max_comment": MAX_COMMENT_CHARACTERS,
    }
    return services.templates.TemplateResponse(request, "study.html", facts, status_code=status_code)


def _shown(services: Services, study: StudyFacts, lines: list[SeriesLine], choice: Choice) -> ShownSeries | None:
    """Return what the viewer shows; None where the files aren't kept any more."""
    if study.expired_at is not None:
        return None
    uid = choice.series
    if choice.image is not None:
        uid = study_images.series_with(services, study.study_instance_uid, choice.image) or uid
    known = {line.series_instance_uid for line in lines}
    uid = uid if uid in known else study_images.first_series(lines)
    return study_images.shown_series(services, study, uid, choice.image, choice.frame) if uid else None


def _link(study_instance_uid: str, shown: ShownSeries | None, step: int) -> str:
    """Return the address of the page that shows the frame before or after; empty at the ends."""
    place = shown.start + step if shown else -1
    if shown is None or not 0 <= place < len(shown.frames):
        return ""
    frame = shown.frames[place]
    query = urlencode({"image": frame.base.rpartition("/")[2], "frame": frame.frame})
    return f"/studies/{study_instance_uid}?{query}#viewer"
