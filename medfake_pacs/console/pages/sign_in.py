"""Sign in and out."""

import time
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from medfake_pacs.console.security import passwords, sessions
from medfake_pacs.console.security.identity import SignedIn, identify
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.database import reading
from medfake_pacs.database.console_tables import users

router = APIRouter()
Using = Annotated[Services, Depends(services_of)]


@router.get("/sign-in")
def show(request: Request, services: Using, next: str = "/") -> Response:
    """Show the form."""
    if identify(request):
        return RedirectResponse("/", 303)
    return services.templates.TemplateResponse(request, "sign_in.html", {"next": next, "failed": ""})


@router.post("/sign-in")
def sign_in(
    request: Request,
    services: Using,
    user_name: Annotated[str, Form()],
    password: Annotated[str, Form()],
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Check name and password and begin a session."""
    query = sa.select(users).where(users.c.user_name == user_name.strip().lower(), users.c.state == "active")
    with reading(services.engine) as connection:
        user = connection.execute(query).first()
    if user is None or not passwords.matches(user.password_hash, password):
        facts = {"next": next, "failed": "Name or password is wrong."}
        return services.templates.TemplateResponse(request, "sign_in.html", facts, status_code=401)
    agent = request.headers.get("user-agent", "")
    secret = sessions.begin(services, user.user_id, sessions.client_host(request), agent, time.time())
    response = RedirectResponse(next if next.startswith("/") and not next.startswith("//") else "/", 303)
    sessions.set_cookie(services, response, secret)
    return response


@router.post("/sign-out")
def sign_out(services: Using, identity: SignedIn) -> RedirectResponse:
    """End this session."""
    sessions.end(services, identity.session_sha256, time.time())
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(sessions.cookie_name(services), path="/")
    return response
