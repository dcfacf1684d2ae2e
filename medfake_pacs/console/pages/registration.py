"""Ask for an account: by invitation, or freely where the configuration says so; an administrator approves."""

import time
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import Response

from medfake_pacs.console.errors import ConflictError, InvalidInputError, NotFoundError
from medfake_pacs.console.security import accounts, invitations, passwords, sessions, throttle
from medfake_pacs.console.security.actors import Actor
from medfake_pacs.console.security.permissions import parse_roles
from medfake_pacs.console.security.signing_in import wait_text
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.database import reading, transaction

router = APIRouter()
Using = Annotated[Services, Depends(services_of)]
_CLOSED = "Nobody can register here by themselves. Ask an administrator for an account."
_NEEDS_INVITATION = (
    "An account here needs an invitation. The link may have been used, revoked or expired; ask an administrator."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    user_name: str
    display_name: str
    email: str
    password: str
    repeated: str
    invitation: str


@router.get("/register")
def show(request: Request, services: Using, invitation: str = "") -> Response:
    """Show the form to whoever may use it."""
    _check_open(services, invitation)
    return _page(request, services, invitation)


@router.post("/register")
def register(
    request: Request,
    services: Using,
    user_name: Annotated[str, Form()] = "",
    display_name: Annotated[str, Form()] = "",
    email: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    repeated: Annotated[str, Form()] = "",
    invitation: Annotated[str, Form()] = "",
) -> Response:
    """Make an account that waits for approval."""
    wanted = _Wanted(
        user_name=user_name,
        display_name=display_name,
        email=email,
        password=password,
        repeated=repeated,
        invitation=invitation,
    )
    host = sessions.client_host(request)
    _check_open(services, invitation)
    wait = _count(services, user_name, host)
    if wait:
        return _page(request, services, invitation, wanted, message=wait, status=429)
    try:
        account = _checked(services, wanted)
        _make(services, account, invitation, host)
    except (InvalidInputError, ConflictError) as error:
        fields = error.fields if isinstance(error, InvalidInputError) else {"user_name": str(error)}
        return _page(request, services, invitation, wanted, fields=fields, status=error.status)
    return services.templates.TemplateResponse(request, "registered.html", {"name": account.user_name})


def _check_open(services: Services, invitation: str) -> None:
    setting = services.settings.console.registration
    if setting == "closed":
        raise NotFoundError(_CLOSED)
    if not invitation and setting == "invitation":
        raise NotFoundError(_NEEDS_INVITATION)
    if invitation:
        with reading(services.engine) as connection:
            if invitations.valid(connection, invitation) is None:
                raise NotFoundError(_NEEDS_INVITATION)


def _count(services: Services, name: str, host: str) -> str:
    """Count a registration; return what to say to a host that has asked too often."""
    now = time.time()
    with transaction(services.engine) as connection:
        throttle.forget_old(connection, now)
        attempt = throttle.begin_registration(connection, name, host, now)
    return (
        f"Too many accounts were asked for from this address. {wait_text(attempt.wait_s, now)}"
        if attempt.wait_s
        else ""
    )


def _checked(services: Services, wanted: _Wanted) -> accounts.NewAccount:
    wrong: dict[str, str] = {}
    name, profile = "", {"display_name": "", "email": ""}
    try:
        name = accounts.checked_name(wanted.user_name)
    except InvalidInputError as error:
        wrong |= error.fields
    try:
        profile = accounts.checked_profile(wanted.display_name, wanted.email)
    except InvalidInputError as error:
        wrong |= error.fields
    problem = passwords.problem_of(wanted.password, name)
    if problem:
        wrong["password"] = problem
    elif wanted.password != wanted.repeated:
        wrong["repeated"] = "This isn't the same as above."
    if wrong:
        raise InvalidInputError("Please correct what is marked.", wrong)
    with services.hashing:
        password_hash = passwords.hashed(wanted.password)
    return accounts.NewAccount(user_name=name, password_hash=password_hash, **profile)


def _make(services: Services, account: accounts.NewAccount, invitation: str, host: str) -> None:
    """Make the account and use up its invitation, both or neither."""
    actor = Actor(who=account.user_name, host=host)
    with transaction(services.engine) as connection:
        invited = invitations.valid(connection, invitation) if invitation else None
        if invited:
            account = replace(account, roles=parse_roles(invited.roles))
        accounts.create(connection, actor, account, "account-registered")
        if invitation and not invitations.use(connection, invitation, account.user_name):
            raise NotFoundError(_NEEDS_INVITATION)


def _page(
    request: Request,
    services: Services,
    invitation: str,
    wanted: _Wanted | None = None,
    *,
    message: str = "",
    fields: dict[str, str] | None = None,
    status: int = 200,
) -> Response:
    facts = {
        "invitation": invitation,
        "user_name": wanted.user_name if wanted else "",
        "display_name": wanted.display_name if wanted else "",
        "email": wanted.email if wanted else "",
        "message": message,
        "fields": fields or {},
        "hint": passwords.HINT,
    }
    return services.templates.TemplateResponse(request, "register.html", facts, status_code=status)
