"""What an administrator does to the node by page or REST API: C-ECHO a destination, send dead letters again."""

import time

from medfake_pacs.config import DestinationSettings
from medfake_pacs.console.errors import NotFoundError
from medfake_pacs.console.record import DicomEvent, record
from medfake_pacs.console.security.known import Identity
from medfake_pacs.console.services import Services
from medfake_pacs.database import transaction
from medfake_pacs.delivery import retry
from medfake_pacs.delivery.echoing import EchoOutcome, try_echo
from medfake_pacs.delivery.wording import unknown_destination
from medfake_pacs.entities import AuditEvent

# Nobody waits for a page for longer, whatever the destination's own timeout is.
_ECHO_TIMEOUT_S = 10.0


def destination_named(services: Services, name: str) -> DestinationSettings:
    """Return a configured destination.

    Raises
    ------
    NotFoundError
        If there is none of that name, in the command line's words.
    """
    for item in services.settings.destinations:
        if item.name == name:
            return item
    raise NotFoundError(unknown_destination(name, services.settings.destinations))


def echo_destination(services: Services, identity: Identity, name: str) -> EchoOutcome:
    """C-ECHO a destination and log what came of it; raises ``NotFoundError`` as ``destination_named`` does."""
    destination = destination_named(services, name)
    timeout_s = min(destination.timeout_s, _ECHO_TIMEOUT_S)
    outcome = try_echo(services.settings, destination.model_copy(update={"timeout_s": timeout_s}))
    payload = {"destination": name, "answered": outcome.answered, "comment": outcome.text}
    event = AuditEvent(kind="destination-echoed", ae_title=destination.ae_title, payload=payload)
    record(services, DicomEvent.APPLICATION_ACTIVITY, identity, event)
    return outcome


def retry_deliveries(
    services: Services, identity: Identity, ids: list[int] | None, destination: str | None = None
) -> list[int]:
    """Have deliveries tried at once, as `deliveries retry` does; without ``ids`` every dead one of ``destination``."""
    ae_titles = {item.name: item.ae_title for item in services.settings.destinations}
    with transaction(services.engine) as connection:
        return retry(
            connection, ids, time.time(), who=identity.user_name, destination=destination, ae_titles=ae_titles
        )  # fmt: skip
