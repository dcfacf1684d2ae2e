"""``python -m training domain``: fits a model's domain and measures what it refuses; or measures a bundle's."""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from medfake_pacs.classifier import load_bundle
from medfake_pacs.classifier.bundle import DOMAIN_PREFIX
from medfake_pacs.classifier.domain import DomainCheck
from medfake_pacs.errors import MedfakeError
from training import domain_figures as figures
from training.configuration import read_configuration
from training.domain import fit
from training.setting import Setting, make_setting
from training.strangers import Stranger, all_kinds, other_sets

# One image in how many of the other data sets, by reader.
_STEPS = {"knee": 8, "chest": 6, "ct": 4}


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("domain", help="what a model's domain check refuses", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, help="measure this bundle's domain instead of fitting one")
    parser.add_argument("--generators", type=Path, help="folder of trained generators, for the learned families")
    parser.add_argument("--images", type=int, default=60, help="test images for each family of fakes (default 60)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures and prints; returns 0, or 2 with one line on stderr where it can't."""
    try:
        setting = make_setting(read_configuration(options.config), options.data, options.generators)
        check = _check(setting, options.bundle)
        configuration = setting.configuration
        families = setting.available((*configuration.families, *configuration.held_out_families))
        report = {
            "clean images of test patients": figures.own_images(setting, check),
            "fakes and codecs": figures.fakes(setting, check, families, options.images),
            "another site": figures.other_sites(setting),
            "strangers": figures.strangers(setting, check, _strangers(setting, options.data)),
        }
        milliseconds = figures.milliseconds(check, setting.split.test[0].image)
    except (OSError, ValueError, MedfakeError) as error:
        print(f"domain: {error}", file=sys.stderr)
        return 2
    if options.json:
        document = {
            "model": configuration.name,
            "milliseconds": round(milliseconds, 2),
            **{title: [asdict(row) for row in rows] for title, rows in report.items()},
        }
        print(json.dumps(document, indent=1))
        return 0
    for title, rows in report.items():
        _print(f"{configuration.name}: {title}", rows)
    print(f"\n{milliseconds:.1f} ms of processor time for one image")
    return 0


def _check(setting: Setting, bundle: Path | None) -> DomainCheck:
    if bundle is not None:
        loaded = load_bundle(bundle)
        return DomainCheck(loaded.card.domain, loaded.tensors(DOMAIN_PREFIX))
    parts = ([sample.image for sample in part] for part in (setting.split.train, setting.split.validation))
    return DomainCheck(*fit(*parts, hounsfield=setting.configuration.sampling.hounsfield))


def _strangers(setting: Setting, data: Path) -> Iterator[Stranger]:
    yield from all_kinds(data)
    yield from other_sets(
        data, setting.configuration.reader, lambda reader, records: islice(records, 0, None, _STEPS[reader])
    )
    yield from figures.own_turned(setting)


def _print(title: str, rows: list[figures.Refused]) -> None:
    print(f"\n{title}")
    for row in rows:
        low, high = row.interval
        line = f"  {row.share:7.1%} [{low:6.1%}, {high:6.1%}] of {row.images:4d}  {row.what}"
        reasons = "; ".join(f"{why} ({count})" for why, count in list(row.reasons.items())[:3])
        print(f"{line}    {reasons}" if reasons else line)
        if row.passed and len(row.passed) <= 4:
            print(f"      passed: {', '.join(row.passed)}")
