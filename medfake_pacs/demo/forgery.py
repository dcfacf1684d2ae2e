"""Manipulated copies of real images, by the families of ``training.forge``."""

from copy import deepcopy

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from scipy.ndimage import gaussian_filter

from training.forge import WHOLE, Forge, reconstruct
from training.sampling import make_site

Array = npt.NDArray[np.float32]

_MARGIN = 0.12  # of the shorter side, where nothing is edited
_PIXELS_OF_RADIUS = 0.03  # of the shorter side


def manipulated_copy(dataset: Dataset, family: str, seed: int) -> Dataset:
    """Return a copy of a single-frame grey image that one family of the forge has edited.

    The copy is stored uncompressed, has new Study, Series and SOP Instance UIDs, and says in Derivation
    Description (0008,2111) what was done to it.
    """
    rng = np.random.default_rng(seed)
    values = _modality_values(dataset)
    edited = _edited(values, family, rng)
    copy = deepcopy(dataset)
    copy.StudyInstanceUID, copy.SeriesInstanceUID = generate_uid(), generate_uid()
    copy.ImageType = ["DERIVED", "SECONDARY"]
    copy.DerivationDescription = f"Manipulated for a demonstration: {family}"
    copy.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    copy.set_pixel_data(_stored(edited, dataset), dataset.PhotometricInterpretation, dataset.BitsStored)
    copy.file_meta.MediaStorageSOPInstanceUID = copy.SOPInstanceUID
    return copy


def _modality_values(dataset: Dataset) -> Array:
    """Return (H, W) float32 in modality units, bright is dense."""
    values = dataset.pixel_array.astype(np.float32) * float(dataset.get("RescaleSlope", 1))
    values += float(dataset.get("RescaleIntercept", 0))
    return _mirrored(values) if dataset.PhotometricInterpretation == "MONOCHROME1" else values


def _stored(values: Array, original: Dataset) -> npt.NDArray[np.integer]:
    """Return what ``_modality_values`` would turn into ``values``, in the original's own integers."""
    if original.PhotometricInterpretation == "MONOCHROME1":
        values = _mirrored(values, like=_modality_values(original))
    stored = (values - float(original.get("RescaleIntercept", 0))) / float(original.get("RescaleSlope", 1))
    before = original.pixel_array
    return np.clip(np.rint(stored), before.min(), before.max()).astype(before.dtype)


def _mirrored(values: Array, like: Array | None = None) -> Array:
    reference = values if like is None else like
    return reference.max() + reference.min() - values


def _edited(values: Array, family: str, rng: np.random.Generator) -> Array:
    short = min(values.shape)
    radius = _PIXELS_OF_RADIUS * short
    centre, other = _place(values, rng), _place(values, rng)
    donor = np.roll(values, (centre[0] - other[0], centre[1] - other[1]), axis=(0, 1))
    forge = Forge(reconstruct.fit([values], rng, count=2000))
    if family in WHOLE:
        return forge.apply(family, make_site(values, donor, centre, radius, rng), rng).image
    half = int(4 * radius)
    area = tuple(slice(max(0, place - half), place + half) for place in centre)
    inner = (centre[0] - area[0].start, centre[1] - area[1].start)
    site = make_site(values[area], donor[area], inner, radius, rng)
    result = values.copy()
    result[area] = forge.any_of([family], site, rng).image
    return result


def _place(values: Array, rng: np.random.Generator) -> tuple[int, int]:
    """Return a place (row, column) inside the body: above the median, and away from the border."""
    smooth = gaussian_filter(values, 4.0)
    margin = int(_MARGIN * min(values.shape))
    inside = np.zeros(values.shape, bool)
    inside[margin:-margin, margin:-margin] = True
    candidates = np.flatnonzero(inside & (smooth > np.median(smooth[inside])))
    row, column = divmod(int(rng.choice(candidates)), values.shape[1])
    return row, column
