"""``python -m training forge preview``: a contact sheet of what each family does to real images."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from training.datasets import CATALOGUE, Record, Sample, load
from training.forge import LEARNED_LOCAL, LEARNED_WHOLE, LOCAL, WEIGHTLESS_WHOLE, Family, Forge, reconstruct
from training.forge.preview import CUBOIDS, row_of, volume_row
from training.forge.sheet import Panel, sheet
from training.forge.site import Array
from training.forge.volume import Spacing
from training.generators import load as load_generators

_IMAGES, _LEAST_SLICES = 24, 8


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
    preview.add_argument("--volume", action="store_true", help="edit the longest CT series in three dimensions")
    preview.add_argument("--slice-mm", type=float, default=0.0, help="distance of its slices, where files don't say")
    preview.add_argument("--generators", type=Path, help="folder of trained generators, for the learned families")
    preview.add_argument("--seed", type=int, default=0)
    preview.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Writes the sheet; returns 0, or 2 with one line on stderr where it can't."""
    try:
        learned = load_generators(options.generators) if options.generators else {}
        rows = (_volume_rows if options.volume else _rows)(options, learned)
        what = "volume: middle slice, coronal cuts" if options.volume else "place, real, fake, difference, mask"
        sheet(f"{options.reader}, seed {options.seed}: {what}", rows).save(options.output)
    except (OSError, ValueError) as error:
        print(f"forge: {error}", file=sys.stderr)
        return 2
    print(f"{options.output}: {len(rows)} rows")
    return 0


def _rows(options: argparse.Namespace, learned: Mapping[str, Family]) -> list[list[Panel]]:
    rng = np.random.default_rng(options.seed)
    images = [sample.image for sample in _some(options.reader, options.root, rng)]
    forge = Forge(reconstruct.fit(images, rng, count=2000), learned=learned)
    hounsfield = any(image.min() < 0 for image in images)
    return [
        row_of(forge, family, images, np.random.default_rng((options.seed, number)), hounsfield=hounsfield)
        for family in options.families or _available(forge)
        for number in range(options.examples)
    ]


def _volume_rows(options: argparse.Namespace, learned: Mapping[str, Family]) -> list[list[Panel]]:
    volume, spacing_mm = _longest_series(options.reader, options.root, options.slice_mm)
    forge = Forge(reconstruct.fit(list(volume[::4]), np.random.default_rng(options.seed), count=2000), learned=learned)
    rows = []
    for family in options.families or [*_available(forge), *CUBOIDS]:
        for number in range(options.examples):
            rng = np.random.default_rng((options.seed, number))
            rows.append(volume_row(forge, family, volume, spacing_mm, rng, options.seed + number))
    return rows


def _longest_series(reader: str, root: Path, slice_mm: float) -> tuple[Array, Spacing]:
    series: dict[str, list[Record]] = {}
    for record in CATALOGUE[reader].find(root).records:
        if record.label == "real" and record.series and record.axial:
            series.setdefault(record.series, []).append(record)
    records = sorted(max(series.values(), key=len, default=[]), key=lambda record: record.position)
    if len(records) < _LEAST_SLICES:
        raise ValueError(f"no series of {_LEAST_SLICES} axial slices or more under {root}")
    samples = [load(record) for record in records]
    steps = np.abs(np.diff([sample.position for sample in samples]))
    within = samples[0].spacing_mm
    if within is None:
        raise ValueError(f"{samples[0].name}: no pixel spacing, so no millimetres")
    return np.stack([sample.image for sample in samples]), (slice_mm or float(np.median(steps)), *within)


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
