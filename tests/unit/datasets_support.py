"""Small data sets on disk, laid out as their downloads are."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.uid import generate_uid
from scipy.ndimage import gaussian_filter

from tests.unit.pixels_support import dataset, write

Values = npt.NDArray[np.float32]


def pattern(seed: int, side: int = 64) -> Values:
    """A picture (side, side) in 0..255, whole numbers, unlike that of any other seed at every scale."""
    rng = np.random.default_rng(seed)
    coarse, fine = (gaussian_filter(rng.normal(size=(side, side)), sigma) for sigma in (side / 12, side / 40))
    mixed = coarse / coarse.std() + 0.6 * fine / fine.std()
    low, high = mixed.min(), mixed.max()
    return np.rint((mixed - low) / (high - low) * 255).astype(np.float32)


def hounsfield(seed: int, side: int = 64) -> Values:
    """A picture in HU: air, lung and soft tissue, whole numbers from -1000 to 275."""
    return pattern(seed, side) * 5 - 1000


def write_raster(values: Values, path: Path, **options: Any) -> Path:
    """An 8-bit PNG or JPEG file, by the name's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path, **options)
    return path


def write_slice(
    values: Values, path: Path, *, z: float = 0.0, patient: str = "P1", series: str = "1.2.3.1", **attributes: Any
) -> Path:
    """A CT slice, int16 with intercept 0, at place ``z`` in mm; ``attributes`` change or add elements."""
    path.parent.mkdir(parents=True, exist_ok=True)
    elements: dict[str, Any] = {
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": f"{series}.9",
        "SeriesInstanceUID": series,
        "PatientID": patient,
        "Manufacturer": "MAKER",
        "ImagePositionPatient": [0.0, 0.0, z],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.7, 0.7],
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
        **attributes,
    }
    return write(dataset(values.astype("<i2"), **elements), path)


def write_csv(path: Path, columns: str, rows: Iterable[Sequence[object]]) -> Path:
    """A table with a header line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns.split(","))
        writer.writerows(rows)
    return path
