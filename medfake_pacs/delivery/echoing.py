"""C-ECHO a configured destination, and say what came of it."""

import time
from dataclasses import dataclass

from medfake_pacs.config import DestinationSettings, Settings
from medfake_pacs.delivery.tls import client_context
from medfake_pacs.delivery.verification_scu import echo
from medfake_pacs.delivery.wording import address
from medfake_pacs.errors import DeliveryError


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoOutcome:
    """Whether a destination answered; ``text`` says it, with the reason if it didn't."""

    answered: bool
    text: str
    elapsed_ms: float


def try_echo(settings: Settings, destination: DestinationSettings) -> EchoOutcome:
    """Verify a destination by a C-ECHO; it takes no longer than the destination's timeouts allow."""
    started = time.monotonic()
    try:
        echo(destination, settings.node.ae_title, client_context(settings.tls) if destination.tls else None)
    except DeliveryError as error:
        elapsed_ms = (time.monotonic() - started) * 1000
        return EchoOutcome(answered=False, text=f"{destination.name}: {error}", elapsed_ms=elapsed_ms)
    elapsed_ms = (time.monotonic() - started) * 1000
    text = f"{destination.name}: {destination.ae_title} at {address(destination)} answered in {elapsed_ms:.0f} ms"
    return EchoOutcome(answered=True, text=text, elapsed_ms=elapsed_ms)
