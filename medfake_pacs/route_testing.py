"""What would become of an object: its route, model and destinations, line by line why."""

from dataclasses import dataclass

from medfake_pacs.config import Settings
from medfake_pacs.entities import ImageAttributes
from medfake_pacs.routing import choose_route


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTest:
    """The outcome: ``lines`` is what `medfake-pacs route-test` prints; empty text where there is none."""

    lines: tuple[str, ...]
    route: str
    model: str
    reason: str
    send_to: tuple[str, ...]


def explain_route(settings: Settings, attributes: ImageAttributes, *, calling: str = "", called: str = "") -> RouteTest:
    """Choose the route of an object from ``calling`` (the first peer) to ``called`` (the node) and explain it."""
    calling = calling or (settings.peers[0].ae_title if settings.peers else "")
    called = called or settings.node.ae_title
    routing = choose_route(settings.routes, attributes, calling, called)
    send_to = routing.route.send_to if routing.route else ()
    if not routing.route and settings.report.report_unrouted:
        send_to = settings.report.unrouted_send_to or tuple(item.name for item in settings.destinations)
    lines = (
        f"from {calling or '(no peer)'} to {called}: Modality {attributes.modality or '(absent)'}, "
        f"Body Part Examined {attributes.body_part or '(absent)'}",
        *(f"  {line}" for line in routing.explanation),
        f"route: {routing.name or '(none)'}",
        f"model: {routing.model or f'(none: {routing.reason}; not assessed)'}",
        f"report to: {', '.join(send_to) or '(nobody)'}",
    )
    return RouteTest(
        lines=lines, route=routing.name, model=routing.model, reason=routing.reason, send_to=tuple(send_to)
    )
