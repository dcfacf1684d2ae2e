"""From stored values to grey in modality units: LUT or rescale, padding, inversion, colour (PS3.3 C.11.1, C.7.6.3)."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut

from medfake_pacs.errors import PixelError
from medfake_pacs.pixels.header import PixelModule
from medfake_pacs.pixels.library import library_call

Array = npt.NDArray[Any]
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as PS3.3 C.7.6.3.1.2 uses it
_UNITS = ("HU", "OD", "US")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescale:
    """One frame's modality transformation: a table, or slope and intercept; ``units`` is HU, OD, US or empty."""

    slope: float = 1.0
    intercept: float = 0.0
    units: str = ""
    table: Array | None = None
    first_mapped: int = 0

    def apply(self, stored: Array) -> npt.NDArray[np.float32]:
        """Return modality values, float32, of ``stored`` of any shape."""
        if self.table is not None:
            index = np.clip(stored.astype(np.int64) - self.first_mapped, 0, len(self.table) - 1)
            return self.table[index].astype(np.float32)
        wide = stored.dtype.itemsize > 2
        values = stored.astype(np.float64 if wide else np.float32)
        if self.slope != 1.0:
            values *= self.slope
        if self.intercept != 0.0:
            values += self.intercept
        return values.astype(np.float32, copy=False)

    @property
    def fingerprint(self) -> str:
        """Return text that is equal for equal transformations."""
        table = "" if self.table is None else hashlib.sha256(self.table.tobytes()).hexdigest()
        return f"{self.slope!r},{self.intercept!r},{self.units},{table},{self.first_mapped}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Modality:
    """How an image's stored values become grey; ``rescales`` has one entry, or one per frame."""

    module: PixelModule
    rescales: Sequence[Rescale]
    padding: tuple[float, float] | None
    palette: Dataset | None

    @property
    def units(self) -> str:
        """Return the units of the frames, empty where they are unknown or differ."""
        units = {rescale.units for rescale in self.rescales}
        return units.pop() if len(units) == 1 else ""

    def rescale(self, index: int) -> Rescale:
        """Return the transformation of the frame at ``index``, counted from zero."""
        return self.rescales[index if len(self.rescales) > 1 else 0]

    def grey(self, stored: Array, photometric: str, index: int) -> npt.NDArray[np.float32]:
        """Return the frame at ``index`` as (H, W) float32 in modality units, bright is dense.

        Padding becomes the least of the other values. MONOCHROME1 is mirrored within the range of its stored values,
        except in Hounsfield units, where high is dense whatever the display does.

        Raises
        ------
        PixelError
            The palette can't be applied, or a value isn't finite.
        """
        with library_call("the pixel values can't be transformed"):
            if photometric not in ("MONOCHROME1", "MONOCHROME2"):
                return _colour_to_grey(stored, photometric, self.palette)
            rescale = self.rescale(index)
            values = rescale.apply(stored)
            if self.module.floating and not np.isfinite(values).all():
                values = np.nan_to_num(values, nan=float(np.nanmin(values, initial=0.0)))
            if photometric == "MONOCHROME1" and rescale.units != "HU":
                values = np.float32(self._mirror_sum(rescale, values)) - values
            return self._unpadded(values, stored)

    def fingerprint(self, index: int) -> str:
        """Return text that is equal for frames whose stored values are read the same way."""
        palette = "" if self.palette is None else _palette_fingerprint(self.palette)
        mirror = self.module.bits_stored if self.module.photometric_interpretation == "MONOCHROME1" else ""
        return f"{self.rescale(index).fingerprint};{self.padding};{palette};{mirror}"

    def _mirror_sum(self, rescale: Rescale, values: npt.NDArray[np.float32]) -> float:
        """Return what a value and its mirror image add up to."""
        if self.module.floating:
            return float(values.min()) + float(values.max())
        if rescale.table is not None:
            return float(rescale.table.min()) + float(rescale.table.max())
        span = 1 << self.module.bits_stored
        low, high = (-span // 2, span // 2 - 1) if self.module.signed else (0, span - 1)
        return rescale.slope * (low + high) + 2 * rescale.intercept

    def _unpadded(self, values: npt.NDArray[np.float32], stored: Array) -> npt.NDArray[np.float32]:
        if self.padding is None:
            return values
        low, high = self.padding
        padded = stored == low if low == high else (stored >= low) & (stored <= high)
        if padded.any() and not padded.all():
            values[padded] = values[~padded].min()
        return values


def read_modality(dataset: Dataset, module: PixelModule) -> Modality:
    """Read the Modality LUT module, functional groups, padding and palette of an image.

    Raises
    ------
    PixelError
        One of them is there but can't be used.
    """
    with library_call("the modality transformation can't be read"):
        colour = module.samples_per_pixel > 1 or module.photometric_interpretation == "PALETTE COLOR"
        palette = dataset if module.photometric_interpretation == "PALETTE COLOR" else None
        rescales = (Rescale(),) if colour else _rescales(dataset, module.number_of_frames)
        padding = None if colour else _padding(dataset, module)
        return Modality(module=module, rescales=rescales, padding=padding, palette=palette)


def _rescales(dataset: Dataset, frames: int) -> Sequence[Rescale]:
    modality = str(dataset.get("Modality", "") or "")
    if luts := dataset.get("ModalityLUTSequence"):
        return (_lut(luts[0], dataset),)
    top = _linear(dataset, modality)
    shared = _functional_group(dataset.get("SharedFunctionalGroupsSequence"), 0, modality)
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if not per_frame:
        return (shared or top or Rescale(),)
    found = [_functional_group(per_frame, index, modality) for index in range(min(frames, len(per_frame)))]
    if not any(found):
        return (shared or top or Rescale(),)
    found += [None] * (frames - len(found))
    return tuple(entry or shared or top or Rescale() for entry in found)


def _functional_group(groups: Any, index: int, modality: str) -> Rescale | None:
    """Return the Pixel Value Transformation of one functional group item (PS3.3 C.7.6.16.2.9)."""
    if not groups or index >= len(groups):
        return None
    macro = groups[index].get("PixelValueTransformationSequence")
    return _linear(macro[0], modality) if macro else None


def _linear(dataset: Dataset, modality: str) -> Rescale | None:
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope in (None, "") and intercept in (None, ""):
        return None
    slope_value = 1.0 if slope in (None, "") else float(slope)
    intercept_value = 0.0 if intercept in (None, "") else float(intercept)
    if not (math.isfinite(slope_value) and math.isfinite(intercept_value)):
        raise PixelError("Rescale Slope or Rescale Intercept is not a finite number")
    if slope_value == 0.0:
        return None  # it would erase the image; every viewer ignores it
    kind = str(dataset.get("RescaleType", "") or "").strip().upper()
    # A CT image's rescale gives Hounsfield units unless Rescale Type says otherwise (PS3.3 C.8.2.1.1.2).
    units = (kind or "HU") if modality == "CT" else kind
    return Rescale(slope=slope_value, intercept=intercept_value, units=units if units in _UNITS else "")


def _lut(item: Dataset, dataset: Dataset) -> Rescale:
    """Return the Modality LUT as a table (PS3.3 C.11.1.1)."""
    entries, first, bits = (int(value) for value in item.LUTDescriptor)
    data = item.LUTData
    if isinstance(data, bytes):
        little = dataset.original_encoding[1]
        width = 1 if bits <= 8 and len(data) <= (entries or 65536) + 1 else 2
        table = np.frombuffer(data, dtype=f"{'<' if little else '>'}u{width}")
    else:
        table = np.atleast_1d(np.asarray(data)).astype(np.uint16)
    count = entries or 65536
    if len(table) < count:
        raise PixelError(f"truncated Modality LUT: {len(table)} of {count} entries")
    kind = str(item.get("ModalityLUTType", "") or "").strip().upper()
    table = table[:count].astype("<u2")
    return Rescale(table=table, first_mapped=first, units=kind if kind in _UNITS else "")


def _padding(dataset: Dataset, module: PixelModule) -> tuple[float, float] | None:
    """Return the range of stored values that is padding (PS3.3 C.7.5.1.1.2)."""
    prefix = "" if not module.floating else "Float" if module.bits_allocated == 32 else "DoubleFloat"
    value = dataset.get(f"{prefix}PixelPaddingValue")
    if value in (None, "", b""):
        return None
    limit = dataset.get(f"{prefix}PixelPaddingRangeLimit")
    if limit in (None, "", b""):
        limit = value
    if module.floating:
        low, high = float(value), float(limit)
    else:
        low, high = _as_stored(value, module), _as_stored(limit, module)
    return (low, high) if low <= high else (high, low)


def _as_stored(value: Any, module: PixelModule) -> int:
    """Return a padding value as the pixels hold it, whichever VR it was written in."""
    number = int.from_bytes(value[:4], "little") if isinstance(value, bytes) else int(value)
    number &= (1 << module.bits_allocated) - 1
    if not module.signed:
        return number
    # Written with the sign extended to the whole word, or to the stored bits alone.
    for bits in (module.bits_stored, module.bits_allocated):
        if number >> (bits - 1) == 1:
            return number - (1 << bits)
    return number


def _colour_to_grey(stored: Array, photometric: str, palette: Dataset | None) -> npt.NDArray[np.float32]:
    """Return luminance, in the range of the stored samples (PS3.3 C.7.6.3.1.2)."""
    if photometric == "PALETTE COLOR":
        stored = apply_color_lut(stored, palette)[..., :3]
        photometric = "RGB"
    if photometric == "RGB":
        grey = np.zeros(stored.shape[:2], dtype=np.float32)
        for channel, weight in enumerate(_LUMA):  # by channel: half the memory of a matrix product
            grey += np.float32(weight) * stored[..., channel]
        return grey
    luminance = stored[..., 0].astype(np.float32)
    if photometric.startswith("YBR_PARTIAL"):
        luminance = (luminance - 16.0) * (255.0 / 219.0)
    return np.ascontiguousarray(luminance, dtype=np.float32)


def _palette_fingerprint(palette: Dataset) -> str:
    digest = hashlib.sha256()
    for colour in ("Red", "Green", "Blue"):
        for keyword in (f"{colour}PaletteColorLookupTableData", f"Segmented{colour}PaletteColorLookupTableData"):
            digest.update(bytes(palette.get(keyword) or b""))
            digest.update(b"|")
        digest.update(str(palette.get(f"{colour}PaletteColorLookupTableDescriptor")).encode())
    return digest.hexdigest()
