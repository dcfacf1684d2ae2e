"""Which values of a frame are shown as black and as white (PS3.3 C.11.2)."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medfake_pacs.entities import ImageInfo
from medfake_pacs.report.headers import ascii_value, read_header

_LOW_PERCENTILE, _HIGH_PERCENTILE = 0.5, 99.5
_BITS_OF_A_BYTE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The values that are shown as black (``low``) and as white (``high``), in the frame's units."""

    low: float
    high: float


def header_window(path: Path, info: ImageInfo) -> Window | None:
    """Return the first window that a DICOM file's header declares; None without one that can be used.

    Where the decoder mirrors the values (MONOCHROME1 that isn't in Hounsfield units), a declared window, which is
    about the values before that, says nothing.
    """
    if info.photometric_interpretation == "MONOCHROME1" and info.units != "HU":
        return None
    header = read_header(path, ("WindowCenter", "WindowWidth"))
    centre, width = (_first_number(ascii_value(header, name)) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or width < 1:
        return None
    # PS3.3 C.11.2.1.2.1: the linear function.
    return Window(low=centre - 0.5 - (width - 1) / 2, high=centre - 0.5 + (width - 1) / 2)


def first_window(
    values: npt.NDArray[np.float32], minimum: float, maximum: float, info: ImageInfo, declared: Window | None
) -> Window:
    """Return how a frame is shown at first: as its header says, in whole where it has 8 bits, else by percentiles."""
    if declared and declared.low < declared.high and declared.low < maximum and declared.high > minimum:
        return declared
    if info.bits_stored == _BITS_OF_A_BYTE and info.units == "" and minimum >= 0 and maximum <= 2**_BITS_OF_A_BYTE - 1:
        return Window(low=0.0, high=2.0**_BITS_OF_A_BYTE - 1)
    # Every fourth row and column tell the percentiles of a large frame well enough.
    step = 4 if values.size > 2**20 else 1
    low, high = (float(value) for value in np.percentile(values[::step, ::step], (_LOW_PERCENTILE, _HIGH_PERCENTILE)))
    if low >= high:
        low, high = minimum, maximum
    return Window(low=low, high=high if high > low else low + 1.0)


def _first_number(text: str) -> float | None:
    try:
        number = float(text.split("\\")[0])
    except ValueError:
        return None
    return number if math.isfinite(number) else None
