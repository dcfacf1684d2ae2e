"""The area under the ROC curve, from the ranks."""

from collections.abc import Sequence

from scipy.stats import rankdata


def area(real: Sequence[float], fake: Sequence[float]) -> float:
    """The chance that a fake scores above a real image, ties counting half; both need one score at least."""
    ranks = rankdata([*real, *fake])[len(real) :]
    count = len(fake)
    return float((ranks.sum() - count * (count + 1) / 2) / (count * len(real)))
