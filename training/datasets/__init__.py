"""Readers: images with the patient they belong to, in modality units, at native resolution.

``READERS[name](root)`` gives all images of a folder in memory; a manifest (``build``, ``write``, ``read``) lists them
with digests, groups and split, and ``load`` reads one of its records.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from training.datasets import tiles
from training.datasets.manifest import Manifest, build, read, write
from training.datasets.record import DatasetError, Opened, Record, as_sample
from training.datasets.registry import CATALOGUE, load, opened
from training.datasets.sample import Array, Sample

__all__ = [
    "CATALOGUE",
    "READERS",
    "Array",
    "DatasetError",
    "Manifest",
    "Record",
    "Sample",
    "build",
    "load",
    "read",
    "write",
]


def _each_once(name: str) -> Callable[[Path], list[Sample]]:
    """The images that a manifest has, near-duplicates as one patient; every file is read once."""

    def images(root: Path) -> list[Sample]:
        kept: dict[tuple[Path, int], Opened] = {}

        def open_once(record: Record) -> Opened:
            key = (record.path, record.frame)
            if key not in kept:
                kept[key] = opened(record)
            return kept[key]

        return [as_sample(record, open_once(record)) for record in build(name, root, open_record=open_once).records]

    return images


READERS: Mapping[str, Callable[[Path], list[Sample]]] = {
    "radiograph-tiles": tiles.read,
    **{name: _each_once(name) for name in CATALOGUE},
}
