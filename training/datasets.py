"""Readers: real images with the patient they belong to, in modality units, at native resolution."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One real image (H, W) float32; ``patient`` is the unit of the split, ``series`` groups slices."""

    image: Array
    patient: str
    source: str
    name: str
    series: str = ""
    position: float = 0.0
    lung_fraction: float = 1.0
    axial: bool = True


def read_ct(root: Path) -> list[Sample]:
    """CT slices of ``root`` (with index.csv beside them), in HU, rounded to whole units.

    Raises: FileNotFoundError where the index or a file that it names is missing.
    """
    samples = []
    for row in _index(root):
        dataset = pydicom.dcmread(root.parent / row["file"])
        slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
        values = np.rint(dataset.pixel_array.astype(np.float32) * slope + intercept).astype(np.float32)
        samples.append(
            Sample(
                image=values,
                patient=row["patient"],
                source=row["source"],
                name=row["file"],
                series=row["series_uid"],
                position=float(row["instance"] or 0),
                lung_fraction=float(row["lung_fraction"] or 0),
                axial=row["orientation"] == "axial",
            )
        )
    return samples


def read_knee(root: Path) -> list[Sample]:
    """Knee radiographs of ``root`` (PNG, 8 bit); the patients are unknown, so each image is its own group."""
    samples = []
    for row in _index(root):
        with Image.open(root.parent / row["file"]) as picture:
            values = np.asarray(picture.convert("L"), np.float32)
        samples.append(Sample(image=values, patient=f"image-{row['group']}", source=row["source"], name=row["file"]))
    return samples


def _index(root: Path) -> list[dict[str, str]]:
    with (root / "index.csv").open(newline="") as handle:
        return [row for row in csv.DictReader(handle) if row["split"] == "curated"]


READERS: Mapping[str, Callable[[Path], list[Sample]]] = {"ct": read_ct, "knee": read_knee}
