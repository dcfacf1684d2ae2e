"""The rule tester: which route, model and destinations an image would get, and why."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from medfake_pacs.cli.files import header_of
from medfake_pacs.config import Settings
from medfake_pacs.console.errors import NoRoomError, TooLargeError
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.entities import ImageAttributes
from medfake_pacs.errors import CannotUnderstandError
from medfake_pacs.route_testing import RouteTest, explain_route

router = APIRouter()
Using = Annotated[Services, Depends(services_of)]
Reader = Annotated[Identity, requires(Permission.NODE_READ)]
_MOST_BYTES = 64_000_000
_FORM_BYTES = 65_536
# As much as uploads leave alone.
_RESERVE_FACTOR = 2
_FIELDS = ("calling", "called", "modality", "body_part", "study_description", "series_description")
_LONGEST = 256


@router.get("/node/route-test")
def show(request: Request, services: Using, _identity: Reader) -> Response:
    """Show the form."""
    return _page(request, services, dict.fromkeys(_FIELDS, ""), None, "")


@router.post("/node/route-test")
async def test(request: Request, services: Using, _identity: Reader) -> Response:
    """Test the file, or else the attributes that were entered; the file is deleted at once."""
    announced = request.headers.get("content-length", "")
    if not announced.isdecimal() or int(announced) > _MOST_BYTES + _FORM_BYTES:
        raise TooLargeError(f"A file here may have {_MOST_BYTES:,} bytes at most. One slice of a series is enough.")
    async with request.form(max_files=1, max_fields=len(_FIELDS), max_part_size=_FORM_BYTES) as form:
        return await run_in_threadpool(_tested, request, services, form)


def _tested(request: Request, services: Services, form: FormData) -> Response:
    values = {name: str(form.get(name) or "").strip()[:_LONGEST] for name in _FIELDS}
    upload = form.get("file")
    wrong = ""
    attributes = ImageAttributes(
        sop_class_uid="",
        sop_instance_uid="",
        study_instance_uid="",
        series_instance_uid="",
        **{name: values[name] for name in _FIELDS[2:]},
    )
    if isinstance(upload, UploadFile) and upload.filename:
        try:
            with _kept(services.settings, upload.file) as path:
                attributes = header_of(path)
        except CannotUnderstandError as error:
            wrong = f"This is no DICOM file that can be read: {error}."
    if wrong:
        return _page(request, services, values, None, wrong)
    tested = explain_route(services.settings, attributes, calling=values["calling"], called=values["called"])
    return _page(request, services, values, tested, "")


@contextmanager
def _kept(settings: Settings, source: BinaryIO) -> Iterator[Path]:
    """Yield a file with the bytes of ``source``; it is gone afterwards.

    Its folder is of no check: if this process dies, it goes with those of broken uploads.
    """
    root = settings.checks_dir
    root.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(root).free - _MOST_BYTES < _RESERVE_FACTOR * settings.spool.min_free_bytes:
        raise NoRoomError("The node's disk is nearly full; what is left of it is kept for the images that it receives.")
    with tempfile.TemporaryDirectory(prefix="route-test-", dir=root) as folder:
        path = Path(folder) / "image"
        with path.open("xb") as target:
            shutil.copyfileobj(source, target)
        yield path


def _page(
    request: Request, services: Services, values: dict[str, str], tested: RouteTest | None, wrong: str
) -> Response:
    facts = {
        "values": values,
        "tested": tested,
        "wrong": wrong,
        "peers": [peer.ae_title for peer in services.settings.peers],
        "called": list(services.settings.called_ae_titles),
    }
    return services.templates.TemplateResponse(request, "rule_tester.html", facts, status_code=422 if wrong else 200)
