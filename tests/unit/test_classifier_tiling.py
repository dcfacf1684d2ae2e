"""Tiling: every cell of a frame is answered for by exactly one tile, whatever the frame's sides."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from medfake_pacs.classifier.card import Tile
from medfake_pacs.classifier.tiling import assemble, cell_count, cut, places

CELLS = st.sampled_from([16, 32])
TILES = st.sampled_from([Tile(size=96, overlap=32), Tile(size=128, overlap=64), Tile(size=64, overlap=0)])


@settings(max_examples=60, deadline=None)
@given(height=st.integers(33, 500), width=st.integers(33, 500), tile=TILES, cell_px=CELLS)
def test_each_cell_has_one_tile(height: int, width: int, tile: Tile, cell_px: int) -> None:
    counts = np.zeros((cell_count(height, cell_px), cell_count(width, cell_px)), int)
    for place in places((height, width), tile, cell_px):
        counts[slice(*place.rows), slice(*place.columns)] += 1
        assert place.rows[0] * cell_px >= place.top
        assert place.rows[1] * cell_px <= place.top + tile.size
    assert (counts == 1).all()


@settings(max_examples=30, deadline=None)
@given(height=st.integers(40, 300), width=st.integers(40, 300), tile=TILES, cell_px=CELLS)
def test_tiles_put_together_are_the_frame(height: int, width: int, tile: Tile, cell_px: int) -> None:
    prepared = np.random.default_rng(height * width).normal(size=(1, height, width)).astype(np.float32)
    tiles, where = cut(prepared, tile, cell_px)
    assert tiles.shape[1:] == (1, tile.size, tile.size)
    corners = tiles[:, 0, ::cell_px, ::cell_px]
    whole = assemble(corners, where, (height, width), cell_px)
    rows, columns = cell_count(height, cell_px), cell_count(width, cell_px)
    assert np.array_equal(whole, prepared[0, ::cell_px, ::cell_px][:rows, :columns])


def test_a_small_frame_is_continued_by_reflection_and_the_rest_takes_no_part() -> None:
    tiles, where = cut(np.arange(40 * 40, dtype=np.float32).reshape(1, 40, 40), Tile(size=96, overlap=32), 32)
    assert tiles.shape == (1, 1, 96, 96)
    assert np.array_equal(tiles[0, 0, :40, 40:80], tiles[0, 0, :40, :40][:, ::-1])
    assert assemble(np.ones((1, 3, 3), np.float32), where, (40, 40), 32).shape == (1, 1)


def test_cells_with_less_than_half_in_the_frame_take_no_part() -> None:
    assert [cell_count(length, 32) for length in (5, 47, 48, 64, 79, 80)] == [1, 1, 2, 2, 2, 3]
