"""What a configuration allows but probably doesn't mean."""

import ipaddress

from medfake_pacs.config.schema import Settings


def notes(settings: Settings) -> list[str]:
    """Return one sentence for each thing that is allowed but probably not meant."""
    found = []
    if not settings.peers and not settings.association.accept_unknown_peers:
        found.append("no [[peers]]: every association is rejected")
    if not settings.destinations:
        found.append("no [[destinations]]: reports are kept, but sent nowhere")
    if not settings.routes:
        found.append("no [[routes]]: no image is assessed")
    found += [
        f"route {item.name!r}: it has a model, but its reports are sent to nobody"
        for item in settings.routes
        if item.model and not item.send_to
    ]
    found += [
        f"destination {item.name!r}: storage_commitment has no effect yet"
        for item in settings.destinations
        if item.storage_commitment
    ]
    found += [
        f"notification {item.name!r}: it goes over plain HTTP, where it can be read and changed on the way"
        for item in settings.notifications
        if item.url and item.url.startswith("http:")
    ]
    if settings.models.switch == "automatic" and settings.models.canary_minimum == 0:
        found.append("models.canary_minimum is 0: a new bundle is switched to although it was tried on no image")
    if settings.audit.syslog:
        found.append("audit.syslog has no effect yet")
    return found + (_console_notes(settings) if settings.console.enabled else [])


def _console_notes(settings: Settings) -> list[str]:
    console = settings.console
    found = []
    reachable = not is_loopback(console.host)
    if reachable and not console.is_https:
        found.append(
            f"console: {console.url} is reached from the network without TLS, so that passwords and patient data can "
            "be read on the way; set console.certificate and console.key, or console.public_url where a proxy has TLS"
        )
    if console.registration == "open":
        found.append("console.registration is open: anyone who reaches the console may ask for an account")
    if reachable:
        found.append(
            "console: /metrics, /healthz and /readyz answer without signing in to whoever reaches it; they hold no "
            "patient data, but AE titles, names of destinations and counts"
        )
    return found


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches what listens on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"
