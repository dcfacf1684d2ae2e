"""The start page: wherever this account looks first."""

from fastapi import APIRouter
from fastapi.responses import RedirectResponse

from medfake_pacs.console.security.identity import SignedIn
from medfake_pacs.console.security.permissions import Permission

router = APIRouter()


@router.get("/")
def home(identity: SignedIn) -> RedirectResponse:
    """Send people to the worklist, or to their account if they have no rights yet."""
    return RedirectResponse("/worklist" if identity.may(Permission.STUDIES_READ) else "/account", 303)
