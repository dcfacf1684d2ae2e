"""Images that a model isn't made for: blank ones, phantoms, photographs, other modalities and body parts."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.errors import InvalidDicomError
from sklearn.datasets import load_sample_images

from medfake_pacs.errors import PixelError
from medfake_pacs.pixels import PixelLimits, decode_frames, load_raster
from training.evaluation.detectors import ClassifierDetector

Array = npt.NDArray[np.float32]
_LIMITS = PixelLimits(
    max_pixels_per_frame=4096 * 4096,
    max_frames=50,
    max_decoded_bytes=2**28,
    max_memory_bytes=2**31,
    timeout_s=30.0,
)
# Of the packages pydicom and pydicom-data; those that aren't installed are left out.
_MODALITIES = {
    "magnetic resonance": ("MR_small.dcm", "MR2_UNCR.dcm", "emri_small.dcm"),
    "ultrasound": ("US1_UNCR.dcm", "examples_palette.dcm"),
    "nuclear medicine": ("NM1_UNCR.dcm", "JPEG-lossy.dcm"),
    "angiography": ("XA1_UNCR.dcm",),
    "photograph": ("VL1_UNCR.dcm", "VL4_UNCR.dcm"),
    "radiotherapy": ("rtdose.dcm",),
}
_FOLDERS = {"CT slice": "ct", "chest radiograph": "xray_chest", "knee radiograph": "xray_knee"}
_SHEPP_LOGAN = (
    (1.0, 0.69, 0.92, 0.0, 0.0, 0),
    (-0.8, 0.6624, 0.874, 0.0, -0.0184, 0),
    (-0.2, 0.11, 0.31, 0.22, 0.0, -18),
    (-0.2, 0.16, 0.41, -0.22, 0.0, 18),
    (0.1, 0.21, 0.25, 0.0, 0.35, 0),
    (0.1, 0.046, 0.046, 0.0, 0.1, 0),
    (0.1, 0.046, 0.046, 0.0, -0.1, 0),
    (0.1, 0.046, 0.023, -0.08, -0.605, 0),
    (0.1, 0.023, 0.023, 0.0, -0.606, 0),
    (0.1, 0.023, 0.046, 0.06, -0.605, 0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """One image (H, W) in the units that its own modality has; ``kind`` groups them in the report."""

    kind: str
    name: str
    image: Array


def strangers(
    *, hounsfield: bool, side_px: int, own: Sequence[str], data: Path | None = None, most: int = 12
) -> list[Stranger]:
    """Images of other kinds than a model's own.

    Generated ones have ``side_px`` and the model's range of values (HU, or 0 to 255). ``own`` are the kinds of
    ``data``'s folders that the model is made for; of every other folder, ``most`` images evenly spaced, as they are and
    brought to ``side_px``.
    """
    found = [*generated(side_px, hounsfield=hounsfield), *photographs(hounsfield=hounsfield), *other_modalities()]
    for kind, folder in _FOLDERS.items():
        if data is not None and kind not in own and (data / folder / "index.csv").exists():
            for item in _of_folder(data, folder, kind, most):
                small = np.asarray(Image.fromarray(item.image).resize((side_px, side_px), Image.Resampling.BICUBIC))
                found += [item, replace(item, name=f"{item.name}, {side_px} px", image=np.rint(small))]
    return found


def own_kinds(reader: str) -> tuple[str, ...]:
    """The kinds of images that are a reader's own, guessed from its name."""
    if reader in ("ct", "ct-gan", "lidc-idri", "m3dsynth"):
        return ("CT slice",)
    return tuple(kind for kind in _FOLDERS if kind.split()[0] in reader)


def generated(side_px: int, *, hounsfield: bool) -> list[Stranger]:
    """Blank images, ramps, noise and phantoms."""
    low, high = (-1000.0, 1000.0) if hounsfield else (0.0, 255.0)
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:side_px, 0:side_px] / (side_px - 1)
    disc = np.hypot(rows - 0.5, columns - 0.5) < 0.35
    planes = {
        ("blank", "lowest value"): np.zeros((side_px, side_px)),
        ("blank", "middle"): np.full((side_px, side_px), 0.5),
        ("blank", "highest value"): np.ones((side_px, side_px)),
        ("blank", "one bright pixel"): np.eye(1, side_px * side_px, side_px).reshape(side_px, side_px),
        ("pattern", "ramp"): columns,
        ("pattern", "checkerboard"): ((rows * 16).astype(int) + (columns * 16).astype(int)) % 2,
        ("pattern", "white noise"): rng.random((side_px, side_px)),
        ("pattern", "stripes"): (columns * 40 % 1 > 0.5).astype(float),
        ("phantom", "Shepp-Logan"): shepp_logan(side_px),
        ("phantom", "Shepp-Logan with noise"): shepp_logan(side_px) + rng.normal(0, 0.02, (side_px, side_px)),
        ("phantom", "uniform disc"): disc * 0.5 + rng.normal(0, 0.01, (side_px, side_px)),
        ("phantom", "step wedge"): np.floor(columns * 11) / 11 + rng.normal(0, 0.01, (side_px, side_px)),
    }
    return [
        Stranger(kind=kind, name=name, image=np.rint(low + np.clip(plane, 0, 1) * (high - low)).astype(np.float32))
        for (kind, name), plane in planes.items()
    ]


def shepp_logan(side_px: int) -> npt.NDArray[np.float64]:
    """The head phantom of Shepp and Logan (1974) with Toft's contrast, 0..1."""
    y, x = np.mgrid[1 : -1 : side_px * 1j, -1 : 1 : side_px * 1j]
    plane = np.zeros((side_px, side_px))
    for value, a, b, x0, y0, degrees in _SHEPP_LOGAN:
        turn = np.deg2rad(degrees)
        along = (x - x0) * np.cos(turn) + (y - y0) * np.sin(turn)
        across = (y - y0) * np.cos(turn) - (x - x0) * np.sin(turn)
        plane[(along / a) ** 2 + (across / b) ** 2 <= 1] += value
    return np.clip(plane, 0, 1)


def photographs(*, hounsfield: bool) -> list[Stranger]:
    """Two photographs of scikit-learn as they are and a part of each, grey, in the model's range of values."""
    pictures = load_sample_images()
    found = []
    for path, colours in zip(pictures.filenames, pictures.images, strict=True):
        grey = colours.astype(np.float32) @ np.float32([0.299, 0.587, 0.114])
        grey = np.rint(grey / 255 * 2000 - 1000 if hounsfield else grey).astype(np.float32)
        name = Path(path).stem
        found.append(Stranger(kind="photograph", name=name, image=grey))
        found.append(Stranger(kind="photograph", name=f"{name}, part", image=grey[100:324, 200:424].copy()))
    return found


def other_modalities() -> list[Stranger]:
    """One image of each file of pydicom's that can be read here, in its own units."""
    found = []
    for kind, names in _MODALITIES.items():
        for name in names:
            path = get_testdata_file(name, download=False)
            frame = _first_frame(Path(str(path))) if path else None
            if frame is not None:
                found.append(Stranger(kind=kind, name=name, image=frame))
    return found


def read_strangers(detector: ClassifierDetector, found: Sequence[Stranger]) -> list[dict[str, Any]]:
    """What the detector says of each, as plain data."""
    readings = (detector.read([item.image])[0] for item in found)
    return [
        {
            "kind": item.kind,
            "name": item.name,
            "verdict": reading.verdict,
            "outside": reading.outside,
            "probability": reading.probability,
        }
        for item, reading in zip(found, readings, strict=True)
    ]


def _of_folder(data: Path, folder: str, kind: str, most: int) -> Iterator[Stranger]:
    with (data / folder / "index.csv").open(newline="", encoding="utf-8") as handle:
        files = [row["file"] for row in csv.DictReader(handle) if row["split"] == "curated"]
    for number in np.unique(np.linspace(0, len(files) - 1, most).round().astype(int)):
        frame = _first_frame(data / files[number])
        if frame is not None:
            yield Stranger(kind=kind, name=Path(files[number]).name, image=frame)


def _first_frame(path: Path) -> Array | None:
    try:
        if path.suffix in (".png", ".jpg", ".jpeg"):
            return load_raster(path)[1].values
        return next(iter(decode_frames(path, _LIMITS))).values
    except (PixelError, InvalidDicomError):
        return None
