"""Calibration and thresholds, from validation patients alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.scored import CLEAN, Row, best_run
from training.statistics import platt, sigmoid

# By length of the run that is pooled. Single images: their scores have a heavier tail than a normal distribution's,
# so more than the 3.1 that would do for 1 in 1000. Runs of three slices, of which a series has hundreds: 1 in 10 000
# were the scores normal; no percentile of so few patients says more, and the mean of three has a lighter tail.
DEVIATIONS = {1: 4.5, 3: 3.7}
FAKES_BELOW = 0.10
VOLUME_MARGIN = 2.0
_STEPS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a pooled logit is read: calibration, thresholds as probabilities, and the logits they stand for."""

    slope: float
    intercept: float
    real_below: float
    fake_above: float
    real_below_logit: float
    fake_above_logit: float


def read_from(
    rows: Sequence[Row], families: Sequence[str], *, contiguous: int, clean_series: Sequence[Sequence[Row]] = ()
) -> Reading:
    """Chooses how scores are read.

    ``fake_above`` is the higher of the clean images' 99.5th percentile and their mean plus DEVIATIONS standard
    deviations. ``real_below`` is the score below which one in ten fakes of the trained families lies, each family
    weighing the same; never above ``fake_above``. ``clean_series`` are whole volumes given up to this choice: the best
    run of each must stay VOLUME_MARGIN standard deviations below ``fake_above``.
    """
    inside = [row for row in rows if not row.outside and not row.codec]
    clean = np.array([row.score for row in inside if row.family == CLEAN])
    fake = [row.score for row in inside if row.family in families]
    slope, intercept = platt(clean.tolist(), fake)
    if slope <= 0:
        raise ValueError("validation fakes score no higher than clean images: this model can't be calibrated")
    spread = float(clean.std(ddof=1)) * (1 + 1 / (4 * (len(clean) - 1)))
    above = max(float(np.quantile(clean, 0.995)), float(clean.mean()) + DEVIATIONS[contiguous] * spread)
    runs = [best_run([row.score for row in volume if not row.outside], contiguous) for volume in clean_series]
    above = max([above, *(run + VOLUME_MARGIN * spread for run in runs)])
    below = min(float(np.quantile(fake, FAKES_BELOW)), above)
    return Reading(
        slope=slope,
        intercept=intercept,
        real_below=_floor(sigmoid(slope * below + intercept)),
        fake_above=_ceiling(sigmoid(slope * above + intercept)),
        real_below_logit=below,
        fake_above_logit=above,
    )


def _floor(probability: float) -> float:
    return math.floor(probability * _STEPS) / _STEPS


def _ceiling(probability: float) -> float:
    """Six decimals, rounded so that fewer images are called fake; never 1, which nothing is above."""
    return min(math.ceil(probability * _STEPS), _STEPS - 1) / _STEPS
