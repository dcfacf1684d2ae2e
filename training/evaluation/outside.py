"""What a model says of images that it isn't made for: it should refuse them, or at least not answer."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.evaluation.detectors import ClassifierDetector
from training.strangers import Stranger, all_kinds, as_picture, fitted, other_sets

Array = npt.NDArray[np.float32]
# What a configuration's images are, by its name; such DICOM files aren't strange to it.
_OWN = {"chest-xr": "DICOM, chest radiograph", "lung-ct": "DICOM, chest CT"}
_AS_IS, _PICTURE, _AS_HU = "as it is", "8-bit picture of the usual size", "8-bit picture taken for HU"


def strangers(data: Path, *, reader: str, name: str, most: int) -> list[Stranger]:
    """Patterns, phantoms, photographs, other modalities and body parts; of each kind ``most``, evenly spaced.

    Other modalities and body parts are found in ``data`` where it has them. Images of the configuration's own kind,
    by its ``reader`` and ``name``, are left out.
    """
    kinds: dict[str, list[Stranger]] = {}
    for item in all_kinds(data):
        if item.kind != _OWN.get(name):
            kinds.setdefault(item.kind, []).append(item)
    found = [item for items in kinds.values() for item in evenly(items, most)]
    return [*found, *other_sets(data, reader, lambda _, records: evenly(records, most))]


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
