"""Readers: images with the patient they belong to, in modality units, at native resolution.

``READERS[name](root)`` gives all images of a folder in memory; a manifest (``build``, ``write``, ``read``) lists them
with digests, groups and split, and ``load`` reads one of its records.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from training.datasets import tiles
from training.datasets.manifest import Manifest, build, read, write
from training.datasets.record import DatasetError, Record
from training.datasets.registry import CATALOGUE, load
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


def _every(name: str) -> Callable[[Path], list[Sample]]:
    """All images as they are listed: an index knows of no duplicates."""
    return lambda root: [load(record) for record in CATALOGUE[name].find(root).records]


def _each_once(name: str) -> Callable[[Path], list[Sample]]:
    """The images that a manifest has, near-duplicates as one patient."""
    return lambda root: [load(record) for record in build(name, root).records]


READERS: Mapping[str, Callable[[Path], list[Sample]]] = {
    "ct": _every("ct"),
    "knee": _every("knee"),
    "radiograph-tiles": tiles.read,
    **{name: _each_once(name) for name in CATALOGUE if name not in ("ct", "knee")},
}
