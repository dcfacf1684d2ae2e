"""Who changes an account, as the log names them: an account of the console, or one of the machine."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from medfake_pacs.console.record import DicomEvent, record_in
from medfake_pacs.console.security.known import Identity
from medfake_pacs.database.existing import account_name
from medfake_pacs.entities import AuditEvent

# Event type codes of PS3.16 CID 401 and CID 403, beside the event identifiers of CID 400.
LOGIN = ("110122", "Login")
LOGOUT = ("110123", "Logout")
ROLES_CHANGED = ("110136", "Security Roles Changed")
USER_CHANGED = ("110137", "User Security Attributes Changed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The account that does something, the host it does it from, and by what (console, token, command line)."""

    who: str
    host: str = ""
    via: str = "console"


def actor_of(identity: Identity) -> Actor:
    """Return the actor that a request's identity is."""
    return Actor(who=identity.user_name, host=identity.host, via="token" if identity.token_id else "console")


def command_line_actor() -> Actor:
    """Return the account that runs this process."""
    return Actor(who=account_name(), via="command line")


def log_change(
    connection: sa.Connection, actor: Actor, kind: str, event_type: tuple[str, str] = USER_CHANGED, **facts: Any
) -> None:
    """Append a change of an account to the log: a Security Alert (PS3.15 A.5.3.11)."""
    _log(connection, DicomEvent.SECURITY_ALERT, actor, kind, event_type, facts)


def log_authentication(
    connection: sa.Connection, actor: Actor, kind: str, event_type: tuple[str, str] = LOGIN, **facts: Any
) -> None:
    """Append signing in or out to the log: User Authentication (PS3.15 A.5.3.12)."""
    _log(connection, DicomEvent.USER_AUTHENTICATION, actor, kind, event_type, facts)


def _log(
    connection: sa.Connection,
    event: DicomEvent,
    actor: Actor,
    kind: str,
    event_type: tuple[str, str],
    facts: dict[str, Any],
) -> None:
    code, meaning = event_type
    payload = {"who": actor.who, "host": actor.host, "via": actor.via, **facts}
    payload["dicom_event_type"] = {"code": code, "meaning": meaning}
    record_in(connection, event, None, AuditEvent(kind=kind, payload=payload))
