"""Studies as JSON: the worklist's search, and what is known of one study by its Study Instance UID."""

import time
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from medfake_pacs.console.errors import InvalidInputError
from medfake_pacs.console.openapi import problems
from medfake_pacs.console.queries import studies_api, worklist
from medfake_pacs.console.queries.studies_api_models import InstanceList, Series, StudyDetail, StudyList, Word
from medfake_pacs.console.queries.study_history import report_file
from medfake_pacs.console.queries.worklist import StudyRow
from medfake_pacs.console.queries.worklist_cursor import parse_cursor
from medfake_pacs.console.queries.worklist_input import ALIASES, UID, UID_CHARACTERS, Asked, understand
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.console.study_views import report_exported
from medfake_pacs.console.viewing import log_study_view, log_worklist_search, log_worklist_view
from medfake_pacs.database import reading

router = APIRouter(tags=["studies"])
Using = Annotated[Services, Depends(services_of)]
Reader = Annotated[Identity, requires(Permission.STUDIES_READ)]
_UID = Path(pattern=f"^{UID.pattern}$", max_length=UID_CHARACTERS, examples=["1.2.840.113619.2.55.3.1"])
StudyUid = Annotated[str, _UID]
SeriesUid = Annotated[str, _UID]
Text = Annotated[str, Field(max_length=1024)]
_MAX_ID = 2**63 - 1


class StudySearch(BaseModel):
    """The worklist's conditions; the names of QIDO-RS mean the same as those beside them."""

    model_config = ConfigDict(extra="forbid")

    verdict: Annotated[list[Word], Field(description="any of these; may be given several times")] = []
    modality: Annotated[Text, Field(description="also as `ModalitiesInStudy`")] = ""
    ae_title: Annotated[Text, Field(description="the calling AE title that sent the first image")] = ""
    received_from: Annotated[Text, Field(alias="from", description="a date, or a date with time; UTC if unsaid")] = ""
    received_to: Annotated[Text, Field(alias="to", description="a date (its end), or a date with time (excluded)")] = ""
    patient_id: Annotated[Text, Field(description="the whole Patient ID; also as `PatientID`")] = ""
    accession_number: Annotated[Text, Field(description="the whole number; also as `AccessionNumber`")] = ""
    study_instance_uid: Annotated[Text, Field(description="also as `StudyInstanceUID`")] = ""
    no_verdict_for: Annotated[
        Literal["", "1h", "6h", "1d", "7d"], Field(description="received so long ago, and still without a verdict")
    ] = ""
    order: Annotated[
        Literal["newest", "oldest", "probability", "verdict"],
        Field(description="newest or oldest received, highest probability, newest verdict first"),
    ] = "newest"
    cursor: Annotated[str, Field(max_length=200, description="from `next` of an earlier answer")] = ""
    logged: Annotated[int | None, Field(ge=0, le=2**53, description="from `next` of an earlier answer")] = None
    limit: Annotated[int, Field(ge=1, le=500)] = worklist.PAGE_SIZE
    StudyInstanceUID: Annotated[Text, Field(description="as `study_instance_uid`")] = ""
    PatientID: Annotated[Text, Field(description="as `patient_id`")] = ""
    AccessionNumber: Annotated[Text, Field(description="as `accession_number`")] = ""
    ModalitiesInStudy: Annotated[Text, Field(description="as `modality`")] = ""

    def asked(self) -> Asked:
        """Return the search that is meant.

        Raises
        ------
        InvalidInputError
            If a condition makes no sense, or is given by two names with different values.
        """
        values = self.model_dump(by_alias=True, exclude={"verdict", "cursor", "logged", "limit"})
        wrong = {}
        for alias, name in ALIASES.items():
            given = values.pop(alias)
            if given and values[name] and given != values[name]:
                wrong[alias] = f"contradicts {name}"
            values[name] = values[name] or given
        asked = understand(values, self.verdict)
        wrong |= asked.wrong
        if wrong:
            raise InvalidInputError("; ".join(f"{name}: {text}" for name, text in wrong.items()), wrong)
        return asked


@router.get("/studies")
def list_studies(
    services: Using, identity: Reader, search: Annotated[StudySearch, Query()], response: Response
) -> StudyList:
    """Search the worklist.

    The first answer of a search is put into the log; what follows, by `next` (which is also the `Link` header's
    `next`), belongs to the same search. Without a condition the log says once an hour that the worklist was looked at.
    """
    asked = search.asked()
    cursor = parse_cursor(search.cursor)
    conditions = asked.conditions.as_facts()
    logged = None
    if conditions:
        logged = log_worklist_search(services, identity, conditions, search.logged if cursor else None)
    else:
        log_worklist_view(services, identity)
    with reading(services.engine) as connection:
        page = worklist.page_of_studies(
            connection, asked.conditions, asked.order, cursor, now=time.time(), limit=search.limit
        )
    following = None
    if page.following:
        pairs = [(name, value) for name, value in asked.values.items() if value]
        pairs += [("verdict", verdict) for verdict in asked.verdicts]
        pairs += [("limit", str(search.limit)), *([("logged", str(logged))] if logged else [])]
        pairs.append(("cursor", str(page.following)))
        following = f"/api/studies?{urlencode(pairs)}"
        response.headers["Link"] = f'<{following}>; rel="next"'
    return StudyList(studies=studies_api.summaries(page.rows), next=following)


@router.get("/studies/{study_instance_uid}")
def get_study(services: Using, identity: Reader, study_instance_uid: StudyUid) -> StudyDetail:
    """Return a study: its verdict, series, revisions, reports and deliveries. The log says who looked."""
    study = _viewed(services, identity, study_instance_uid, "study")
    return studies_api.study_detail(services, study)


@router.get("/studies/{study_instance_uid}/series")
def list_series(services: Using, identity: Reader, study_instance_uid: StudyUid) -> list[Series]:
    """Return a study's series with their part in the newest verdict."""
    _viewed(services, identity, study_instance_uid, "series")
    return studies_api.study_series(services, study_instance_uid)


@router.get("/studies/{study_instance_uid}/series/{series_instance_uid}/instances")
def list_instances(
    services: Using,
    identity: Reader,
    study_instance_uid: StudyUid,
    series_instance_uid: SeriesUid,
    after: Annotated[int, Query(ge=0, le=_MAX_ID, description="`next_after` of an earlier answer")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
) -> InstanceList:
    """Return a series' objects with what was found in each: probability, frames, regions, conflicts."""
    _viewed(services, identity, study_instance_uid, "instances")
    return studies_api.series_instances(services, study_instance_uid, series_instance_uid, after, limit)


@router.get(
    "/studies/{study_instance_uid}/report",
    response_class=Response,
    responses={
        200: {"content": {"application/dicom": {"schema": {"type": "string", "format": "binary"}}}},
        **problems(410),
    },
)
def get_report(
    services: Using,
    identity: Reader,
    study_instance_uid: StudyUid,
    revision: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="left out: the newest")] = None,
) -> Response:
    """Return the Structured Report on a study as a DICOM file (PS3.10), byte for byte as it was written."""
    studies_api.study_summary(services, study_instance_uid)
    uid = studies_api.verdict_report_uid(services, study_instance_uid, revision)
    report = report_file(services, study_instance_uid, uid)
    report_exported(services, identity, study_instance_uid, uid)
    disposition = f'attachment; filename="{report.sop_instance_uid}.dcm"'
    return Response(report.content, media_type="application/dicom", headers={"Content-Disposition": disposition})


def _viewed(services: Services, identity: Identity, study_instance_uid: str, what: str) -> StudyRow:
    """Return the study that is asked for, and have the log say who asked."""
    study = studies_api.study_summary(services, study_instance_uid)
    log_study_view(
        services,
        identity,
        study_instance_uid=study_instance_uid,
        patient_id=study.patient_id,
        accession_number=study.accession_number,
        what=what,
    )
    return study
