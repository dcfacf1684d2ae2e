"""Frames as what a browser shows: 8-bit PNG through a window, or the values themselves for the viewer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from medfake_pacs.console.rendering import heatmap
from medfake_pacs.console.rendering.frames import Frame
from medfake_pacs.console.rendering.reducing import MAX_SIDE_PX, reduced
from medfake_pacs.console.rendering.windows import Window

# Fast: a browser on the same network waits for the compression longer than for the bytes.
_PNG_LEVEL = 1
THUMBNAIL_PX = 160
OVERLAY_PX = 1024
# Seen on black, on white and on every colour of the heat map.
_OUTLINE = (127, 255, 212)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What is drawn over a frame: the model's map with its (slope, intercept), and (x, y, width, height) of regions."""

    cells: Sequence[Sequence[float]] = ()
    calibration: tuple[float, float] = (1.0, 0.0)
    regions: Sequence[tuple[int, int, int, int]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFrame:
    """The values of a frame, little-endian, row by row; ``headers`` say how to read them."""

    content: bytes
    headers: Mapping[str, str]


def png(frame: Frame, window: Window | None = None, max_side_px: int = MAX_SIDE_PX) -> bytes:
    """Return a frame as 8-bit grey PNG, shown through ``window`` or else its own; smaller where it is larger."""
    grey = _grey(reduced(frame.values, max_side_px)[0], window or frame.window)
    return _encoded(Image.fromarray(grey))


def thumbnail(frame: Frame, marks: Marks | None = None, side_px: int = THUMBNAIL_PX) -> bytes:
    """Return a frame as PNG with sides of at most ``side_px``, with ``marks`` drawn over it."""
    grey = Image.fromarray(_grey(frame.values, frame.window))
    grey.thumbnail((side_px, side_px), Image.Resampling.BOX)
    if marks is None:
        return _encoded(grey)
    rows, columns = frame.rows, frame.columns
    picture = grey.convert("RGB")
    if marks.cells:
        heat = heatmap.picture(marks.cells, *marks.calibration, columns, rows)
        heat = heat.resize(picture.size, Image.Resampling.BICUBIC)
        # The anatomy stays visible below it.
        picture.paste(heat, mask=heat.getchannel("A").point(lambda alpha: alpha * 6 // 10))
    draw = ImageDraw.Draw(picture)
    scale = picture.width / columns
    for x, y, width, height in marks.regions:
        corners = (x * scale, y * scale, (x + max(1, width)) * scale - 1, (y + max(1, height)) * scale - 1)
        left, top, right, bottom = corners
        draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=_OUTLINE, width=max(1, side_px // 160))
    return _encoded(picture)


def raw(frame: Frame, max_side_px: int = MAX_SIDE_PX) -> RawFrame:
    """Return a frame's values, averaged by a whole factor where a side is longer than ``max_side_px``.

    ``X-Frame-Rows`` and ``X-Frame-Columns`` are the size of what is sent, ``X-Frame-Reduction`` the factor,
    ``X-Frame-Format`` int16 or float32, ``X-Frame-Units`` HU, OD, US or empty; then come the window that it is
    shown by at first, and its range.
    """
    values, factor = reduced(frame.values, max_side_px)
    kind = "int16" if values.dtype == np.int16 else "float32"
    headers = {
        "X-Frame-Rows": str(values.shape[0]),
        "X-Frame-Columns": str(values.shape[1]),
        "X-Frame-Reduction": str(frame.reduction * factor),
        "X-Frame-Format": kind,
        "X-Frame-Units": frame.units,
        "X-Frame-Low": f"{frame.window.low:.6g}",
        "X-Frame-High": f"{frame.window.high:.6g}",
        "X-Frame-Minimum": f"{frame.minimum:.6g}",
        "X-Frame-Maximum": f"{frame.maximum:.6g}",
    }
    return RawFrame(content=values.astype(f"<{values.dtype.str[1:]}", copy=False).tobytes(), headers=headers)


def _grey(values: npt.NDArray[np.int16 | np.float32], window: Window) -> npt.NDArray[np.uint8]:
    scaled = (values.astype(np.float32) - np.float32(window.low)) * np.float32(255.0 / (window.high - window.low))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def _encoded(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "PNG", compress_level=_PNG_LEVEL)
    return buffer.getvalue()
