"""The few statistics that the figures need: intervals, AUC with patients resampled, calibration."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.stats import rankdata

Array = npt.NDArray[np.float64]


def wilson(hits: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % Wilson interval of a proportion; (0, 1) where nothing was counted."""
    if total == 0:
        return 0.0, 1.0
    share = hits / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * np.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def auc(clean: Sequence[float], fake: Sequence[float]) -> float:
    """The area under the ROC curve of fakes against clean images."""
    ranks = rankdata([*clean, *fake])[len(clean) :]
    return float((ranks.sum() - len(fake) * (len(fake) + 1) / 2) / (len(clean) * len(fake)))


def auc_interval(
    clean: Sequence[tuple[str, float]], fake: Sequence[tuple[str, float]], *, rounds: int = 300
) -> tuple[float, float]:
    """The 95 % bootstrap interval of the AUC; (patient, score) pairs, whole patients are drawn."""
    rng = np.random.default_rng(0)
    patients = sorted({patient for patient, _ in (*clean, *fake)})
    clean_of = {name: [score for patient, score in clean if patient == name] for name in patients}
    fake_of = {name: [score for patient, score in fake if patient == name] for name in patients}
    values = []
    for _ in range(rounds):
        drawn = rng.choice(patients, len(patients))
        ours = [score for name in drawn for score in clean_of[name]]
        theirs = [score for name in drawn for score in fake_of[name]]
        if ours and theirs:
            values.append(auc(ours, theirs))
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


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
