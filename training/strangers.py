"""What a model must refuse to judge: drawn patterns and phantoms, photographs, text, other modalities and body parts.

For measuring a domain alone: nothing here is ever fitted to. Photographs and pages come with scikit-image, other
modalities from a folder of DICOM test files with an index.csv beside them.
"""

import csv
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import skimage
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.data import shepp_logan_phantom

from medfake_pacs.errors import PixelError
from medfake_pacs.pixels import decode_frames
from training.datasets import CATALOGUE, Record, load
from training.datasets.images import LIMITS

Array = npt.NDArray[np.float32]
_DICOM = "dicom_conformance"
# The data sets by reader: kind, folder, whether their values are HU.
_OTHER_SETS: Mapping[str, tuple[str, str, bool]] = {
    "knee": ("knee radiograph", "xray_knee", False),
    "chest": ("chest radiograph", "xray_chest", False),
    "ct": ("chest CT slice", "ct", True),
}
_DRAWN_PX = 512
_NOISE = 6.0
# scikit-image's pictures by file name; those not named are photographs.
_TEXTS = ("page", "text", "logo", "color", "chessboard_GRAY", "chessboard_RGB", "horse")
_LEFT_OUT = ("phantom",)
_FACES = 20
_SHORTEST_PX = 64
# Which of the DICOM test files show what a model is for; by the beginnings of their names.
CHEST_RADIOGRAPHS = ("RG1", "Fake_MONOHR1", "1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819")
CHEST_CT = ("CT1_J2K",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """One image (H, W) float32; ``kind`` names a row of the table. ``hounsfield``: its values are HU."""

    kind: str
    name: str
    image: Array
    hounsfield: bool = False


def all_kinds(data: Path) -> Iterator[Stranger]:
    """Patterns, phantoms and photographs, and the DICOM test files where ``data`` has them."""
    yield from chain(drawn(), ct_phantoms(), photographs())
    if (data / _DICOM).is_dir():
        yield from dicom_files(data / _DICOM)


def other_sets(
    data: Path, reader: str, choose: Callable[[str, Sequence[Record]], Iterable[Record]]
) -> Iterator[Stranger]:
    """Images of the data sets in ``data`` that aren't ``reader``'s; ``choose`` takes some of each set's records."""
    for other, (kind, folder, hounsfield) in _OTHER_SETS.items():
        if other != reader and (data / folder).is_dir():
            for record in choose(other, CATALOGUE[other].find(data / folder).records):
                yield Stranger(kind=kind, name=record.name, image=load(record).image, hounsfield=hounsfield)


def drawn() -> Iterator[Stranger]:
    """Patterns and phantoms, 512×512, grey values 0 to 255: smooth, and most with noise of 6 grey values as well."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:_DRAWN_PX, :_DRAWN_PX].astype(np.float32) / _DRAWN_PX
    for value in (0, 100, 255):
        yield _picture("blank", f"constant {value}", np.full_like(rows, value))
    yield _picture("blank", "one bright pixel", np.where((rows == 0.5) & (columns == 0.5), 255.0, 20.0))
    centre = np.hypot(rows - 0.5, columns - 0.5)
    gradients = {
        "along x": columns * 255, "along y": rows * 255, "diagonal": (rows + columns) * 127,
        "radial": 255 * np.clip(1 - centre * 1.6, 0, 1), "radial, dark centre": 255 * np.clip(centre * 1.6, 0, 1),
    }  # fmt: skip
    for name, image in gradients.items():
        yield from _both("gradient", name, image, rng)
    for sigma in (20, 60):
        yield _picture("white noise", f"normal, sigma {sigma}", rng.normal(127, sigma, rows.shape))
    yield _picture("white noise", "uniform", rng.uniform(0, 255, rows.shape))
    for count in (4, 8, 16, 64):
        board = (np.floor(columns * count) + np.floor(rows * count)) % 2
        yield from _both("checkerboard", f"{count} fields", board * 155 + 50, rng)
    for sigma_px in (4, 16, 48):
        yield from _both(
            "clouds", f"{sigma_px} px", _eight_bit(gaussian_filter(rng.normal(size=rows.shape), sigma_px)), rng
        )
    yield from _both("stripes", "upright", 127 + 127 * np.sin(columns * 40), rng)
    yield from _both("stripes", "level", 127 + 100 * np.sin(rows * 25), rng)
    yield from _both("phantom", "Shepp and Logan", _fitted(shepp_logan_phantom(), _DRAWN_PX) * 255, rng)
    yield from _both("phantom", "disc", np.where(centre < 0.35, 200.0, 0.0), rng)
    yield from _both("phantom", "discs", _discs(rows, columns, rng), rng)


def ct_phantoms() -> Iterator[Stranger]:
    """Phantoms in HU: water, inserts, a head of Shepp and Logan's, foam, and a thorax without vessels."""
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:_DRAWN_PX, :_DRAWN_PX].astype(np.float32) / _DRAWN_PX * 2 - 1
    round_ = np.hypot(rows, columns) < 0.7
    water = np.where(round_, 0.0, -1000.0)
    inserts = water.copy()
    for number, value in enumerate([-1000, -200, -100, 120, 340, 900, -35, 990]):
        angle = number * np.pi / 4
        inserts[np.hypot(columns - 0.4 * np.cos(angle), rows - 0.4 * np.sin(angle)) < 0.09] = value
    thorax = np.where((columns / 0.85) ** 2 + (rows / 0.6) ** 2 < 1, 40.0, -1000.0)
    for side in (-1, 1):
        thorax[((columns - side * 0.38) / 0.28) ** 2 + (rows / 0.42) ** 2 < 1] = -820
    thorax[(columns / 0.08) ** 2 + ((rows - 0.35) / 0.1) ** 2 < 1] = 400
    head = _fitted(shepp_logan_phantom(), _DRAWN_PX)
    images = {
        "water": water, "inserts": inserts, "thorax": thorax, "foam": np.where(round_, -800.0, -1000.0),
        "Shepp and Logan": head * 2000 - 1000, "Shepp and Logan, dim": head * 1000 - 1000,
    }  # fmt: skip
    for name, image in images.items():
        for sigma in (0, 20):
            noisy = (image + rng.normal(0, sigma, image.shape)).astype(np.float32)
            yield Stranger(kind="CT phantom", name=f"{name}, noise {sigma} HU", image=noisy, hounsfield=True)


def photographs() -> Iterator[Stranger]:
    """scikit-image's photographs, faces and pages, as luminance 0 to 255."""
    folder = Path(skimage.__file__).parent / "data"
    for path in sorted([*folder.glob("*.png"), *folder.glob("*.jpg")]):
        if path.stem not in _LEFT_OUT:
            with Image.open(path) as picture:
                image = np.asarray(picture.convert("L"), np.float32)
            yield Stranger(kind="text and charts" if path.stem in _TEXTS else "photograph", name=path.stem, image=image)
    faces = np.load(folder / "lfw_subset.npy")
    for number in range(0, len(faces), max(1, len(faces) // _FACES)):
        face = np.float32(faces[number] * 255)
        yield Stranger(kind="face, 25 px enlarged", name=f"face {number}", image=_fitted(face, 256))


def dicom_files(root: Path) -> Iterator[Stranger]:
    """Other modalities and body parts: first and middle frame of every file of ``root`` that can be decoded.

    Frames with a side below 64 px, and those that an earlier file had too, are left out.
    """
    seen = set()
    with (root / "index.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["haspix"] == "1"]
    for row in rows:
        count = int(row["NumberOfFrames"]) if row["NumberOfFrames"].isdigit() else 1
        for number, values in enumerate(_frames(root / row["file"], count)):
            key = (values.shape, round(float(values.mean()), 1), round(float(values.std()), 1))
            if min(values.shape) < _SHORTEST_PX or key in seen:
                continue
            seen.add(key)
            yield Stranger(
                kind=_dicom_kind(row["Modality"], Path(row["file"]).name),
                name=f"{row['file']} {number}",
                image=values,
                hounsfield=row["Modality"] == "CT",
            )


def _dicom_kind(modality: str, name: str) -> str:
    if name.startswith(CHEST_CT):
        return "DICOM, chest CT"
    if name.startswith(CHEST_RADIOGRAPHS):
        return "DICOM, chest radiograph"
    others = {"CT": "CT, not of the chest", "CR": "radiograph, other part", "DX": "radiograph, other part"}
    others |= {"NM": "NM, PT", "PT": "NM, PT"}
    known = others.get(modality, modality if modality in ("MR", "US") else "other objects")
    return f"DICOM, {known}"


def _frames(path: Path, count: int) -> Iterator[Array]:
    wanted = {0, (count - 1) // 2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for number, frame in enumerate(islice(decode_frames(path, LIMITS), max(wanted) + 1)):
                if number in wanted:
                    yield np.asarray(frame.values, np.float32)
        except PixelError:
            # What can't be decoded is refused before any model is asked.
            return


def _discs(rows: Array, columns: Array, rng: np.random.Generator) -> Array:
    image = np.zeros_like(rows)
    for _ in range(20):
        row, column, radius = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), rng.uniform(0.03, 0.15)
        image[np.hypot(rows - row, columns - column) < radius] = rng.uniform(30, 230)
    return image


def _both(kind: str, name: str, image: npt.NDArray[np.floating], rng: np.random.Generator) -> Iterator[Stranger]:
    yield _picture(kind, name, image)
    yield _picture(kind, f"{name}, noise", image + rng.normal(0, _NOISE, image.shape))


def _picture(kind: str, name: str, image: npt.NDArray[np.floating]) -> Stranger:
    return Stranger(kind=kind, name=name, image=np.rint(np.clip(image, 0, 255)).astype(np.float32))


def _eight_bit(image: npt.NDArray[np.floating]) -> Array:
    low, high = np.percentile(image, [0.5, 99.5])
    return np.rint(np.clip((image - low) * 255 / max(float(high - low), 1e-6), 0, 255)).astype(np.float32)


def as_picture(stranger: Stranger) -> Array:
    """The image as an 8-bit picture, as a viewer would export it; CT through a lung window (-1350 to 150 HU)."""
    if stranger.hounsfield:
        return np.rint(np.clip((stranger.image + 1350) * 255 / 1500, 0, 255)).astype(np.float32)
    return _eight_bit(stranger.image)


def _fitted(image: npt.NDArray[np.floating], side_px: int) -> Array:
    return fitted(np.float32(image), (side_px, side_px))


def fitted(image: Array, shape: tuple[int, int]) -> Array:
    """The image stretched to rows and columns."""
    method = Image.Resampling.BICUBIC if min(image.shape) < min(shape) else Image.Resampling.BOX
    return np.asarray(Image.fromarray(image).resize((shape[1], shape[0]), method), np.float32)
