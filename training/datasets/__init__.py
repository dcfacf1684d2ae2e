"""Readers: images with the patient they belong to, in modality units, at native resolution.

``READERS[name](root)`` gives all images of a folder in memory; a manifest (``build``, ``write``, ``read``) lists them
with digests, groups and split, and ``load`` reads one of its records.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from training.datasets import tiles
from training.datasets.record import DatasetError, Record
from training.datasets.registry import CATALOGUE, load
from training.datasets.sample import Array, Sample

__all__ = ["CATALOGUE", "READERS", "Array", "DatasetError", "Record", "Sample", "load"]


def _every(name: str) -> Callable[[Path], list[Sample]]:
    def read(root: Path) -> list[Sample]:
        return [load(record) for record in CATALOGUE[name].find(root).records]

    return read


READERS: Mapping[str, Callable[[Path], list[Sample]]] = {
    "ct": _every("ct"),
    "knee": _every("knee"),
    "chest": _every("chest"),
    "radiograph-tiles": tiles.read,
}
