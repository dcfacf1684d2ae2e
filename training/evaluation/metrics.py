"""Metrics of a table of scores, for many weightings at once: one weighting for each bootstrap draw.

Every metric takes a ``Table`` of N scores and weights (R, N), and gives (R,) values; the point estimate is the case
R = 1. Unless a metric says otherwise, both classes weigh the same and each family of fakes weighs the same within its
class, whatever their counts: a proportion of fakes that the forge chose must not move a figure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.evaluation.rows import Row

Array = npt.NDArray[np.float64]
Metric = Callable[["Table", Array], Array]
BINS = 15
_SMALL = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Scores in falling order; (N,) each. ``starts`` are where groups of equal scores begin.

    ``patient`` indexes ``patients``; ``weight`` is the base weight; ``probability`` is NaN without calibration.
    """

    rows: tuple[Row, ...]
    score: Array
    fake: npt.NDArray[np.bool_]
    patient: npt.NDArray[np.intp]
    patients: tuple[str, ...]
    weight: Array
    probability: Array
    starts: npt.NDArray[np.intp]


def make_table(rows: Sequence[Row], patients: Sequence[str] = (), *, outside: bool = False) -> Table:
    """The table of some rows, images outside the detector's domain left out unless ``outside``.

    ``patients``: all that may be drawn, in their order, so that draws of two tables can be paired.
    """
    inside = sorted((row for row in rows if outside or not row.outside), key=lambda row: -row.score)
    names = tuple(patients) or tuple(sorted({row.patient for row in inside}))
    index = {name: number for number, name in enumerate(names)}
    counts: dict[str, int] = {}
    for row in inside:
        counts[row.family] = counts.get(row.family, 0) + 1
    score = np.array([row.score for row in inside], np.float64)
    new = np.ones(len(score), bool)
    new[1:] = score[1:] != score[:-1]
    return Table(
        rows=tuple(inside),
        score=score,
        fake=np.array([row.fake for row in inside], bool),
        patient=np.array([index[row.patient] for row in inside], np.intp),
        patients=names,
        weight=np.array([1 / counts[row.family] for row in inside]),
        probability=np.array([np.nan if row.probability is None else row.probability for row in inside], np.float64),
        starts=np.flatnonzero(new),
    )


def halves(table: Table, weights: Array) -> tuple[Array, Array]:
    """The weights (R, N) of clean images and of fakes, each row of each summing to one (NaN where a class is empty)."""
    clean, fake = weights * ~table.fake, weights * table.fake
    with np.errstate(invalid="ignore", divide="ignore"):
        return clean / clean.sum(axis=1, keepdims=True), fake / fake.sum(axis=1, keepdims=True)


def _steps(table: Table, weights: Array) -> tuple[Array, Array]:
    """The weight of clean images and fakes at each distinct score, from the highest down, (R, G) each."""
    clean, fake = halves(table, weights)
    return np.add.reduceat(clean, table.starts, axis=1), np.add.reduceat(fake, table.starts, axis=1)


def rates(table: Table, weights: Array) -> tuple[Array, Array]:
    """False and true positive rates (R, G) with the threshold at each distinct score, from the highest down."""
    clean, fake = _steps(table, weights)
    return clean.cumsum(axis=1), fake.cumsum(axis=1)


def auc(table: Table, weights: Array) -> Array:
    """The area under the ROC curve; ties count half."""
    clean, fake = _steps(table, weights)
    return (fake * (1 - clean.cumsum(axis=1) + clean / 2)).sum(axis=1)


def average_precision(table: Table, weights: Array) -> Array:
    """The sum of precision × gained recall, at equal numbers of clean images and fakes."""
    _, fake = _steps(table, weights)
    false, true = rates(table, weights)
    return (fake * true / np.maximum(true + false, _SMALL)).sum(axis=1)


def detection_at(share: float) -> Metric:
    """The highest share of fakes found while at most ``share`` of the clean images lie at or above the threshold."""

    def metric(table: Table, weights: Array) -> Array:
        false, true = rates(table, weights)
        return np.where(np.isnan(true[:, -1]), np.nan, np.where(false <= share + 1e-9, true, 0.0).max(axis=1))

    return metric


def accuracy(table: Table, weights: Array) -> Array:
    """The share of images whose verdict is right; indeterminate is not."""
    return _mean(table, weights, _right(table))


def accuracy_of_decided(table: Table, weights: Array) -> Array:
    """The share that is right of those called real or fake; NaN where nothing of a class was decided."""
    decided = np.array([row.verdict in ("real", "fake") for row in table.rows], np.float64)
    return _mean(table, weights * decided, _right(table))


def _right(table: Table) -> Array:
    return np.array([row.verdict == ("fake" if row.fake else "real") for row in table.rows], np.float64)


def brier(table: Table, weights: Array) -> Array:
    """The mean squared difference of probability and truth."""
    return _mean(table, weights, (table.probability - table.fake) ** 2)


def log_loss(table: Table, weights: Array) -> Array:
    """The mean negative logarithm of the probability of what is true, in nats."""
    truth = np.where(table.fake, table.probability, 1 - table.probability)
    return _mean(table, weights, -np.log(np.clip(truth, 1e-7, 1)))


def calibration_bins(table: Table, weights: Array) -> tuple[Array, Array, Array]:
    """For each of 15 equal bins of probability: weight, mean probability × weight, share of fakes × weight; (R, 15)."""
    clean, fake = halves(table, weights)
    total = (clean + fake) / 2
    number = np.minimum((table.probability * BINS).astype(int), BINS - 1)
    member = np.eye(BINS)[number]
    return total @ member, (total * table.probability) @ member, (total * table.fake) @ member


def calibration_error(table: Table, weights: Array) -> Array:
    """The expected calibration error: the weighted mean distance of probability and share of fakes over the bins."""
    _, probability, share = calibration_bins(table, weights)
    return np.abs(probability - share).sum(axis=1)


def _mean(table: Table, weights: Array, values: Array) -> Array:
    clean, fake = halves(table, weights)
    return ((clean + fake) / 2) @ values
