"""A frame as tiles on the grid of the network's cells, and the tiles' maps of logits as one map."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medfake_pacs.classifier.card import Tile

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One tile: the corner in pixels, and the cells (rows, columns) of the frame that it answers for."""

    top: int
    left: int
    rows: tuple[int, int]
    columns: tuple[int, int]


def places(shape: tuple[int, int], tile: Tile, cell_px: int) -> tuple[Place, ...]:
    """The tiles that cover a frame (H, W); each cell of the frame belongs to exactly one of them."""
    return tuple(
        Place(top=top, left=left, rows=rows, columns=columns)
        for top, rows in _spans(shape[0], tile, cell_px)
        for left, columns in _spans(shape[1], tile, cell_px)
    )


def _spans(length: int, tile: Tile, cell_px: int) -> list[tuple[int, tuple[int, int]]]:
    """Along one axis: the start in pixels and the cells from..to that the tile answers for.

    Neighbours share the overlap half and half; cells beyond the frame belong to nobody.
    """
    step = tile.size - tile.overlap
    count = 1 + max(0, -(-(length - tile.size) // step))
    cells = cell_count(length, cell_px)
    half = tile.overlap // 2 // cell_px
    spans = []
    for number in range(count):
        first = number * step // cell_px
        begin = first + (half if number else 0)
        end = cells if number == count - 1 else first + step // cell_px + half
        spans.append((number * step, (begin, min(end, cells))))
    return [span for span in spans if span[1][0] < span[1][1]]


def cell_count(length: int, cell_px: int) -> int:
    """How many cells take part along an axis: those with half or more of their pixels in the frame, at least one."""
    return max(1, (length + cell_px // 2) // cell_px)


def cut(prepared: Array, tile: Tile, cell_px: int) -> tuple[Array, tuple[Place, ...]]:
    """The tiles (N, C, T, T) of a prepared frame (C, H, W), continued by reflection where it ends."""
    height, width = prepared.shape[1:]
    where = places((height, width), tile, cell_px)
    bottom = max(place.top for place in where) + tile.size
    right = max(place.left for place in where) + tile.size
    padded = np.pad(prepared, ((0, 0), (0, max(0, bottom - height)), (0, max(0, right - width))), mode="symmetric")
    tiles = [padded[:, place.top : place.top + tile.size, place.left : place.left + tile.size] for place in where]
    return np.ascontiguousarray(np.stack(tiles)), where


def assemble(maps: Array, where: Sequence[Place], shape: tuple[int, int], cell_px: int) -> Array:
    """One map (h, w) of the frame from its tiles' maps (N, T/cell, T/cell)."""
    whole = np.full((cell_count(shape[0], cell_px), cell_count(shape[1], cell_px)), np.nan, np.float32)
    for one, place in zip(maps, where, strict=True):
        top, left = place.top // cell_px, place.left // cell_px
        (row, row_end), (column, column_end) = place.rows, place.columns
        whole[row:row_end, column:column_end] = one[row - top : row_end - top, column - left : column_end - left]
    return whole
