"""A score's map of cells as a picture to lay over the frame: transparent where nothing speaks for fake."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

CELL_PX = 32
# A browser smooths what lies between.
_PX_FOR_A_CELL = 8
_MAX_SIDE_PX = 1024
_INVISIBLE_BELOW, _OPAQUE_FROM = 0.15, 0.75
_MOST_OPAQUE = 230
# From dark violet over red and orange to pale yellow: lightness rises all the way, so that neither colour blindness
# nor a grey printer changes the order. (red, green, blue) at equal distances from 0 to 1.
_COLOURS = (
    (43, 10, 88), (86, 15, 109), (128, 30, 108), (170, 44, 93), (207, 68, 70),
    (234, 101, 42), (247, 143, 12), (250, 190, 40), (252, 255, 164),
)  # fmt: skip


def png(cells: Sequence[Sequence[float]], slope: float, intercept: float, columns: int, rows: int) -> bytes:
    """Return the map as a PNG with transparency; see ``picture``."""
    buffer = BytesIO()
    picture(cells, slope, intercept, columns, rows).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def picture(cells: Sequence[Sequence[float]], slope: float, intercept: float, columns: int, rows: int) -> Image.Image:
    """Return the map as a picture (RGBA) that covers a frame of ``columns`` x ``rows`` pixels.

    ``cells`` are logits, a cell for each 32 x 32 pixels from the top left corner; ``slope`` and ``intercept`` are the
    model's calibration, so that colours stand on the scale of the image's probability: how strongly a place speaks
    for fake, not the chance that it is.
    """
    logits = np.nan_to_num(np.asarray(cells, dtype=np.float32), nan=-50.0, posinf=50.0, neginf=-50.0)
    probabilities = 1.0 / (1.0 + np.exp(-np.clip(slope * logits + intercept, -50.0, 50.0)))
    return Image.fromarray(_coloured(_smooth(probabilities.astype(np.float32), columns, rows)), "RGBA")


def _smooth(probabilities: npt.NDArray[np.float32], columns: int, rows: int) -> npt.NDArray[np.float32]:
    """Return the map enlarged and cut to the frame: the last cells may reach beyond its edges, or not reach them."""
    down, across = probabilities.shape
    scale = min(float(_PX_FOR_A_CELL), _MAX_SIDE_PX / max(down, across))
    size = (max(1, round(across * scale)), max(1, round(down * scale)))
    enlarged = Image.fromarray(probabilities).resize(size, Image.Resampling.BICUBIC)
    width = max(1, round(columns / CELL_PX * scale))
    height = max(1, round(rows / CELL_PX * scale))
    covered = np.clip(np.asarray(enlarged)[:height, :width], 0.0, 1.0)
    return np.pad(covered, ((0, height - covered.shape[0]), (0, width - covered.shape[1])))


def _coloured(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    places = np.linspace(0.0, 1.0, len(_COLOURS))
    channels = [np.interp(values, places, [colour[channel] for colour in _COLOURS]) for channel in range(3)]
    alpha = np.clip((values - _INVISIBLE_BELOW) / (_OPAQUE_FROM - _INVISIBLE_BELOW), 0.0, 1.0) * _MOST_OPAQUE
    return np.stack([*channels, alpha], axis=-1).astype(np.uint8)
