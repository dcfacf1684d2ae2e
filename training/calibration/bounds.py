"""The two sides of a card's reading: the bound of a class, and what it rests on."""

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import t as student

from medfake_pacs import conformal
from medfake_pacs.classifier.calibration import Side

_STEPS = 10_000


def real_side(scores: Sequence[float], alpha: float, *, patients: int) -> Side:
    """The highest score that is still consistent with real, by rank among the scores of real images.

    Raises: ValueError where they are too few for ``alpha``.
    """
    # Rounded towards fewer false alarms; the rank is taken among what the card keeps.
    kept = tuple(sorted(math.ceil(score * _STEPS) / _STEPS for score in scores))
    bound = conformal.highest_real(kept, alpha)
    return Side(threshold=bound, alpha=alpha, method="rank", count=len(kept), patients=patients, scores=kept)


def fake_side(scores: Sequence[float], alpha: float, *, patients: int) -> Side:
    """The lowest score that is still consistent with fake, by rank among the scores of fakes.

    Raises: ValueError where they are too few for ``alpha``.
    """
    kept = tuple(sorted(math.floor(score * _STEPS) / _STEPS for score in scores))
    bound = conformal.lowest_fake(kept, alpha)
    return Side(threshold=bound, alpha=alpha, method="rank", count=len(kept), patients=patients, scores=kept)


def extrapolated_side(
    scores: Sequence[float], alpha: float, *, patients: int, windows: int = 1, at_least: float = -math.inf
) -> Side:
    """A real side where the scores are too few for a rank: the tail of a normal distribution fitted to them.

    Student's bound for one further score (Hahn and Meeker, "Statistical Intervals", 4.8), at ``alpha`` divided by the
    number of ``windows`` of which none may be above it (Bonferroni's inequality, which holds however much neighbouring
    windows are alike). The mean of neighbouring slices spreads no wider than one slice, so that scores of single slices
    bound it. It promises what a rank does only as far as the scores are normal. Never below ``at_least``.

    Raises: ValueError with fewer than three scores.
    """
    kept = tuple(sorted(math.ceil(score * _STEPS) / _STEPS for score in scores))
    if len(kept) < 3:
        raise ValueError(f"{len(kept)} clean images are too few to calibrate with")
    bound = math.ceil(max(normal_bound(kept, alpha / windows), at_least) * _STEPS) / _STEPS
    return Side(threshold=bound, alpha=alpha, method="normal", count=len(kept), patients=patients, scores=kept)


def normal_bound(scores: Sequence[float], alpha: float) -> float:
    """What one further score exceeds with the chance ``alpha``, if all are drawn from one normal distribution."""
    values = np.asarray(scores, float)
    wider = math.sqrt(1 + 1 / len(values))
    return float(values.mean() + student.isf(alpha, len(values) - 1) * values.std(ddof=1) * wider)


def one_of_each(scored: Mapping[str, tuple[str, float]]) -> list[float]:
    """The score of one of each group's images: of the one whose key has the lowest digest, whatever it scores."""
    chosen: dict[str, tuple[str, float]] = {}
    for key, (group, score) in scored.items():
        digest = hashlib.sha256(key.encode()).hexdigest()
        if group not in chosen or digest < chosen[group][0]:
            chosen[group] = digest, score
    return [score for _, score in chosen.values()]
