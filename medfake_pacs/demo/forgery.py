"""Manipulated copies of real images, by the families of ``training.forge``."""

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from scipy.ndimage import gaussian_filter

from medfake_pacs.demo.case import DemoError
from training.forge import WHOLE, Forge, reconstruct
from training.sampling import make_site

Array = npt.NDArray[np.float32]
Stored = npt.NDArray[np.integer]

_ATTEMPTS = 20
_MARGIN = 0.3  # of each side, where nothing is edited
_LEFT_OUT_PERCENT = 40
_SCALE_PX = 4.0
_PIXELS_OF_RADIUS = 0.03  # of the shorter side


def manipulated_copy(dataset: Dataset, family: str, seed: int) -> Dataset:
    """Return a copy of a single-frame grey image that one family of the forge has edited.

    The copy is stored uncompressed, has new Study, Series and SOP Instance UIDs, and says in Derivation
    Description (0008,2111) what was done to it.
    """
    rng = np.random.default_rng(seed)
    stored = dataset.pixel_array
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    scale = _Scale(
        slope=float(dataset.get("RescaleSlope", 1)),
        intercept=float(dataset.get("RescaleIntercept", 0)),
        mirror=float(stored.min()) + float(stored.max()) if inverted else None,
    )
    edited = scale.stored(_edited(scale.modality(stored), family, rng), stored)
    return with_pixels(dataset, edited, f"Manipulated for a demonstration: {family}")


def with_pixels(dataset: Dataset, stored: Stored, derivation: str) -> Dataset:
    """Return a copy with other stored values, uncompressed, with new UIDs, that says how it was derived."""
    copy = deepcopy(dataset)
    copy.StudyInstanceUID, copy.SeriesInstanceUID = generate_uid(), generate_uid()
    copy.ImageType = ["DERIVED", "SECONDARY"]
    copy.DerivationDescription = derivation
    copy.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    copy.set_pixel_data(stored, dataset.PhotometricInterpretation, dataset.BitsStored)
    copy.file_meta.MediaStorageSOPInstanceUID = copy.SOPInstanceUID
    return copy


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """From stored integers to modality units, bright is dense, and back; ``mirror`` inverts MONOCHROME1."""

    slope: float
    intercept: float
    mirror: float | None

    def modality(self, stored: Stored) -> Array:
        values = stored.astype(np.float32)
        if self.mirror is not None:
            values = self.mirror - values
        return values * np.float32(self.slope) + np.float32(self.intercept)

    def stored(self, values: Array, before: Stored) -> Stored:
        integers = np.rint((values - self.intercept) / self.slope)
        if self.mirror is not None:
            integers = self.mirror - integers
        return np.clip(integers, before.min(), before.max()).astype(before.dtype)


def _edited(values: Array, family: str, rng: np.random.Generator) -> Array:
    """Return the values with one edit that can be seen; a place where none can be is left for another.

    Raises
    ------
    DemoError
        If no place in the image takes the edit.
    """
    candidates = _places(values)
    forge = Forge(reconstruct.fit([values], rng, count=1000))
    for _ in range(_ATTEMPTS):
        centre, other = _pick(candidates, values, rng), _pick(candidates, values, rng)
        area = _whole(values) if family in WHOLE else _around(centre, values)
        donor = np.roll(values, (centre[0] - other[0], centre[1] - other[1]), axis=(0, 1))
        inner = (centre[0] - area[0].start, centre[1] - area[1].start)
        site = make_site(values[area], donor[area], inner, _PIXELS_OF_RADIUS * min(values.shape), rng)
        forged = forge.apply(family, site, rng)
        if forged.visible:
            result = values.copy()
            result[area] = forged.image
            return result
    raise DemoError(f"no place in the image takes a {family}")


def _whole(values: Array) -> tuple[slice, slice]:
    return slice(0, values.shape[0]), slice(0, values.shape[1])


def _around(centre: tuple[int, int], values: Array) -> tuple[slice, slice]:
    half = int(4 * _PIXELS_OF_RADIUS * min(values.shape))
    row, column = (slice(max(0, place - half), place + half) for place in centre)
    return row, column


def _places(values: Array) -> npt.NDArray[np.intp]:
    """Return places (flat indices) inside the body: in the middle of the image, and neither dark nor flat there."""
    smooth = gaussian_filter(values, _SCALE_PX)
    contrast = gaussian_filter(np.abs(values - smooth), _SCALE_PX)
    rows, columns = (slice(int(_MARGIN * size), int((1 - _MARGIN) * size)) for size in values.shape)
    middle = np.zeros(values.shape, bool)
    middle[rows, columns] = True
    dark, flat = (np.percentile(map_[middle], _LEFT_OUT_PERCENT) for map_ in (smooth, contrast))
    return np.flatnonzero(middle & (smooth > dark) & (contrast > flat))


def _pick(candidates: npt.NDArray[np.intp], values: Array, rng: np.random.Generator) -> tuple[int, int]:
    row, column = divmod(int(rng.choice(candidates)), values.shape[1])
    return row, column
