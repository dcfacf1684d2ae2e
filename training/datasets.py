"""Readers: real images with the patient they belong to, in modality units, at native resolution.

Pixels are read by the same decoder as in service.
"""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.data import get_testdata_file

from medfake_pacs.pixels import PixelLimits, decode_frames, load_raster

_LIMITS = PixelLimits(
    max_pixels_per_frame=4096 * 4096,
    max_frames=2000,
    max_decoded_bytes=2**30,
    max_memory_bytes=2**32,
    timeout_s=60.0,
)
_TILE_PX = 224
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

    Raises: FileNotFoundError where the index is missing, PixelError where an image can't be read.
    """
    samples = []
    for row in _index(root):
        frame = next(iter(decode_frames(root.parent / row["file"], _LIMITS)))
        values = np.rint(frame.values).astype(np.float32)
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
        _, frame = load_raster(root.parent / row["file"])
        samples.append(
            Sample(image=frame.values, patient=f"image-{row['group']}", source=row["source"], name=row["file"])
        )
    return samples


def read_radiograph_tiles(root: Path) -> list[Sample]:
    """Tiles of 224 px from the two radiographs of the package pydicom-data, as 8-bit images; ``root`` isn't read.

    For trying the machinery out: the two patients are in every part of the split, a band of tiles is a group.

    Raises: FileNotFoundError where the package is not installed.
    """
    del root
    samples = []
    for name in ("RG1_UNCR.dcm", "RG3_UNCR.dcm"):
        path = get_testdata_file(name, download=False)
        if path is None:
            raise FileNotFoundError(f"{name} of the package pydicom-data")
        values = next(iter(decode_frames(Path(str(path)), _LIMITS))).values
        low, high = np.percentile(values, [0.5, 99.5])
        picture = np.rint(np.clip((values - low) * 255 / (high - low), 0, 255)).astype(np.float32)
        for top in range(0, picture.shape[0] - _TILE_PX + 1, _TILE_PX):
            for left in range(0, picture.shape[1] - _TILE_PX + 1, _TILE_PX):
                tile = picture[top : top + _TILE_PX, left : left + _TILE_PX]
                if tile.std() > 8:
                    label = f"{name}/{top}"
                    samples.append(Sample(image=tile.copy(), patient=label, source=name, name=f"{label}/{left}"))
    return samples


def _index(root: Path) -> list[dict[str, str]]:
    with (root / "index.csv").open(newline="") as handle:
        return [row for row in csv.DictReader(handle) if row["split"] == "curated"]


READERS: Mapping[str, Callable[[Path], list[Sample]]] = {
    "ct": read_ct,
    "knee": read_knee,
    "radiograph-tiles": read_radiograph_tiles,
}
