"""`route-test`."""

import argparse

from medfake_pacs.cli import settings_of
from medfake_pacs.cli.files import header_of
from medfake_pacs.errors import MedfakeError
from medfake_pacs.routing import choose_route


def route_test(options: argparse.Namespace) -> int:
    """Print which route takes a file, line by line why, and what would become of it."""
    settings = settings_of(options)
    try:
        attributes = header_of(options.file)
    except OSError as error:
        raise MedfakeError(f"{options.file}: {error.strerror}") from error
    calling = options.calling or (settings.peers[0].ae_title if settings.peers else "")
    called = options.called or settings.node.ae_title
    routing = choose_route(settings.routes, attributes, calling, called)
    print(f"from {calling or '(no peer)'} to {called}: Modality {attributes.modality or '(absent)'}, "
          f"Body Part Examined {attributes.body_part or '(absent)'}")  # fmt: skip
    for line in routing.explanation:
        print(f"  {line}")
    print(f"route: {routing.name or '(none)'}")
    print(f"model: {routing.model or f'(none: {routing.reason}; not assessed)'}")
    send_to = routing.route.send_to if routing.route else ()
    if not routing.route and settings.report.report_unrouted:
        send_to = settings.report.unrouted_send_to or tuple(item.name for item in settings.destinations)
    print(f"report to: {', '.join(send_to) or '(nobody)'}")
    return 0
