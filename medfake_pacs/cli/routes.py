"""`route-test`."""

import argparse

from medfake_pacs.cli import settings_of
from medfake_pacs.cli.files import header_of
from medfake_pacs.errors import MedfakeError
from medfake_pacs.route_testing import explain_route


def route_test(options: argparse.Namespace) -> int:
    """Print which route takes a file, line by line why, and what would become of it."""
    settings = settings_of(options)
    try:
        attributes = header_of(options.file)
    except OSError as error:
        raise MedfakeError(f"{options.file}: {error.strerror}") from error
    tested = explain_route(settings, attributes, calling=options.calling or "", called=options.called or "")
    print("\n".join(tested.lines))
    return 0
