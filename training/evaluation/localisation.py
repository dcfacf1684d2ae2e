"""Where a fake was edited against where the map of logits says so, cell by cell."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from training.evaluation.intervals import ROUNDS
from training.evaluation.rows import Row

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
# A cell counts as edited with this part of its pixels inside the mask, as in training.
EDITED = 0.25


def shares(mask: Array, cell_px: int, shape: tuple[int, ...]) -> Array:
    """The part of each cell of a map (h, w) that lies inside a mask (H, W), 0..1."""
    rows, columns = (-(-size // cell_px) for size in mask.shape)
    padded = np.pad(mask, ((0, rows * cell_px - mask.shape[0]), (0, columns * cell_px - mask.shape[1])))
    whole = padded.reshape(rows, cell_px, columns, cell_px).mean(axis=(1, 3))
    return whole[: shape[0], : shape[1]].astype(np.float32)


def edited(truth: Floats) -> npt.NDArray[np.bool_]:
    """Which cells count as edited; the one with the largest part where the edit is smaller than that."""
    return truth > EDITED if (truth > EDITED).any() else (truth >= truth.max()) & (truth > 0)


def measures(row: Row, hot_logit: float) -> tuple[float, float, float, float, float] | None:
    """Of one local fake: IoU, F1, whether the hottest cell is edited, that by chance, and the cells' AUC.

    Cells above ``hot_logit`` count as found. None where the mask touches no cell.
    """
    cells, truth = np.array(row.cells, np.float64), edited(np.array(row.truth, np.float64))
    if not truth.any():
        return None
    found = cells > hot_logit
    both, either = (found & truth).sum(), (found | truth).sum()
    inside, outside = cells[truth], cells[~truth]
    area = np.nan
    if outside.size:
        above = (inside[:, None] > outside[None]).mean()
        area = above + 0.5 * (inside[:, None] == outside[None]).mean()
    pointed = float(truth.flat[int(cells.argmax())])
    return (
        float(both / either),
        float(2 * both / (found.sum() + truth.sum())),
        pointed,
        float(truth.mean()),
        float(area),
    )


_NAMES = ("iou", "f1", "pointing", "pointing_by_chance", "cell_auc")


def localisation(rows: Sequence[Row], hot_logit: float, *, seed: int = 0) -> dict[str, Any]:
    """Means over local fakes with intervals (patients resampled), overall and by family, as plain data."""
    measured = [(row, values) for row in rows if row.cells and (values := measures(row, hot_logit))]
    result: dict[str, Any] = {"hot_logit": round(hot_logit, 4), "families": []}
    if not measured:
        return result
    result |= _means(measured, seed)
    for family in sorted({row.family for row, _ in measured}):
        mine = [(row, values) for row, values in measured if row.family == family]
        result["families"].append({"family": family} | _means(mine, seed))
    return result


def _means(measured: Sequence[tuple[Row, tuple[float, ...]]], seed: int) -> dict[str, Any]:
    patients = sorted({row.patient for row, _ in measured})
    number = np.array([patients.index(row.patient) for row, _ in measured])
    values = np.array([values for _, values in measured])
    times = np.random.default_rng(seed).multinomial(
        len(patients), np.full(len(patients), 1 / len(patients)), size=ROUNDS
    )[:, number]
    result: dict[str, Any] = {"images": len(measured), "patients": len(patients)}
    for place, name in enumerate(_NAMES):
        known = np.isfinite(values[:, place])
        if not known.any():
            result[name] = {"value": None, "low": None, "high": None}
            continue
        weights = times[:, known]
        drawn = weights @ values[known, place] / np.maximum(weights.sum(axis=1), 1)
        low, high = np.percentile(drawn, [2.5, 97.5])
        mean = values[known, place].mean()
        result[name] = {"value": round(float(mean), 5), "low": round(float(low), 5), "high": round(float(high), 5)}
    return result
