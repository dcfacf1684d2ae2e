"""Read instance rows back into the values that the stages know."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import sqlalchemy as sa

from medfake_pacs.entities import FrameScore, ImageAttributes, Region, Report, Score

_FIELDS = ImageAttributes.__dataclass_fields__
_VALUES_IN_A_QUERY = 500


def pages(values: Iterable[str]) -> Iterator[list[str]]:
    """Yield the distinct values in order, as many at a time as one IN (...) may hold."""
    distinct = sorted(set(values))
    for start in range(0, len(distinct), _VALUES_IN_A_QUERY):
        yield distinct[start : start + _VALUES_IN_A_QUERY]


def attributes_of(row: "sa.Row[tuple[object, ...]] | sa.RowMapping") -> ImageAttributes:
    """Return the header attributes that an ``instances`` row holds."""
    mapping = row if isinstance(row, sa.RowMapping) else row._mapping
    return ImageAttributes(**{name: mapping[name] for name in _FIELDS})


def score_to_json(score: Score) -> list[dict[str, object]]:
    """Return a score's frames as plain values for the ``scores`` table."""
    return [
        {
            "frame": frame.frame_number,
            "score": round(frame.score, 6),
            "outside_domain": frame.outside_domain,
            "regions": [[r.x, r.y, r.width, r.height, round(r.score, 6)] for r in frame.regions],
            "cells": [list(row) for row in frame.tiles],
        }
        for frame in score.frames
    ]


def score_from_row(row: "sa.Row[tuple[object, ...]]") -> Score:
    """Return the score that a ``scores`` row holds."""
    frames = tuple(
        FrameScore(
            frame_number=item["frame"],
            score=item["score"],
            outside_domain=item["outside_domain"],
            regions=tuple(
                Region(x=x, y=y, width=width, height=height, score=score)
                for x, y, width, height, score in item["regions"]
            ),
            # Scores that were kept before there were maps have none.
            tiles=tuple(tuple(row) for row in item.get("cells", ())),
        )
        for item in row.frames
    )
    return Score(pixel_sha256=row.pixel_sha256, model_sha256=row.model_sha256, frames=frames, engine=row.engine)


def report_to_row(report: Report, spool_dir: Path, created_at: float, kind: str = "verdict") -> dict[str, object]:
    """Return a report as its row in the ``reports`` table; see there for the kinds."""
    return {
        "sop_instance_uid": report.sop_instance_uid,
        "sop_class_uid": report.sop_class_uid,
        "study_instance_uid": report.study_instance_uid,
        "kind": kind,
        "revision": report.revision,
        # From the spool's folder on, so that the folder may be moved or mounted elsewhere.
        "path": str(report.path.relative_to(spool_dir)),
        "sha256": report.sha256,
        "predecessor_uid": report.predecessor_uid,
        "created_at": created_at,
    }
