"""A score survives the table that it is kept in, and one from before there were maps can still be read."""

import json
from types import SimpleNamespace
from typing import Any, cast

import sqlalchemy as sa

from medfake_pacs.entities import FrameScore, Region, Score
from medfake_pacs.workflows.rows import score_from_row, score_to_json

SCORE = Score(
    pixel_sha256="a" * 64,
    model_sha256="b" * 64,
    engine="torch-cpu",
    frames=(
        FrameScore(
            frame_number=1,
            score=1.5,
            regions=(Region(x=0, y=32, width=64, height=32, score=2.25),),
            tiles=((0.25, -1.5), (2.25, 3.01)),
        ),
        FrameScore(frame_number=2, score=0.0, outside_domain="blank"),
    ),
)


def row_of(frames: list[dict[str, object]]) -> "sa.Row[tuple[object, ...]]":
    """Return a row as the database gives it back: the frames went through JSON."""
    kept = json.loads(json.dumps(frames))
    row = SimpleNamespace(pixel_sha256="a" * 64, model_sha256="b" * 64, engine="torch-cpu", frames=kept)
    return cast("sa.Row[tuple[Any, ...]]", row)


def test_a_score_comes_back_as_it_was_kept() -> None:
    assert score_from_row(row_of(score_to_json(SCORE))) == SCORE


def test_a_score_without_a_map_can_be_read() -> None:
    old = score_to_json(SCORE)
    for frame in old:
        del frame["cells"]
    found = score_from_row(row_of(old))
    assert [frame.tiles for frame in found.frames] == [(), ()]
    assert found.frames[0].regions == SCORE.frames[0].regions
