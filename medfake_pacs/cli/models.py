"""`models list` and `models verify`."""

import argparse

from medfake_pacs.classifier import load_bundle
from medfake_pacs.cli import settings_of
from medfake_pacs.config.checks import CARD_NAME
from medfake_pacs.errors import BundleError


def models(options: argparse.Namespace) -> int:
    """Print every bundle with its digest; `verify` fails when one is damaged or a route's is absent."""
    settings = settings_of(options)
    folders = sorted(card.parent for card in settings.models_dir.glob(f"*/{CARD_NAME}"))
    damaged = 0
    for folder in folders:
        try:
            bundle = load_bundle(folder)
        except BundleError as error:
            damaged += 1
            print(f"{folder.name}: damaged: {error}")
            continue
        card = bundle.card
        print(f"{card.name} {card.version} {card.modality} sha256 {bundle.model_sha256}")
        if options.action == "list":
            print(f"  real up to {card.thresholds.real_below:g}, fake from {card.thresholds.fake_above:g}")
            print(f"  {card.description}")
    if not folders:
        print(f"no bundle in {settings.models_dir}")
    if options.action == "verify":
        print(f"{len(folders) - damaged} of {len(folders)} bundles are what their cards say")
        return 1 if damaged or not folders else 0
    return 0
