"""The few statistics that the figures need: intervals, AUC with patients resampled, calibration."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

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
    return float(roc_auc_score([0] * len(clean) + [1] * len(fake), [*clean, *fake]))


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
    scores = np.array([*clean, *fake]).reshape(-1, 1)
    labels = np.array([0] * len(clean) + [1] * len(fake))
    fitted = LogisticRegression(C=100.0, class_weight="balanced").fit(scores, labels)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def sigmoid(value: float) -> float:
    """The logistic function."""
    return float(1 / (1 + np.exp(-np.clip(value, -60, 60))))
