"""Statistics of plain lists of scores, without a table of rows."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.stats import rankdata

from training.evaluation import metrics
from training.evaluation.intervals import draws
from training.evaluation.rows import CLEAN, Row

Array = npt.NDArray[np.float64]


def auc(clean: Sequence[float], fake: Sequence[float]) -> float:
    """The area under the ROC curve of fakes against clean images."""
    ranks = rankdata([*clean, *fake])[len(clean) :]
    return float((ranks.sum() - len(fake) * (len(fake) + 1) / 2) / (len(clean) * len(fake)))


def auc_interval(
    clean: Sequence[tuple[str, float]], fake: Sequence[tuple[str, float]], *, rounds: int = 1000
) -> tuple[float, float]:
    """The 95 % bootstrap interval of the AUC; (patient, score) pairs, whole patients are drawn."""
    rows = [_plain(patient, CLEAN, score) for patient, score in clean]
    rows += [_plain(patient, "fake", score) for patient, score in fake]
    low, high = np.nanpercentile(draws(metrics.make_table(rows), metrics.auc, rounds=rounds), [2.5, 97.5])
    return float(low), float(high)


def _plain(patient: str, family: str, score: float) -> Row:
    return Row(
        name="",
        patient=patient,
        series="",
        position=0.0,
        lung_fraction=1.0,
        family=family,
        codec="",
        score=score,
        outside="",
    )


def platt(clean: Sequence[float], fake: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept of P(fake) = sigmoid(slope·score + intercept), both classes weighing the same."""
    ours, theirs = np.array(clean), np.array(fake)

    def loss(parameters: Array) -> float:
        slope, intercept = parameters
        wrong = np.logaddexp(0, slope * ours + intercept).mean() + np.logaddexp(0, -slope * theirs - intercept).mean()
        return float(wrong + 1e-4 * slope**2)

    slope, intercept = minimize(loss, np.array([1.0, 0.0])).x
    return float(slope), float(intercept)


def sigmoid(value: float) -> float:
    """The logistic function."""
    return float(1 / (1 + np.exp(-np.clip(value, -60, 60))))
