"""What an administrator does by page or REST API: C-ECHO a destination, send dead letters again, dismiss them."""

import time

from medfake_pacs.config import DestinationSettings
from medfake_pacs.console.errors import ConflictError, NotFoundError
from medfake_pacs.console.record import DicomEvent, origin_of, record
from medfake_pacs.console.security.known import Identity
from medfake_pacs.console.services import Services
from medfake_pacs.database import transaction
from medfake_pacs.delivery import Retried, dismiss, retry
from medfake_pacs.delivery.echoing import EchoOutcome, try_echo
from medfake_pacs.delivery.wording import not_dismissed, not_retried, unknown_destination
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
) -> Retried:
    """Have deliveries tried at once, as `deliveries retry` does; without ``ids`` every dead one of ``destination``.

    Raises
    ------
    ConflictError
        If none of them can be, in the command line's words.
    """
    with transaction(services.engine) as connection:
        outcome = retry(
            connection, ids, time.time(), **origin_of(identity), destination=destination,
            ae_titles=_ae_titles(services),
        )  # fmt: skip
    refused = not_retried(ids or (), outcome)
    if refused and not outcome.done:
        raise ConflictError(" ".join(refused))
    return outcome


def dismiss_delivery(services: Services, identity: Identity, delivery_id: int) -> list[int]:
    """Dismiss a dead letter, as `deliveries dismiss` does.

    Raises
    ------
    ConflictError
        If it is none, in the command line's words.
    """
    with transaction(services.engine) as connection:
        done = dismiss(
            connection, [delivery_id], time.time(), **origin_of(identity), ae_titles=_ae_titles(services)
        )  # fmt: skip
    if not done:
        raise ConflictError(not_dismissed([delivery_id], done)[0])
    return done


def _ae_titles(services: Services) -> dict[str, str]:
    return {item.name: item.ae_title for item in services.settings.destinations}
