"""Sign in and out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from medfake_pacs.console.security import known_devices, sessions, signing_in
from medfake_pacs.console.security.actors import LOGOUT, actor_of, log_authentication
from medfake_pacs.console.security.identity import SignedIn, identify
from medfake_pacs.console.security.local_paths import local_path
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.database import transaction

router = APIRouter()
Using = Annotated[Services, Depends(services_of)]


@router.get("/sign-in")
def show(request: Request, services: Using, next: str = "/", notice: str = "") -> Response:
    """Show the form."""
    where = local_path(next)
    if identify(request):
        return RedirectResponse(where, 303)
    return form(request, services, where=where, notice=_NOTICES.get(notice, ""))


@router.post("/sign-in")
def sign_in(
    request: Request,
    services: Using,
    user_name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Check name and password and begin a session."""
    where = local_path(next)
    outcome = signing_in.sign_in(services, request, user_name, password)
    if not outcome.secret:
        return form(request, services, where=where, outcome=outcome, user_name=user_name)
    response = RedirectResponse(where, 303)
    sessions.set_cookie(services, response, outcome.secret)
    known_devices.set_cookie(services, response, outcome.device)
    return response


@router.post("/sign-out")
def sign_out(services: Using, identity: SignedIn) -> RedirectResponse:
    """End this session."""
    with transaction(services.engine) as connection:
        sessions.end_in(connection, identity.session_sha256)
        log_authentication(connection, actor_of(identity), "signed-out", LOGOUT, outcome="success")
    response = RedirectResponse("/sign-in?notice=signed-out", 303)
    sessions.delete_cookie(services, response)
    return response


# By a word in the address, so that nobody makes a link with a text of their own.
_NOTICES = {
    "signed-out": "You have signed out.",
    "everywhere": "You have signed out everywhere.",
    "cancelled": "The single sign-on was not finished.",
}


def form(
    request: Request,
    services: Services,
    *,
    where: str = "/",
    notice: str = "",
    outcome: signing_in.Outcome | None = None,
    user_name: str = "",
) -> Response:
    """Return the form, with what came of an attempt."""
    console = services.settings.console
    facts = {
        "next": where,
        "notice": notice,
        "failed": outcome.message if outcome else "",
        "user_name": user_name,
        "single_sign_on": console.oidc.name if console.oidc else "",
        "registration": console.registration,
    }
    status = outcome.status if outcome else 200
    response = services.templates.TemplateResponse(request, "sign_in.html", facts, status_code=status)
    if outcome and outcome.retry_after_s:
        response.headers["Retry-After"] = str(outcome.retry_after_s)
    return response
