"""Class-conditional (Mondrian) split conformal prediction for one score: higher speaks for fake.

Each class has its own calibration scores and its own ``alpha``: the share of its images that may be said not to
belong to it. What is consistent with one class alone gets its name; what is consistent with both, or with neither,
gets none. If an image comes from where the calibration images of its class came from (is exchangeable with them),
the chance that its own class is ruled out is at most ``alpha``, whatever the scores' distribution and however few the
images (Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005, ch. 4; Papadopoulos et al., 2002).
"""

from collections.abc import Sequence
from enum import StrEnum
from fractions import Fraction
from math import ceil


class Prediction(StrEnum):
    """Which of the two classes a score is consistent with."""

    REAL = "real"
    FAKE = "fake"
    BOTH = "both"
    NEITHER = "neither"


def least_count(alpha: float) -> int:
    """Return how many calibration scores ``alpha`` needs at least: 99 for 1 %, 999 for 0.1 %."""
    return ceil(1 / _exact(alpha)) - 1


def supported_alpha(count: int) -> float:
    """Return the smallest alpha that ``count`` scores support."""
    return 1 / (count + 1)


def rank(count: int, alpha: float) -> int:
    """Return which of ``count`` sorted scores is the bound, from 1: ceil((count + 1)(1 - alpha)), exactly.

    Raises
    ------
    ValueError
        If so few scores can't support ``alpha``: the rank would be above the last.
    """
    found = ceil((count + 1) * (1 - _exact(alpha)))
    if found > count:
        raise ValueError(
            f"{count} images can't support a rate of {alpha:.3g}: that needs {least_count(alpha)}, "
            f"and {count} support {supported_alpha(count):.3g}"
        )
    return found


def highest_real(scores: Sequence[float], alpha: float) -> float:
    """Return the highest score that is still consistent with real, from real images' scores.

    Raises
    ------
    ValueError
        If there are too few of them for ``alpha``.
    """
    return sorted(scores)[rank(len(scores), alpha) - 1]


def lowest_fake(scores: Sequence[float], alpha: float) -> float:
    """Return the lowest score that is still consistent with fake, from fake images' scores.

    Raises
    ------
    ValueError
        If there are too few of them for ``alpha``.
    """
    return sorted(scores, reverse=True)[rank(len(scores), alpha) - 1]


def p_value_of_real(score: float, reals: Sequence[float]) -> float:
    """Return the share of real images, this one among them, that score as high: above alpha means consistent."""
    return (1 + sum(other >= score for other in reals)) / (len(reals) + 1)


def p_value_of_fake(score: float, fakes: Sequence[float]) -> float:
    """Return the share of fake images, this one among them, that score as low: above alpha means consistent."""
    return (1 + sum(other <= score for other in fakes)) / (len(fakes) + 1)


def predict(score: float, *, real_to: float, fake_from: float) -> Prediction:
    """Return what a score is consistent with: real up to ``real_to``, fake from ``fake_from``, both included."""
    if score <= real_to:
        return Prediction.BOTH if score >= fake_from else Prediction.REAL
    return Prediction.FAKE if score >= fake_from else Prediction.NEITHER


def _exact(alpha: float) -> Fraction:
    """Return alpha as the decimal fraction that was written: 0.01 is one in a hundred, not the nearest double."""
    if not 0 < alpha < 1:
        raise ValueError(f"a rate lies between 0 and 1, not at {alpha}")
    return Fraction(repr(float(alpha)))
