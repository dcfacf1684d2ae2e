"""Sign in by OpenID Connect."""

import logging
import math
import time
from collections.abc import Mapping
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from medfake_pacs.config.console import OidcSettings
from medfake_pacs.console.errors import NotFoundError
from medfake_pacs.console.pages.sign_in import form
from medfake_pacs.console.security import sessions, single_sign_on, throttle
from medfake_pacs.console.security.actors import Actor, log_authentication
from medfake_pacs.console.security.local_paths import local_path
from medfake_pacs.console.security.signing_in import Outcome, begin_session, wait_text
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.database import transaction

router = APIRouter()
Using = Annotated[Services, Depends(services_of)]
CALLBACK = "/sign-in/oidc/callback"
_UNREACHABLE = "The single sign-on can't be reached just now. Sign in with a password, or try again in a moment."
_FAILED = "The single sign-on was not finished. Begin again, in this browser."
_MESSAGES = {
    "pending": "You have signed in, but your account waits until an administrator approves it.",
    "disabled": "You have signed in, but your account is disabled. Ask an administrator.",
}
_log = logging.getLogger(__name__)


@router.get("/sign-in/oidc")
def begin(request: Request, services: Using, next: str = "/") -> Response:
    """Send the browser to the provider. A link, not a form: the policy lets no form lead to another host."""
    from medfake_pacs.console.security import oidc

    settings, where = _settings(services), local_path(next)
    host, now = sessions.client_host(request), time.time()
    with transaction(services.engine) as connection:
        throttle.forget_old(connection, now)
        wait_s = throttle.single_sign_on_wait_s(connection, host, now)
        if wait_s > 0:
            return form(request, services, where=where, outcome=_throttled(wait_s, now))
        cookie, flow = single_sign_on.begin(connection, where, host, now)
    wanted = oidc.Flow(state=flow["state"], nonce=flow["nonce"], code_verifier=flow["code_verifier"])
    try:
        url = oidc.authorization_url(settings, services.provider, _redirect_uri(services), wanted)
    except oidc.SignOnError as error:
        _log.error("single sign-on can't begin", extra={"reason": str(error)})
        return form(request, services, where=where, outcome=Outcome(status=503, message=_UNREACHABLE))
    response = RedirectResponse(url, 303)
    response.set_cookie(
        _cookie_name(services),
        cookie,
        httponly=True,
        samesite="lax",
        secure=services.settings.console.is_https,
        path="/",
        max_age=int(single_sign_on.FLOW_S),
    )
    return response


@router.get(CALLBACK)
def finish(
    request: Request, services: Using, code: str = "", state: str = "", error: str = "", iss: str = ""
) -> Response:
    """Check what the provider sent back, and begin a session."""
    from medfake_pacs.console.security import oidc

    settings = _settings(services)
    cookie, now = request.cookies.get(_cookie_name(services), ""), time.time()
    with transaction(services.engine) as connection:
        flow = single_sign_on.finish(connection, cookie, state, now)
        if flow is None and cookie:
            throttle.count_single_sign_on(connection, sessions.client_host(request), now)
    if flow is None:
        # Not for the log: anybody could fill it with this.
        return _without_flow(services, form(request, services, outcome=Outcome(status=401, message=_FAILED)))
    if error or not code or iss.rstrip("/") not in {"", settings.issuer}:
        return _fail(request, services, "the provider refused, or another one answered", flow.next)
    wanted = oidc.Flow(state=flow.state, nonce=flow.nonce, code_verifier=flow.code_verifier)
    try:
        claims = oidc.claims_of(settings, services.provider, _redirect_uri(services), wanted, code)
    except oidc.SignOnError as sign_on_error:
        return _fail(request, services, str(sign_on_error), flow.next)
    return _enter(request, services, settings, claims, flow.next)


def _enter(
    request: Request, services: Services, settings: OidcSettings, claims: Mapping[str, Any], where: str
) -> Response:
    host = sessions.client_host(request)
    with transaction(services.engine) as connection:
        user = single_sign_on.account_for(connection, settings, claims, host)
        if user.state == "active":
            secret = begin_session(connection, services, request, user, method="OpenID Connect", issuer=claims["iss"])
        else:
            _refuse_in(connection, Actor(who=user.user_name, host=host), f"the account is {user.state}")
    if user.state != "active":
        return form(request, services, where=where, outcome=Outcome(status=403, message=_MESSAGES[user.state]))
    response = RedirectResponse(where, 303)
    sessions.set_cookie(services, response, secret)
    return _without_flow(services, response)


def _fail(request: Request, services: Services, reason: str, where: str) -> Response:
    _log.warning("single sign-on failed", extra={"reason": reason})
    with transaction(services.engine) as connection:
        _refuse_in(connection, Actor(who="", host=sessions.client_host(request)), reason)
    outcome = Outcome(status=401, message=_FAILED)
    return _without_flow(services, form(request, services, where=where, outcome=outcome))


def _refuse_in(connection: sa.Connection, actor: Actor, reason: str) -> None:
    """Count a sign-on that failed and put it into the log, unless its host has failed too often to be worth it."""
    if throttle.count_single_sign_on(connection, actor.host, time.time()).wait_s > 0:
        return
    facts = {"outcome": "failure", "reason": reason, "method": "OpenID Connect"}
    log_authentication(connection, actor, "sign-in-refused", **facts)


def _throttled(wait_s: float, now: float) -> Outcome:
    text = f"Too many single sign-ons from this address came to nothing. {wait_text(wait_s, now)}"
    return Outcome(status=429, message=text, retry_after_s=math.ceil(wait_s))


def _without_flow(services: Services, response: Response) -> Response:
    secure = services.settings.console.is_https
    response.delete_cookie(_cookie_name(services), path="/", secure=secure, httponly=True, samesite="lax")
    return response


def _settings(services: Services) -> OidcSettings:
    settings = services.settings.console.oidc
    if settings is None:
        raise NotFoundError("Single sign-on isn't configured here. Sign in with a password.")
    return settings


def _redirect_uri(services: Services) -> str:
    return f"{services.settings.console.url}{CALLBACK}"


def _cookie_name(services: Services) -> str:
    return "__Host-medfake-sign-on" if services.settings.console.is_https else "medfake-sign-on"
