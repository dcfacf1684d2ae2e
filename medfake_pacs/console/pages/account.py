"""One's own account: who one is, the password, the sessions, the tokens."""

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from medfake_pacs.console.errors import InvalidInputError
from medfake_pacs.console.queries import accounts as queries
from medfake_pacs.console.security import accounts, known_devices, own_password, sessions, tokens
from medfake_pacs.console.security.actors import LOGOUT, actor_of, log_authentication, log_change
from medfake_pacs.console.security.identity import Identity, SignedIn
from medfake_pacs.console.security.passwords import HINT
from medfake_pacs.console.security.permissions import PERMISSION_MEANINGS, ROLE_MEANINGS
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.console_tables import users

router = APIRouter()
Using = Annotated[Services, Depends(services_of)]
_NOTICES = {
    "profile": "Your profile is saved.",
    "password": "Your password is changed. Every other session of yours has ended.",
    "session": "That session has ended.",
    "token": "That token is worthless now.",
}


@router.get("/account")
def show(request: Request, services: Using, identity: SignedIn, notice: str = "") -> Response:
    """Show the account of whoever asks."""
    return _page(request, services, identity, notice=_NOTICES.get(notice, ""))


@router.post("/account/profile")
def change_profile(
    request: Request,
    services: Using,
    identity: SignedIn,
    display_name: Annotated[str, Form()] = "",
    email: Annotated[str, Form()] = "",
) -> Response:
    """Change how others see this account."""
    try:
        profile = accounts.checked_profile(display_name, email)
    except InvalidInputError as error:
        return _page(
            request, services, identity, fields=error.fields, kept={"display_name": display_name, "email": email}
        )
    with transaction(services.engine) as connection:
        connection.execute(sa.update(users).where(users.c.user_id == identity.user_id).values(profile))
        log_change(connection, actor_of(identity), "profile-changed", account=identity.user_name)
    return RedirectResponse("/account?notice=profile", 303)


@router.get("/account/password")
def show_password(request: Request, services: Using, identity: SignedIn) -> Response:
    """Show the form for another password."""
    return _password_page(request, services, identity)


@router.post("/account/password")
def change_password(
    request: Request,
    services: Using,
    identity: SignedIn,
    old: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    repeated: Annotated[str, Form()] = "",
) -> Response:
    """Change the password, give this session another cookie, and end the other sessions."""
    wanted = own_password.Wanted(old=old, password=password, repeated=repeated)
    try:
        changed = own_password.change(services, identity, wanted)
    except InvalidInputError as error:
        return _password_page(request, services, identity, error.fields)
    response = RedirectResponse("/account?notice=password", 303)
    sessions.set_cookie(services, response, changed.secret)
    known_devices.set_cookie(services, response, changed.device)
    return response


@router.post("/account/sessions/end")
def end_session(services: Using, identity: SignedIn, key: Annotated[str, Form()] = "") -> Response:
    """End one session of this account."""
    with transaction(services.engine) as connection:
        accounts.end_session(connection, actor_of(identity), identity.user_id, key)
    return RedirectResponse("/account?notice=session", 303)


@router.post("/account/sessions/end-all")
def sign_out_everywhere(services: Using, identity: SignedIn) -> Response:
    """End every session of this account, this one too."""
    with transaction(services.engine) as connection:
        accounts.end_sessions(connection, identity.user_id)
        facts = {"outcome": "success", "what": "every session"}
        log_authentication(connection, actor_of(identity), "signed-out", LOGOUT, **facts)
    response = RedirectResponse("/sign-in?notice=everywhere", 303)
    sessions.delete_cookie(services, response)
    return response


@router.post("/account/tokens")
def create_token(
    request: Request,
    services: Using,
    identity: SignedIn,
    name: Annotated[str, Form()] = "",
    scopes: Annotated[tuple[str, ...], Form()] = (),
    days: Annotated[str, Form()] = "",
) -> Response:
    """Make a token and show it, once."""
    wanted = tokens.NewToken(name=name, scopes=scopes, days=int(days) if days.isdecimal() and len(days) < 6 else 0)
    try:
        with transaction(services.engine) as connection:
            secret = tokens.create(connection, identity, wanted)
    except InvalidInputError as error:
        kept = {"name": name, "scopes": scopes, "days": days}
        return _page(request, services, identity, fields=error.fields, kept=kept)
    return _page(request, services, identity, new_token=secret)


@router.post("/account/tokens/{token_id}/revoke")
def revoke_token(services: Using, identity: SignedIn, token_id: int) -> Response:
    """Make a token worthless."""
    with transaction(services.engine) as connection:
        tokens.revoke(connection, identity, token_id)
    return RedirectResponse("/account?notice=token", 303)


def _page(
    request: Request,
    services: Services,
    identity: Identity,
    *,
    notice: str = "",
    fields: dict[str, str] | None = None,
    kept: dict[str, object] | None = None,
    new_token: str = "",
) -> Response:
    with reading(services.engine) as connection:
        mine = queries.account(connection, identity.user_id)
        assert mine is not None
        facts = {
            "account": mine,
            "sessions": queries.sessions_of(
                connection, services.settings.console, identity.user_id, identity.session_sha256
            ),
            "tokens": queries.tokens_of(connection, identity.user_id),
        }
    facts |= {
        "notice": notice,
        "fields": fields or {},
        "kept": {
            "display_name": mine.display_name,
            "email": mine.email,
            "name": "",
            "scopes": (),
            "days": tokens.DEFAULT_DAYS,
        }
        | (kept or {}),
        "new_token": new_token,
        "meanings": PERMISSION_MEANINGS,
        "role_meanings": ROLE_MEANINGS,
        "maximum_days": tokens.MAXIMUM_DAYS,
    }
    return services.templates.TemplateResponse(request, "account.html", facts, status_code=422 if fields else 200)


def _password_page(
    request: Request, services: Services, identity: Identity, fields: dict[str, str] | None = None
) -> Response:
    with reading(services.engine) as connection:
        mine = queries.account(connection, identity.user_id)
    facts = {"account": mine, "fields": fields or {}, "hint": HINT, "forced": identity.must_change_password}
    return services.templates.TemplateResponse(request, "password.html", facts, status_code=422 if fields else 200)
