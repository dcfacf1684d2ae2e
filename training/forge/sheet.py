"""A contact sheet: rows of edits, columns of pictures with a line of text above each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from training.forge.site import Array

_CELL_PX = 240
_GAP_PX = 6
_TEXT_PX = 16
_INK, _PAPER = (20, 20, 20), (255, 255, 255)

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One cell of the sheet: ``picture`` (H, W, 3) uint8 and the line above it."""

    picture: Picture
    text: str


def shades(image: Array, low: float, high: float) -> Picture:
    """Values from ``low`` (black) to ``high`` (white) as (H, W, 3) uint8."""
    grey = np.clip((image - low) * (255 / max(high - low, 1e-6)), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def difference(change: Array, limit: float) -> Picture:
    """Changes from ``-limit`` (blue) over none (white) to ``limit`` (red) as (H, W, 3) uint8."""
    share = np.clip(change / max(limit, 1e-6), -1, 1)
    fade = 255 * (1 - np.abs(share))
    red, blue = np.where(share >= 0, 255, fade), np.where(share <= 0, 255, fade)
    return np.stack([red, fade, blue], axis=-1).astype(np.uint8)


def with_box(picture: Picture, rows: slice, columns: slice) -> Picture:
    """The picture with a frame around an area."""
    drawn = Image.fromarray(picture)
    width = max(1, round(max(picture.shape) / 150))
    ImageDraw.Draw(drawn).rectangle(
        [columns.start, rows.start, columns.stop, rows.stop], outline=(255, 190, 0), width=width
    )
    return np.asarray(drawn)


def sheet(title: str, rows: Sequence[Sequence[Panel]]) -> Image.Image:
    """The sheet; enlarged pixels stay square blocks, so that what is seen is what is stored."""
    pitch_x, pitch_y = _CELL_PX + _GAP_PX, _CELL_PX + _TEXT_PX + _GAP_PX
    columns = max(len(row) for row in rows)
    canvas = Image.new("RGB", (columns * pitch_x + _GAP_PX, len(rows) * pitch_y + 2 * _TEXT_PX), _PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((_GAP_PX, 5), title, fill=_INK, font=ImageFont.load_default(size=14))
    font = ImageFont.load_default(size=11)
    for row_number, row in enumerate(rows):
        top = 2 * _TEXT_PX + row_number * pitch_y
        for column_number, panel in enumerate(row):
            left = _GAP_PX + column_number * pitch_x
            draw.text((left, top), panel.text, fill=_INK, font=font)
            picture = Image.fromarray(panel.picture)
            scale = min(_CELL_PX / picture.width, _CELL_PX / picture.height)
            size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            way = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
            canvas.paste(picture.resize(size, way), (left, top + _TEXT_PX))
    return canvas
