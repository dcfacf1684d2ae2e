"""Who asks, and whether they may: the dependency that each page and call declares."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from medfake_pacs.console.errors import NotAllowedError, NotSignedInError, PasswordChangeNeededError
from medfake_pacs.console.security import sessions, tokens
from medfake_pacs.console.security.known import Identity
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import services_of

# Where somebody may go whose password an administrator knows.
_WITH_ONE_TIME_PASSWORD = {"/account/password", "/sign-out"}

__all__ = ["Identity", "Requirement", "SignedIn", "identify", "requires"]


def identify(request: Request) -> Identity | None:
    """Return who sent a request: by bearer token under ``/api``, by session cookie elsewhere; None for nobody."""
    known = getattr(request.state, "identity", False)
    if known is False:
        services = services_of(request)
        known = tokens.identity_of(services, request) if is_api(request) else sessions.identity_of(services, request)
        request.state.identity = known
    return known


def is_api(request: Request) -> bool:
    """Tell whether a request is a call of the REST API, which answers in JSON."""
    # Not request.url, which is put together with the Host header.
    return str(request.scope["path"]).startswith("/api/")


@dataclass(frozen=True, slots=True)
class Requirement:
    """A dependency that yields who asks, if they are signed in and have ``permission`` (None: any account)."""

    permission: Permission | None

    def __call__(self, request: Request) -> Identity:
        """Return the identity.

        Raises
        ------
        NotSignedInError
            If nobody is signed in, or the token is unknown, expired or revoked.
        NotAllowedError
            If they lack the permission.
        PasswordChangeNeededError
            If they have a one-time password and want anything else than to change it.
        """
        identity = identify(request)
        if identity is None:
            raise NotSignedInError
        if identity.must_change_password and request.scope["path"] not in _WITH_ONE_TIME_PASSWORD:
            raise PasswordChangeNeededError
        if self.permission is not None and self.permission not in identity.permissions:
            raise NotAllowedError(self.permission)
        return identity


def requires(permission: Permission) -> Any:
    """Return the dependency for a page or call that needs ``permission``: ``Annotated[Identity, requires(...)]``."""
    return Depends(Requirement(permission))


SignedIn = Annotated[Identity, Depends(Requirement(None))]
