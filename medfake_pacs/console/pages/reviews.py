"""Say what one thinks of a verdict."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from medfake_pacs.console.errors import ConflictError, InvalidInputError
from medfake_pacs.console.pages.studies import Choice, ReviewForm, render
from medfake_pacs.console.queries.reviews import checked, record_review
from medfake_pacs.console.queries.study import find_study
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.console.study_views import study_viewed

router = APIRouter()


@router.post("/studies/{study_instance_uid}/reviews")
def review(
    request: Request,
    services: Annotated[Services, Depends(services_of)],
    identity: Annotated[Identity, requires(Permission.REVIEWS_WRITE)],
    study_instance_uid: str,
    revision: Annotated[int, Form()],
    opinion: Annotated[str, Form()] = "",
    comment: Annotated[str, Form()] = "",
) -> Response:
    """Record an opinion on the verdict that the form was on; keep what was entered where it can't be recorded."""
    try:
        record_review(services, identity, study_instance_uid, checked(opinion, comment, revision))
    except (ConflictError, InvalidInputError) as error:
        fields = error.fields if isinstance(error, InvalidInputError) else {}
        form = ReviewForm(opinion=opinion, comment=comment, error=str(error), fields=fields)
        study = find_study(services, study_instance_uid)
        study_viewed(services, identity, study_instance_uid)
        return render(request, services, study, Choice(), form, error.status)
    return RedirectResponse(f"/studies/{study_instance_uid}#reviews", 303)
