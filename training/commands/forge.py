"""``python -m training forge preview``: a contact sheet of what each family does to real images."""

import argparse
import sys
from pathlib import Path

import numpy as np

from training.datasets import CATALOGUE, Sample, load
from training.forge import LEARNED_LOCAL, LEARNED_WHOLE, LOCAL, WEIGHTLESS_WHOLE, Forge, reconstruct
from training.forge.preview import row_of
from training.forge.sheet import sheet
from training.generators import load as load_generators

_IMAGES = 24


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommand."""
    forge = subparsers.add_parser("forge", help="look at the fakes that a detector is trained on", description=__doc__)
    actions = forge.add_subparsers(dest="action", required=True)
    preview = actions.add_parser("preview", help="write a contact sheet: real, fake, difference, mask")
    preview.add_argument("--reader", choices=sorted(CATALOGUE), required=True)
    preview.add_argument("--root", type=Path, required=True, help="the data set's folder")
    preview.add_argument("--output", type=Path, required=True, help="a PNG file")
    preview.add_argument("--families", nargs="+", help="default: all that there are")
    preview.add_argument("--examples", type=int, default=1, help="rows for each family (default 1)")
    preview.add_argument("--generators", type=Path, help="folder of trained generators, for the learned families")
    preview.add_argument("--seed", type=int, default=0)
    preview.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Writes the sheet; returns 0, or 2 with one line on stderr where it can't."""
    try:
        rng = np.random.default_rng(options.seed)
        samples = _some(options.reader, options.root, rng)
        images = [sample.image for sample in samples]
        learned = load_generators(options.generators) if options.generators else {}
        forge = Forge(reconstruct.fit(images, rng, count=2000), learned=learned)
        hounsfield = any(image.min() < 0 for image in images)
        rows = [
            row_of(forge, family, images, np.random.default_rng((options.seed, number)), hounsfield=hounsfield)
            for family in options.families or _available(forge)
            for number in range(options.examples)
        ]
        title = f"{options.reader}, seed {options.seed}: place, real, fake, difference, mask"
        sheet(title, rows).save(options.output)
    except (OSError, ValueError) as error:
        print(f"forge: {error}", file=sys.stderr)
        return 2
    print(f"{options.output}: {len(rows)} rows from {len(images)} images")
    return 0


def _available(forge: Forge) -> list[str]:
    order = (*LOCAL, *LEARNED_LOCAL, *WEIGHTLESS_WHOLE, *LEARNED_WHOLE)
    return [family for family in order if family in forge.families]


def _some(reader: str, root: Path, rng: np.random.Generator) -> list[Sample]:
    """Some real images of a data set, the lung best shown first for CT."""
    records = [record for record in CATALOGUE[reader].find(root).records if record.label == "real"]
    if not records:
        raise ValueError(f"no real image under {root}")
    chosen = rng.permutation(len(records))[: 4 * _IMAGES]
    showing = [records[number] for number in chosen if records[number].lung_fraction > 0.15 and records[number].axial]
    return [load(record) for record in (showing or [records[number] for number in chosen])[:_IMAGES]]
