"""What radiologists say of verdicts."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field

from medfake_pacs.console.openapi import problems
from medfake_pacs.console.queries.reviews import MAX_COMMENT_CHARACTERS, checked, record_review
from medfake_pacs.console.queries.study import require_study
from medfake_pacs.console.queries.study_history import ReviewLine, reviews_of
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.console.study_views import study_viewed

router = APIRouter(tags=["reviews"])
Using = Annotated[Services, Depends(services_of)]
StudyUid = Annotated[str, Path(pattern=r"^[0-9.]{1,64}$", examples=["1.2.840.113619.2.55.3.1"])]
_PATH = "/studies/{study_instance_uid}/reviews"


class NewReview(BaseModel):
    """An opinion on the verdict on one revision of a study: it must be the newest."""

    opinion: Literal["agree", "disagree", "comment"]
    comment: str = Field(
        default="", max_length=MAX_COMMENT_CHARACTERS, description="Needed unless the opinion is `agree`."
    )
    revision: int = Field(ge=1, le=2**31 - 1)


class Review(BaseModel):
    """One opinion.

    `report_uid` is the SOP Instance UID of its Structured Report, null until that is written. `unreported`: there is
    none, as the verdict has none.
    """

    review_id: int
    study_instance_uid: str
    revision: int
    user_name: str
    display_name: str
    opinion: str
    comment: str
    created_at: float = Field(description="Seconds since the epoch.")
    state: Literal["recorded", "reported", "unreported"]
    report_uid: str | None


class Reviews(BaseModel):
    """The opinions on a study's verdicts, newest first."""

    reviews: list[Review]


@router.get(_PATH)
def list_reviews(
    services: Using, identity: Annotated[Identity, requires(Permission.STUDIES_READ)], study_instance_uid: StudyUid
) -> Reviews:
    """Return what was said of a study's verdicts. The log says who looked."""
    require_study(services, study_instance_uid)
    study_viewed(services, identity, study_instance_uid, "reviews")
    return Reviews(reviews=[_review(study_instance_uid, line) for line in reviews_of(services, study_instance_uid)])


@router.post(_PATH, status_code=201, responses=problems(409))
def add_review(
    services: Using,
    identity: Annotated[Identity, requires(Permission.REVIEWS_WRITE)],
    study_instance_uid: StudyUid,
    new: NewReview,
) -> Review:
    """Record an opinion; a worker of the node makes a Structured Report of it that points to the verdict's."""
    said = checked(new.opinion, new.comment, new.revision)
    review_id = record_review(services, identity, study_instance_uid, said)
    [line] = [line for line in reviews_of(services, study_instance_uid) if line.review_id == review_id]
    return _review(study_instance_uid, line)


def _review(study_instance_uid: str, line: ReviewLine) -> Review:
    return Review(
        review_id=line.review_id,
        study_instance_uid=study_instance_uid,
        revision=line.revision,
        user_name=line.user_name,
        display_name=line.display_name,
        opinion=line.opinion,
        comment=line.comment,
        created_at=line.created_at,
        state=line.state,  # type: ignore[arg-type]
        report_uid=line.report.sop_instance_uid if line.report else None,
    )
