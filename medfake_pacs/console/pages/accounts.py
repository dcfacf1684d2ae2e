"""Accounts, for administrators: approve, give roles, disable, reset passwords, invite."""

from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from medfake_pacs.console.errors import ConflictError, InvalidInputError, NotFoundError
from medfake_pacs.console.queries import accounts as queries
from medfake_pacs.console.security import accounts, invitations, passwords
from medfake_pacs.console.security.actors import actor_of
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import ROLE_MEANINGS, Permission
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.database import reading, transaction

router = APIRouter()
Using = Annotated[Services, Depends(services_of)]
Administrator = Annotated[Identity, requires(Permission.ACCOUNTS_MANAGE)]
Roles = Annotated[tuple[str, ...], Form()]
_NOTICES = {
    "approved": "The account is approved; its owner can sign in.",
    "rejected": "The account was rejected and is gone.",
    "roles": "The roles are changed, from the next request on.",
    "disabled": "The account is disabled. Its sessions and tokens have ended.",
    "enabled": "The account is enabled again.",
    "ended": "Its sessions and tokens have ended.",
    "revoked": "The invitation is revoked.",
}


@router.get("/accounts")
def show_all(
    request: Request,
    services: Using,
    identity: Administrator,
    state: str = "",
    search: str = "",
    after: str = "",
    notice: str = "",
) -> Response:
    """Show the accounts, and the invitations."""
    state = state if state in queries.STATES else ""
    return _list_page(request, services, state, search, after, notice=_NOTICES.get(notice, ""))


@router.post("/accounts/invitations")
def invite(
    request: Request,
    services: Using,
    identity: Administrator,
    roles: Roles = (),
    note: Annotated[str, Form()] = "",
    days: Annotated[str, Form()] = "",
) -> Response:
    """Make an invitation and show its link, once."""
    if services.settings.console.registration == "closed":
        raise ConflictError('Registration is closed; set console.registration to "invitation" first.')
    count = int(days) if days.isdecimal() and len(days) < 6 else 0
    try:
        with transaction(services.engine) as connection:
            secret = invitations.invite(connection, actor_of(identity), accounts.checked_roles(roles), note, count)
    except InvalidInputError as error:
        kept = {"note": note, "days": days, "roles": roles}
        return _list_page(request, services, fields=error.fields, kept=kept)
    link = f"{services.settings.console.url}/register?{urlencode({'invitation': secret})}"
    return _list_page(request, services, link=link)


@router.post("/accounts/invitations/{key}/revoke")
def revoke_invitation(services: Using, identity: Administrator, key: str) -> Response:
    """Make an unused invitation worthless."""
    with transaction(services.engine) as connection:
        invitations.revoke(connection, actor_of(identity), key)
    return RedirectResponse("/accounts?notice=revoked", 303)


@router.get("/accounts/{user_id}")
def show(request: Request, services: Using, identity: Administrator, user_id: int, notice: str = "") -> Response:
    """Show one account and what can be done with it."""
    return _account_page(request, services, user_id, notice=_NOTICES.get(notice, ""))


@router.post("/accounts/{user_id}/approve")
def approve(request: Request, services: Using, identity: Administrator, user_id: int, roles: Roles = ()) -> Response:
    """Let a new account in."""
    chosen = accounts.checked_roles(roles)
    return _do(
        request, services, user_id, "approved", lambda c: accounts.approve(c, actor_of(identity), user_id, chosen)
    )


@router.post("/accounts/{user_id}/reject")
def reject(request: Request, services: Using, identity: Administrator, user_id: int) -> Response:
    """Delete an account that waits for approval."""
    return _do(
        request,
        services,
        user_id,
        "rejected",
        lambda c: accounts.reject(c, actor_of(identity), user_id),
        where="/accounts",
    )


@router.post("/accounts/{user_id}/roles")
def set_roles(request: Request, services: Using, identity: Administrator, user_id: int, roles: Roles = ()) -> Response:
    """Give an account other roles."""
    chosen = accounts.checked_roles(roles)
    return _do(
        request, services, user_id, "roles", lambda c: accounts.set_roles(c, actor_of(identity), user_id, chosen)
    )


@router.post("/accounts/{user_id}/disable")
def disable(request: Request, services: Using, identity: Administrator, user_id: int) -> Response:
    """Shut an account out."""
    return _do(request, services, user_id, "disabled", lambda c: accounts.disable(c, actor_of(identity), user_id))


@router.post("/accounts/{user_id}/enable")
def enable(request: Request, services: Using, identity: Administrator, user_id: int) -> Response:
    """Let a disabled account in again."""
    return _do(request, services, user_id, "enabled", lambda c: accounts.enable(c, actor_of(identity), user_id))


@router.post("/accounts/{user_id}/end-access")
def end_access(request: Request, services: Using, identity: Administrator, user_id: int) -> Response:
    """End an account's sessions and tokens."""
    return _do(request, services, user_id, "ended", lambda c: accounts.end_access(c, actor_of(identity), user_id))


@router.post("/accounts/{user_id}/password")
def reset_password(request: Request, services: Using, identity: Administrator, user_id: int) -> Response:
    """Give an account a one-time password and show it, once."""
    password = passwords.temporary()
    with services.hashing:
        password_hash = passwords.hashed(password)
    with transaction(services.engine) as connection:
        accounts.reset_password(connection, actor_of(identity), user_id, password_hash, must_change=True)
    return _account_page(request, services, user_id, one_time_password=password)


def _do(
    request: Request,
    services: Services,
    user_id: int,
    notice: str,
    act: Callable[[sa.Connection], None],
    *,
    where: str = "",
) -> Response:
    """Act on an account; what contradicts its state is said on its page."""
    try:
        with transaction(services.engine) as connection:
            act(connection)
    except ConflictError as error:
        return _account_page(request, services, user_id, problem=str(error), status=error.status)
    return RedirectResponse(f"{where or f'/accounts/{user_id}'}?notice={notice}", 303)


def _list_page(
    request: Request,
    services: Services,
    state: str = "",
    search: str = "",
    after: str = "",
    *,
    notice: str = "",
    link: str = "",
    fields: dict[str, str] | None = None,
    kept: dict[str, object] | None = None,
) -> Response:
    with reading(services.engine) as connection:
        found = queries.list_accounts(connection, state, search, after)
        facts = {"pending": queries.count_pending(connection), "invitations": queries.list_invitations(connection)}
    page, more = found[: queries.PAGE_SIZE], len(found) > queries.PAGE_SIZE
    again = {"state": state, "search": search}
    facts |= {
        "accounts": page,
        "state": state,
        "search": search,
        "first": f"/accounts?{urlencode(again)}" if after else "",
        "older": f"/accounts?{urlencode(again | {'after': page[-1].user_name})}" if more else "",
        "notice": notice,
        "link": link,
        "fields": fields or {},
        "kept": {"note": "", "days": invitations.DEFAULT_DAYS, "roles": ("viewer",)} | (kept or {}),
        "registration": services.settings.console.registration,
        "role_meanings": ROLE_MEANINGS,
        "maximum_days": invitations.MAXIMUM_DAYS,
    }
    return services.templates.TemplateResponse(request, "accounts.html", facts, status_code=422 if fields else 200)


def _account_page(
    request: Request,
    services: Services,
    user_id: int,
    *,
    notice: str = "",
    problem: str = "",
    one_time_password: str = "",
    status: int = 200,
) -> Response:
    with reading(services.engine) as connection:
        found = queries.account(connection, user_id)
        if found is None:
            raise NotFoundError("There is no such account; it may have been rejected.")
        facts = {
            "account": found,
            "sessions": queries.sessions_of(connection, services.settings.console, user_id, ""),
            "tokens": [token for token in queries.tokens_of(connection, user_id) if token.state == "valid"],
        }
    facts |= {
        "notice": notice,
        "problem": problem,
        "one_time_password": one_time_password,
        "role_meanings": ROLE_MEANINGS,
    }
    return services.templates.TemplateResponse(request, "one_account.html", facts, status_code=status)
