"""`models list` and `models verify`."""

import argparse

from medfake_pacs.classifier.installed import installed_bundles
from medfake_pacs.cli import settings_of


def models(options: argparse.Namespace) -> int:
    """Print every bundle with its digest; `verify` fails when one is damaged or a route's is absent."""
    settings = settings_of(options)
    found = installed_bundles(settings.models_dir)
    for item in found:
        print("\n".join(item.lines(verbose=options.action == "list")))
    if not found:
        print(f"no bundle in {settings.models_dir}")
    damaged = sum(item.bundle is None for item in found)
    if options.action == "verify":
        print(f"{len(found) - damaged} of {len(found)} bundles are what their cards say")
        return 1 if damaged or not found else 0
    return 0
