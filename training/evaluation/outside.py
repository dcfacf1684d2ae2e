"""What a model says of images that it isn't made for: it should refuse them, or at least not answer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.datasets import CATALOGUE, load
from training.evaluation.detectors import ClassifierDetector
from training.strangers import Stranger, as_picture, ct_phantoms, dicom_files, drawn, fitted, photographs

Array = npt.NDArray[np.float32]
_DICOM = "dicom_conformance"
# The other data sets by reader: kind, folder, whether their values are HU.
_OTHERS: Mapping[str, tuple[str, str, bool]] = {
    "knee": ("knee radiograph", "xray_knee", False),
    "chest": ("chest radiograph", "xray_chest", False),
    "ct": ("chest CT slice", "ct", True),
}
# What a configuration's images are, by its name; such DICOM files aren't strange to it.
_OWN = {"chest-xr": "DICOM, chest radiograph", "lung-ct": "DICOM, chest CT"}
_AS_IS, _PICTURE, _AS_HU = "as it is", "8-bit picture of the usual size", "8-bit picture taken for HU"


def strangers(data: Path, *, reader: str, name: str, most: int) -> list[Stranger]:
    """Patterns, phantoms, photographs, other modalities and body parts; of each kind ``most``, evenly spaced.

    Other modalities and body parts are found in ``data`` where it has them. Images of the configuration's own kind,
    by its ``reader`` and ``name``, are left out.
    """
    kinds: dict[str, list[Stranger]] = {}
    for item in chain(drawn(), ct_phantoms(), photographs(), _dicom(data)):
        if item.kind != _OWN.get(name):
            kinds.setdefault(item.kind, []).append(item)
    found = [item for items in kinds.values() for item in evenly(items, most)]
    return [*found, *_other_sets(data, reader, most)]


def read_strangers(
    detector: ClassifierDetector, found: Sequence[Stranger], *, shape: tuple[int, int], hounsfield: bool
) -> list[dict[str, Any]]:
    """What the detector says of each, as it is and disguised as an image of ``shape``, as plain data."""
    ways: dict[str, Callable[[Stranger], Array]] = {
        _AS_IS: lambda item: item.image,
        _PICTURE: lambda item: fitted(as_picture(item), shape),
    }
    if hounsfield:
        ways[_AS_HU] = lambda item: np.rint(fitted(as_picture(item), shape) * 1500 / 255 - 1350).astype(np.float32)
    result = []
    for way, change in ways.items():
        for item in found:
            reading = detector.read([change(item)])[0]
            result.append(
                {
                    "kind": item.kind,
                    "way": way,
                    "name": item.name,
                    "verdict": reading.verdict,
                    "outside": reading.outside,
                    "probability": reading.probability,
                }
            )
    return result


def evenly(items: Sequence[Any], most: int) -> list[Any]:
    """``most`` of some items, evenly spaced, or all where there are fewer."""
    return [items[at] for at in np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int))]


def _dicom(data: Path) -> Iterator[Stranger]:
    if (data / _DICOM).is_dir():
        yield from dicom_files(data / _DICOM)


def _other_sets(data: Path, reader: str, most: int) -> Iterator[Stranger]:
    for other, (kind, folder, hounsfield) in _OTHERS.items():
        if other != reader and (data / folder).is_dir():
            for record in evenly(CATALOGUE[other].find(data / folder).records, most):
                yield Stranger(kind=kind, name=record.name, image=load(record).image, hounsfield=hounsfield)
